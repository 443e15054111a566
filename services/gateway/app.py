"""Composition root of the gateway."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import aiohttp
import structlog
from fastapi import FastAPI
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from libs.common.auth import InternalSigner
from libs.common.broker import Publisher, build_broker
from libs.common.clock import shifted_clock
from libs.common.db import Database
from libs.common.egress import EgressPolicy
from libs.common.failures import RetryPolicy, describe
from libs.common.http import create_app, serve
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.outbox import Relay
from libs.common.sealed import KeyRing
from libs.common.telemetry import setup_logging, setup_tracing
from services.gateway.api import routes
from services.gateway.docs import docs_routes, without_builtin_openapi
from services.gateway.edge import Edge, HttpMetrics, OwnKeyedCalls
from services.gateway.idempotency import KeyedCalls
from services.gateway.identity import Identity, KeyVerifier, TokenVerifier
from services.gateway.jwks import KeySet, fetch_from
from services.gateway.openapi import Documents
from services.gateway.proxy import PassThrough, open_session
from services.gateway.registry.api_keys import ApiKeys
from services.gateway.registry.connectors import Connectors
from services.gateway.registry.tenants import Tenants
from services.gateway.routes import RouteTable
from services.gateway.service import Admission, Gateway, Mint
from services.gateway.settings import Settings

NAME = "gateway"
_CREATING = frozenset({"/tenants", "/connectors", "/api-keys"})
_PRUNE_SECONDS = 600.0
_log = structlog.get_logger()


def build(settings: Settings) -> Edge:
    """The application, not yet started."""
    registry = CollectorRegistry()
    messaging = MessagingMetrics(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            gateway = await _open(settings, stack)
            app.state.gateway = gateway
            await stack.enter_async_context(_running(_prune(gateway.calls)))
            await stack.enter_async_context(_running(_relay(settings, gateway.database, messaging)))
            yield

    async def readiness() -> str | None:
        try:
            await own.state.gateway.database.ping()
        except Exception as error:
            return f"database: {describe(error)}"
        return None

    own = create_app(
        NAME, settings, registry=registry, lifespan=lifespan, routers=(*routes(), docs_routes()), readiness=readiness
    )
    own.title = "Tidemark"
    without_builtin_openapi(own)
    own.add_middleware(OwnKeyedCalls, paths=_CREATING)
    return Edge(own, RouteTable(), HttpMetrics(registry))


async def _open(settings: Settings, stack: AsyncExitStack) -> Gateway:
    database = await Database.open(settings, NAME)
    stack.push_async_callback(database.close)
    inward = await stack.enter_async_context(open_session(settings))
    outward = await stack.enter_async_context(aiohttp.ClientSession())
    clock = shifted_clock(settings.clock_offset)
    ring = KeyRing.of(settings.sealing_keys)
    fetch = fetch_from(outward, settings.jwt_jwks_url) if settings.jwt_jwks_url else None
    tokens = TokenVerifier(settings, KeySet(settings.jwt_jwks, fetch))
    signer = InternalSigner.of(settings.internal_key_id, settings.internal_private_key.get_secret_value())
    return Gateway(
        database=database,
        identity=Identity(tokens, KeyVerifier(database, clock)),
        tenants=Tenants(database, clock),
        api_keys=ApiKeys(database, clock),
        connectors=Connectors(database, clock, ring, EgressPolicy.of(settings.egress_allow)),
        admission=Admission(settings, database, Mint(signer)),
        proxy=PassThrough(settings, inward),
        calls=KeyedCalls(database, ring, timedelta(seconds=settings.idempotency_lease_seconds)),
        documents=Documents(outward, settings.upstreams),
    )


@asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """A task for as long as the block runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _prune(calls: KeyedCalls) -> None:
    while True:
        try:
            await calls.prune()
        except Exception as error:
            _log.warning("old idempotency keys cannot be pruned", error=describe(error))
        await asyncio.sleep(_PRUNE_SECONDS)


async def _relay(settings: Settings, database: Database, metrics: MessagingMetrics) -> None:
    """The gateway serves without a broker too: what it has to tell waits in the outbox."""
    broker = await _connected(settings)
    publisher = Publisher(broker, settings, service=NAME, metrics=metrics)
    relay = Relay(database.worker, publisher, settings, metrics)
    relay.start()
    try:
        await asyncio.Event().wait()
    finally:
        await relay.stop(timeout=5.0)
        await broker.stop()


async def _connected(settings: Settings) -> KafkaBroker:
    for pause in RetryPolicy(first=0.5).pauses():
        broker = build_broker(settings, NAME)
        try:
            await broker.start()
            return broker
        except Exception as error:
            _log.warning("the broker cannot be reached; trying on", error=describe(error))
            await broker.stop()
        await asyncio.sleep(pause)
    raise AssertionError("unreachable")


def main() -> None:
    """Run the service."""
    settings = Settings()
    setup_logging(NAME, settings)
    setup_tracing(NAME, settings)
    serve(build(settings), settings)


if __name__ == "__main__":
    main()
