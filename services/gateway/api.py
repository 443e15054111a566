"""The gateway's own routes: each parses, calls one use case and shapes its answer."""

from uuid import UUID

from fastapi import APIRouter

from libs.common.connectors import SETTINGS_MODELS, WAREHOUSE_TYPES
from libs.common.http import IdempotencyKey, problems
from libs.common.paging import DEFAULT_LIMIT, Cursor, Limit
from services.gateway.callers import Anyone, Caller, next_cursor, position_of
from services.gateway.identity import Identity
from services.gateway.registry import models
from services.gateway.registry.api_keys import ApiKeys
from services.gateway.registry.connectors import Connectors, scheduled
from services.gateway.registry.models import ConnectorBody
from services.gateway.registry.tenants import Tenants
from services.gateway.registry.users import Users
from services.gateway.service import Gateway
from services.gateway.store.api_keys import ApiKey
from services.gateway.store.connectors import Connector
from services.gateway.store.tenants import Tenant
from services.gateway.webhook_api import webhook_routes, webhook_source_routes


def tenant_routes(tenants: Tenants, identity: Identity) -> APIRouter:
    """`/tenants`."""
    router = APIRouter(prefix="/tenants", tags=["tenants"], responses=problems(401, 403))

    @router.post("", status_code=201, responses=problems(409, 422))
    async def create_tenant(caller: Anyone, body: models.CreateTenant, key: IdempotencyKey = None) -> models.TenantBody:
        """Needs the role `superuser`; the token may name no tenant."""
        return _tenant(await tenants.create(caller, body, key))

    @router.get("")
    async def list_tenants(
        caller: Anyone, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> models.Page[models.TenantBody]:
        """Needs the role `superuser`."""
        found = await tenants.page(caller, position_of(cursor), limit + 1)
        return models.Page(items=[_tenant(each) for each in found[:limit]], next_cursor=next_cursor(found, limit))

    @router.get("/{tenant_id}", responses=problems(404))
    async def get_tenant(caller: Anyone, tenant_id: UUID) -> models.TenantBody:
        """One's own tenant; any tenant for a superuser."""
        return _tenant(await tenants.get(caller, tenant_id))

    @router.delete("/{tenant_id}", status_code=204, responses=problems(404))
    async def delete_tenant(caller: Anyone, tenant_id: UUID) -> None:
        """Needs the role `superuser`. Final: its keys, connectors and data go; its tokens are refused with 401."""
        await tenants.delete(caller, tenant_id)
        identity.forget_tenant(tenant_id)

    return router


def _tenant(tenant: Tenant) -> models.TenantBody:
    return models.TenantBody.model_validate(tenant, from_attributes=True)


def user_routes(users: Users) -> APIRouter:
    """`/users`."""
    router = APIRouter(prefix="/users", tags=["users"], responses=problems(401, 403))

    @router.post("/erase", status_code=202, responses=problems(409, 422))
    async def erase_user(caller: Caller, body: models.EraseUser, key: IdempotencyKey = None) -> models.ErasureBody:
        """Needs the role `staff`. A pseudonym takes the name's place in all records, later ones too."""
        await users.erase(caller, body.name)
        return models.ErasureBody(status="accepted")

    return router


def api_key_routes(api_keys: ApiKeys, identity: Identity) -> APIRouter:
    """`/api-keys`."""
    router = APIRouter(prefix="/api-keys", tags=["API keys"], responses=problems(401, 403))

    @router.post("", status_code=201, responses=problems(409, 422))
    async def create_api_key(
        caller: Caller, body: models.CreateApiKey, key: IdempotencyKey = None
    ) -> models.NewApiKeyBody:
        """Needs the role `staff`. The answer holds the key; it cannot be read again."""
        api_key, written = await api_keys.create(caller, body, key)
        return models.NewApiKeyBody(**_api_key(api_key).model_dump(), key=written)

    @router.get("")
    async def list_api_keys(
        caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> models.Page[models.ApiKeyBody]:
        """Needs the role `staff`; revoked keys too."""
        found = await api_keys.page(caller, position_of(cursor), limit + 1)
        return models.Page(items=[_api_key(each) for each in found[:limit]], next_cursor=next_cursor(found, limit))

    @router.delete("/{key_id}", status_code=204, responses=problems(404))
    async def revoke_api_key(caller: Caller, key_id: UUID) -> None:
        """Needs the role `staff`. Takes effect everywhere within ten seconds."""
        await api_keys.revoke(caller, key_id)
        identity.forget_key(key_id)

    return router


def _api_key(key: ApiKey) -> models.ApiKeyBody:
    return models.ApiKeyBody.model_validate(key, from_attributes=True)


def connector_routes(connectors: Connectors) -> APIRouter:
    """`/connectors`."""
    router = APIRouter(prefix="/connectors", tags=["connectors"], responses=problems(401, 403))

    @router.post("", status_code=201, responses=problems(400, 409, 422))
    async def create_connector(
        caller: Caller, body: models.CreateConnector, key: IdempotencyKey = None
    ) -> ConnectorBody:
        """Register a warehouse or BI tool. Its environment is the caller's."""
        return _connector(connectors, await connectors.create(caller, body, key))

    @router.get("")
    async def list_connectors(
        caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> models.Page[ConnectorBody]:
        """In the order of creation."""
        found = await connectors.page(caller, position_of(cursor), limit + 1)
        items = [_connector(connectors, each) for each in found[:limit]]
        return models.Page(items=items, next_cursor=next_cursor(found, limit))

    @router.get("/types")
    async def list_connector_types(_caller: Anyone) -> models.ConnectorTypes:
        """The types of this version and the JSON Schema of their settings."""
        return models.ConnectorTypes(items=[_type(name) for name in sorted(SETTINGS_MODELS)])

    @router.get("/{connector_id}", responses=problems(404))
    async def get_connector(caller: Caller, connector_id: UUID) -> ConnectorBody:
        return _connector(connectors, await connectors.get(caller, connector_id))

    @router.put("/{connector_id}", responses=problems(400, 404, 409, 422))
    async def replace_connector(caller: Caller, connector_id: UUID, body: models.ReplaceConnector) -> ConnectorBody:
        """Replace all but omitted secrets."""
        return _connector(connectors, await connectors.change(caller, connector_id, body))

    @router.patch("/{connector_id}", responses=problems(400, 404, 409, 422))
    async def change_connector(caller: Caller, connector_id: UUID, body: models.ChangeConnector) -> ConnectorBody:
        """Change what is named. A kept secret does not follow the connector to another server: send it again then."""
        return _connector(connectors, await connectors.change(caller, connector_id, body))

    @router.delete("/{connector_id}", status_code=204, responses=problems(404))
    async def delete_connector(caller: Caller, connector_id: UUID) -> None:
        """Its history stays; its settings are forgotten."""
        await connectors.delete(caller, connector_id)

    return router


def _connector(connectors: Connectors, connector: Connector) -> ConnectorBody:
    return ConnectorBody(
        id=connector.id,
        name=connector.name,
        type=connector.type,
        environment=connector.environment,
        counts_executions=connector.counts_executions,
        settings=connectors.shown(connector),
        schedule=scheduled(connector),
        version=connector.version,
        created_at=connector.created_at,
        updated_at=connector.updated_at,
    )


def _type(name: str) -> models.ConnectorTypeBody:
    kind = "warehouse" if name in WAREHOUSE_TYPES else "bi"
    schema = SETTINGS_MODELS[name].model_json_schema()
    return models.ConnectorTypeBody.model_validate({"type": name, "kind": kind, "settings_schema": schema})


def routes(gateway: Gateway) -> tuple[APIRouter, ...]:
    """All of them."""
    return (
        tenant_routes(gateway.tenants, gateway.identity),
        user_routes(gateway.users),
        api_key_routes(gateway.api_keys, gateway.identity),
        connector_routes(gateway.connectors),
        webhook_source_routes(gateway.webhook_sources),
        webhook_routes(gateway.webhooks),
    )
