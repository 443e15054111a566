"""The gateway's own routes: each parses, calls one use case and shapes its answer."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request

from libs.common.auth import Principal
from libs.common.connectors import SETTINGS_MODELS, WAREHOUSE_TYPES
from libs.common.http import IdempotencyKey, problems
from services.gateway.domain import Position, cursor_of, position_of
from services.gateway.registry import models
from services.gateway.registry.models import ConnectorBody
from services.gateway.service import Gateway
from services.gateway.store.api_keys import ApiKey
from services.gateway.store.connectors import Connector
from services.gateway.store.tenants import Tenant

Limit = Annotated[int, Query(ge=1, le=500, description="Most items of a page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


Here = Annotated[Gateway, Depends(_gateway)]


async def _caller(
    gateway: Here, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> Principal:
    return await gateway.identity.principal(authorization)


async def _tenant_caller(caller: Annotated[Principal, Depends(_caller)]) -> Principal:
    caller.require_tenant()
    return caller


Anyone = Annotated[Principal, Depends(_caller)]
Caller = Annotated[Principal, Depends(_tenant_caller)]


def _next(found: list[Tenant] | list[ApiKey] | list[Connector], limit: int) -> str | None:
    """The cursor behind a page; one row more than the page was asked for."""
    return cursor_of(Position(found[limit - 1].created_at, found[limit - 1].id)) if len(found) > limit else None


def tenant_routes() -> APIRouter:
    """`/tenants`."""
    router = APIRouter(prefix="/tenants", tags=["tenants"], responses=problems(401, 403))

    @router.post("", status_code=201, responses=problems(409, 422))
    async def create_tenant(
        gateway: Here, caller: Anyone, body: models.CreateTenant, key: IdempotencyKey = None
    ) -> models.TenantBody:
        """Needs the role `superuser`; the token may name no tenant."""
        return _tenant(await gateway.tenants.create(caller, body, key))

    @router.get("")
    async def list_tenants(
        gateway: Here, caller: Anyone, limit: Limit = 50, cursor: Cursor = None
    ) -> models.TenantPage:
        """Needs the role `superuser`."""
        found = await gateway.tenants.page(caller, position_of(cursor), limit + 1)
        return models.TenantPage(items=[_tenant(each) for each in found[:limit]], next_cursor=_next(found, limit))

    @router.get("/{tenant_id}", responses=problems(404))
    async def get_tenant(gateway: Here, caller: Anyone, tenant_id: UUID) -> models.TenantBody:
        """One's own tenant; any tenant for a superuser."""
        return _tenant(await gateway.tenants.get(caller, tenant_id))

    return router


def _tenant(tenant: Tenant) -> models.TenantBody:
    return models.TenantBody.model_validate(tenant, from_attributes=True)


def api_key_routes() -> APIRouter:
    """`/api-keys`."""
    router = APIRouter(prefix="/api-keys", tags=["API keys"], responses=problems(401, 403))

    @router.post("", status_code=201, responses=problems(409, 422))
    async def create_api_key(
        gateway: Here, caller: Caller, body: models.CreateApiKey, key: IdempotencyKey = None
    ) -> models.NewApiKeyBody:
        """Needs the role `staff`. The answer holds the key; it cannot be read again."""
        api_key, written = await gateway.api_keys.create(caller, body, key)
        return models.NewApiKeyBody(**_api_key(api_key).model_dump(), key=written)

    @router.get("")
    async def list_api_keys(
        gateway: Here, caller: Caller, limit: Limit = 50, cursor: Cursor = None
    ) -> models.ApiKeyPage:
        """Needs the role `staff`; revoked keys too."""
        found = await gateway.api_keys.page(caller, position_of(cursor), limit + 1)
        return models.ApiKeyPage(items=[_api_key(each) for each in found[:limit]], next_cursor=_next(found, limit))

    @router.delete("/{key_id}", status_code=204, responses=problems(404))
    async def revoke_api_key(gateway: Here, caller: Caller, key_id: UUID) -> None:
        """Needs the role `staff`. Takes effect everywhere within ten seconds."""
        await gateway.api_keys.revoke(caller, key_id)
        gateway.identity.forget_key(key_id)

    return router


def _api_key(key: ApiKey) -> models.ApiKeyBody:
    return models.ApiKeyBody.model_validate(key, from_attributes=True)


def connector_routes() -> APIRouter:
    """`/connectors`."""
    router = APIRouter(prefix="/connectors", tags=["connectors"], responses=problems(401, 403))

    @router.post("", status_code=201, responses=problems(400, 409, 422))
    async def create_connector(
        gateway: Here, caller: Caller, body: models.CreateConnector, key: IdempotencyKey = None
    ) -> ConnectorBody:
        """Register a warehouse or BI tool. Its environment is the caller's."""
        return _connector(gateway, await gateway.connectors.create(caller, body, key))

    @router.get("")
    async def list_connectors(
        gateway: Here, caller: Caller, limit: Limit = 50, cursor: Cursor = None
    ) -> models.ConnectorPage:
        """In the order of creation."""
        found = await gateway.connectors.page(caller, position_of(cursor), limit + 1)
        items = [_connector(gateway, each) for each in found[:limit]]
        return models.ConnectorPage(items=items, next_cursor=_next(found, limit))

    @router.get("/types")
    async def list_connector_types(_caller: Anyone) -> models.ConnectorTypes:
        """The types of this version and the JSON Schema of their settings."""
        return models.ConnectorTypes(items=[_type(name) for name in sorted(SETTINGS_MODELS)])

    @router.get("/{connector_id}", responses=problems(404))
    async def get_connector(gateway: Here, caller: Caller, connector_id: UUID) -> ConnectorBody:
        return _connector(gateway, await gateway.connectors.get(caller, connector_id))

    @router.put("/{connector_id}", responses=problems(400, 404, 409, 422))
    async def replace_connector(
        gateway: Here, caller: Caller, connector_id: UUID, body: models.ReplaceConnector
    ) -> ConnectorBody:
        """Replace all but omitted secrets."""
        return _connector(gateway, await gateway.connectors.change(caller, connector_id, body))

    @router.patch("/{connector_id}", responses=problems(400, 404, 409, 422))
    async def change_connector(
        gateway: Here, caller: Caller, connector_id: UUID, body: models.ChangeConnector
    ) -> ConnectorBody:
        """Change what is named. A kept secret does not follow the connector to another server: send it again then."""
        return _connector(gateway, await gateway.connectors.change(caller, connector_id, body))

    @router.delete("/{connector_id}", status_code=204, responses=problems(404))
    async def delete_connector(gateway: Here, caller: Caller, connector_id: UUID) -> None:
        """Its history stays; its settings are forgotten."""
        await gateway.connectors.delete(caller, connector_id)

    return router


def _connector(gateway: Gateway, connector: Connector) -> ConnectorBody:
    return ConnectorBody(
        id=connector.id,
        name=connector.name,
        type=connector.type,
        environment=connector.environment,
        counts_executions=connector.counts_executions,
        settings=gateway.connectors.shown(connector),
        version=connector.version,
        created_at=connector.created_at,
        updated_at=connector.updated_at,
    )


def _type(name: str) -> models.ConnectorTypeBody:
    kind = "warehouse" if name in WAREHOUSE_TYPES else "bi"
    schema = SETTINGS_MODELS[name].model_json_schema()
    return models.ConnectorTypeBody.model_validate({"type": name, "kind": kind, "settings_schema": schema})


def routes() -> tuple[APIRouter, ...]:
    """All of them."""
    return tenant_routes(), api_key_routes(), connector_routes()
