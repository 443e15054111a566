"""Composition root of the gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from libs.common.auth import InternalSigner
from libs.common.clock import Clock, shifted_clock
from libs.common.db import Database
from libs.common.egress import EgressPolicy
from libs.common.erasure import ErasedNames
from libs.common.http import create_app
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.process import run
from libs.common.sealed import KeyRing
from libs.common.upkeep import Upkeep
from services.gateway.api import routes
from services.gateway.docs import docs_routes, without_builtin_openapi
from services.gateway.edge import Edge, HttpMetrics, OwnKeyedCalls
from services.gateway.idempotency import KeyedCalls
from services.gateway.identity import Identity, KeyVerifier, TokenVerifier
from services.gateway.ingress.api import event_routes, schema_routes
from services.gateway.ingress.events import Ingress, received_counter
from services.gateway.ingress.publishing import Publishing
from services.gateway.ingress.rejections import Rejections
from services.gateway.ingress.sending import Sending
from services.gateway.ingress.sources import KnownSources
from services.gateway.ingress.webhooks import WebhookMetrics, Webhooks
from services.gateway.jwks import KeySet, fetch_from
from services.gateway.openapi import Documents
from services.gateway.proxy import PassThrough, Sessions
from services.gateway.registry.api_keys import ApiKeys
from services.gateway.registry.connectors import Connectors
from services.gateway.registry.living import DeletedTenants
from services.gateway.registry.tenants import Tenants
from services.gateway.registry.users import Users
from services.gateway.registry.webhook_sources import WebhookSources
from services.gateway.relaying import Relaying
from services.gateway.routes import RouteTable
from services.gateway.service import Admission, Gateway, Mint
from services.gateway.settings import Settings

NAME = "gateway"
_ROTATING = "/webhook-sources/{source_id}/rotate"
_CREATING = ("/tenants", "/connectors", "/api-keys", "/users/erase", "/webhook-sources", _ROTATING)
_PRUNE = timedelta(minutes=10)
_COUNTED = timedelta(seconds=10)


class Process:
    """The objects of one process on an open database, and the order in which they start and stop."""

    def __init__(
        self, settings: Settings, database: Database, sessions: Sessions, registry: CollectorRegistry, clock: Clock
    ) -> None:
        self._settings = settings
        self._database = database
        metrics = MessagingMetrics(registry)
        self._relay = Relaying(settings, database, metrics, clock)
        self.sending = Sending(settings, metrics, clock)
        self._upkeep = Upkeep()
        self._rejections = Rejections(database, clock)
        ring = KeyRing.of(settings.sealing_keys)
        sources, watched = KnownSources(database, ring), WebhookMetrics(registry)
        webhooks = Webhooks(settings, sources, self._rejections, self.sending, watched, clock)
        webhook_sources = WebhookSources(database, clock, ring, sources.forget)
        self.gateway = _gateway(settings, database, sessions, clock, ring, webhook_sources, webhooks)
        ingress = Ingress(settings, self.sending, received_counter(registry), clock)
        self.publishing = Publishing(self.gateway.identity, ingress, settings.max_body_bytes)

    def start(self) -> None:
        """Tell what is in the outbox, drop what is old."""
        self._relay.start()
        self.sending.start()
        self._upkeep.every(_PRUNE, "idempotency keys", self.gateway.calls.prune)
        self._upkeep.every(_COUNTED, "refused webhooks", self._rejections.flush)

    async def stop(self) -> None:
        """Requests have ended by now."""
        await self._upkeep.stop()
        with suppress(Exception):  # a count that is lost is no reason to stop in disorder
            await self._rejections.flush(all_windows=True)
        await self.sending.stop()
        await self._relay.stop()

    async def ready(self) -> str | None:
        """Why the process should get no requests, or None. Without a broker it serves: the outbox waits."""
        return await self._database.ready()


def _gateway(
    settings: Settings,
    database: Database,
    sessions: Sessions,
    clock: Clock,
    ring: KeyRing,
    webhook_sources: WebhookSources,
    webhooks: Webhooks,
) -> Gateway:
    fetch = fetch_from(sessions.outward, settings.jwt_jwks_url) if settings.jwt_jwks_url else None
    tokens = TokenVerifier(settings, KeySet(settings.jwt_jwks, fetch))
    signer = InternalSigner.of(settings.internal_key_id, settings.internal_private_key.get_secret_value())
    calls = KeyedCalls(database, ring, timedelta(seconds=settings.idempotency_lease_seconds))
    erased = ErasedNames(ring)
    return Gateway(
        identity=Identity(tokens, KeyVerifier(database, clock), deleted=DeletedTenants(database)),
        tenants=Tenants(database, clock),
        users=Users(database, clock, erased, calls),
        api_keys=ApiKeys(database, clock, erased),
        connectors=Connectors(database, clock, ring, EgressPolicy.of(settings.egress_allow)),
        webhook_sources=webhook_sources,
        webhooks=webhooks,
        admission=Admission(settings, database, Mint(signer)),
        proxy=PassThrough(settings, sessions.inward),
        calls=calls,
        documents=Documents(sessions.outward, settings.upstreams),
    )


def build(settings: Settings, clock: Clock | None = None) -> Edge:
    """The application, not yet started; it connects when it starts and has its routes from then on."""
    registry = CollectorRegistry()
    running: list[Process] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = await Database.open(settings, NAME)
        sessions = Sessions.open(settings)
        process = Process(settings, database, sessions, registry, clock or shifted_clock(settings.clock_offset))
        try:
            process.start()
            running.append(process)
            app.state.identity = process.gateway.identity
            own = (*routes(process.gateway), event_routes(), schema_routes())
            for router in (*own, docs_routes(process.gateway.documents)):
                app.include_router(router)
            yield
        finally:
            running.clear()
            await process.stop()
            await sessions.close()
            await database.close()

    async def ready() -> str | None:
        return await running[0].ready() if running else "not started"

    def gateway() -> Gateway:
        return running[0].gateway

    def publishing() -> Publishing:
        return running[0].publishing

    own = create_app(NAME, settings, registry=registry, lifespan=lifespan, readiness=ready)
    own.title = "Tidemark"
    without_builtin_openapi(own)
    own.add_middleware(OwnKeyedCalls, gateway=gateway, paths=_CREATING)
    return Edge(own, gateway, publishing, RouteTable(), HttpMetrics(registry))


def main() -> None:
    """Run the service."""
    run(NAME, Settings, build)


if __name__ == "__main__":
    main()
