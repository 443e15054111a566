"""The gateway's use cases: who comes in, and where a request goes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libs.common.auth import InternalSigner, Principal
from libs.common.connectors import BI_TYPES, WAREHOUSE_TYPES
from libs.common.db import Database
from libs.common.errors import NotFound, Unavailable
from libs.common.remembered import Remembered
from services.gateway.idempotency import KeyedCalls
from services.gateway.identity import Identity
from services.gateway.ingress.webhooks import Webhooks
from services.gateway.openapi import Documents
from services.gateway.proxy import PassThrough, Target
from services.gateway.registry.api_keys import ApiKeys
from services.gateway.registry.connectors import Connectors
from services.gateway.registry.tenants import Tenants
from services.gateway.registry.users import Users
from services.gateway.registry.webhook_sources import WebhookSources
from services.gateway.routes import Match, Needs, service_of
from services.gateway.settings import Settings
from services.gateway.store import connectors as store

# A token lives 60 s; one that is used again has at least 50 s left when it arrives.
_REUSED_SECONDS: Final = 10.0


class Mint:
    """Internal tokens; the same principal gets the same one for a few seconds, for a signature is the dearest step."""

    def __init__(self, signer: InternalSigner, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._signer = signer
        self._minted = Remembered[Principal, str](monotonic)

    def token(self, principal: Principal) -> str:
        """A token for a request that goes inward now."""
        token = self._minted.get(principal)
        if token is None:
            token = self._signer.mint(principal)
            self._minted.put(principal, token, _REUSED_SECONDS)
        return token


@dataclass(frozen=True, slots=True)
class Admission:
    """Decides on requests to services."""

    settings: Settings
    database: Database
    mint: Mint

    async def target(self, caller: Principal, match: Match) -> Target:
        """Where a request goes and with which token. 403 no tenant, 404 connector, 400 its type, 422 malformed id."""
        route, connector_type = match.route, None
        tenant = caller.tenant if route.needs is Needs.CALLER else caller.require_tenant()
        match.check()
        if tenant is not None and route.needs not in (Needs.CALLER, Needs.TENANT):
            connector_id = match.uuid("connector_id")
            connector = await store.connector_facts(self.database.api, tenant, connector_id)
            if connector is None:
                raise NotFound("There is no such connector.")
            connector_type = connector.type
            caller = caller.about_connector(connector_id, connector.version)
        service = service_of(route, connector_type, WAREHOUSE_TYPES, BI_TYPES)
        base = self.settings.upstreams.get(service)
        if base is None:
            raise Unavailable(f"The service {service} is not part of this installation.", retry_after=60)
        return Target(service, base, self.mint.token(caller))


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything that is alive while the gateway runs."""

    identity: Identity
    tenants: Tenants
    users: Users
    api_keys: ApiKeys
    connectors: Connectors
    webhook_sources: WebhookSources
    webhooks: Webhooks
    admission: Admission
    proxy: PassThrough
    calls: KeyedCalls
    documents: Documents
