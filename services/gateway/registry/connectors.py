"""Connectors: validated, sealed, versioned; every change is told to all services."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.connectors import SETTINGS_MODELS, settings_context
from libs.common.db import Connection, Database
from libs.common.egress import EgressPolicy, HostNotFound
from libs.common.errors import Conflict, NotFound
from libs.common.events import ConnectorChanged, ScheduleRef
from libs.common.outbox import enqueue
from libs.common.sealed import KeyRing
from libs.common.topics import CONNECTOR_CHANGED
from services.gateway.domain import (
    Position,
    available,
    dialled,
    masked,
    merged,
    refuse_masks,
    refuse_moved_secret,
    revealed,
    secret_fields,
)
from services.gateway.registry.ids import new_id
from services.gateway.registry.living import require_living
from services.gateway.registry.models import ChangeConnector, CreateConnector, ReplaceConnector
from services.gateway.store import connectors as store
from services.gateway.store.connectors import Connector


@dataclass(frozen=True, slots=True)
class Connectors:
    """Use cases of `/connectors`."""

    database: Database
    clock: Clock
    ring: KeyRing
    egress: EgressPolicy

    async def create(self, caller: Principal, body: CreateConnector, key: str | None) -> Connector:
        """A new connector; the same one again for the same Idempotency-Key. 409 for a name that is taken."""
        tenant, now = caller.require_tenant(), self.clock()
        settings = revealed(body.settings)
        refuse_masks(settings, secret_fields(type(body.settings)))
        await self._reachable(settings)
        connector_id = new_id(caller, "POST /connectors", key)
        connector = Connector(
            tenant_id=tenant,
            id=connector_id,
            name=body.name,
            type=body.settings.type,
            environment=caller.environment,
            counts_executions=body.counts_executions,
            sealed_settings=self._seal(tenant, connector_id, settings),
            version=1,
            created_at=now,
            updated_at=now,
            cron=body.schedule.cron if body.schedule else None,
            timezone=body.schedule.timezone if body.schedule else None,
        )
        try:
            async with self.database.change(caller, now) as connection:
                await require_living(connection, tenant)
                if not await store.insert_connector(connection, connector):
                    return await _found(store.find_connector(connection, tenant, connector_id))
                await tell_connector(connection, connector)
        except asyncpg.UniqueViolationError:
            raise _taken(body.name) from None
        return connector

    async def get(self, caller: Principal, connector_id: UUID) -> Connector:
        """404 for another tenant's and for a deleted one."""
        tenant = caller.require_tenant()
        async with self.database.tenant(tenant) as connection:
            return await _found(store.find_connector(connection, tenant, connector_id))

    async def page(self, caller: Principal, after: Position | None, limit: int) -> list[Connector]:
        """In the order of creation."""
        tenant = caller.require_tenant()
        async with self.database.tenant(tenant) as connection:
            return await store.list_connectors(connection, tenant, after, limit)

    async def change(
        self, caller: Principal, connector_id: UUID, body: ChangeConnector | ReplaceConnector
    ) -> Connector:
        """Change what is named, or replace; version and event where anything differs."""
        tenant, now = caller.require_tenant(), self.clock()
        await self._reachable(body.settings or {})
        try:
            async with self.database.change(caller, now) as connection:
                old = await _found(store.lock_connector(connection, tenant, connector_id))
                new = self._changed(old, body, now)
                if new is not old:
                    await store.update_connector(connection, new)
                    await tell_connector(connection, new)
        except asyncpg.UniqueViolationError:
            raise _taken(body.name or "") from None
        return new

    async def delete(self, caller: Principal, connector_id: UUID) -> None:
        """Leaves a marker without settings."""
        tenant, now = caller.require_tenant(), self.clock()
        async with self.database.change(caller, now) as connection:
            old = await _found(store.lock_connector(connection, tenant, connector_id))
            gone = deleted(old, now)
            await store.update_connector(connection, gone)
            await tell_connector(connection, gone)

    def shown(self, connector: Connector) -> dict[str, Any]:
        """The settings with their secrets masked; those of a type that this version does not know are not opened."""
        model = SETTINGS_MODELS.get(connector.type)
        return masked(self._open(connector), secret_fields(model)) if model else {"type": connector.type}

    def _changed(self, old: Connector, body: ChangeConnector | ReplaceConnector, now: datetime) -> Connector:
        available(old.type)
        settings = self._open(old)
        wanted = settings if body.settings is None else _merged(settings, body)
        new = replace(
            old,
            name=old.name if body.name is None else body.name,
            counts_executions=old.counts_executions if body.counts_executions is None else body.counts_executions,
        )
        if isinstance(body, ReplaceConnector) or "schedule" in body.model_fields_set:
            wish = body.schedule
            new = replace(new, cron=wish.cron if wish else None, timezone=wish.timezone if wish else None)
        if wanted == settings and new == old:
            return old
        sealed = self._seal(old.tenant_id, old.id, wanted)
        return replace(new, sealed_settings=sealed, version=old.version + 1, updated_at=now)

    def _seal(self, tenant: UUID, connector_id: UUID, settings: Mapping[str, Any]) -> str:
        return self.ring.seal(orjson.dumps(settings), bound_to=settings_context(tenant, connector_id))

    def _open(self, connector: Connector) -> dict[str, Any]:
        assert connector.sealed_settings is not None
        context = settings_context(connector.tenant_id, connector.id)
        settings: dict[str, Any] = orjson.loads(self.ring.open(connector.sealed_settings, bound_to=context))
        return settings

    async def _reachable(self, settings: Mapping[str, Any]) -> None:
        """422 for a host inside; one that has no address now may have one later."""
        place = dialled(settings)
        if place is None:
            return
        try:
            await self.egress.address_of(*place, timeout=2.0)
        except HostNotFound:
            return


def _merged(old: dict[str, Any], body: ChangeConnector | ReplaceConnector) -> dict[str, Any]:
    assert body.settings is not None
    model: type[BaseModel] = SETTINGS_MODELS[old["type"]]
    both = merged(old, body.settings, secret_fields(model), replace=isinstance(body, ReplaceConnector))
    try:
        new = revealed(model.model_validate(both.values))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        raise RequestValidationError([{**p, "loc": ("body", "settings", *p["loc"])} for p in problems]) from None
    refuse_masks(new, secret_fields(model))
    refuse_moved_secret(old, new, both.kept)
    return new


def deleted(connector: Connector, now: datetime) -> Connector:
    """The marker that a deletion leaves."""
    return replace(connector, sealed_settings=None, version=connector.version + 1, updated_at=now, deleted_at=now)


def scheduled(connector: Connector) -> ScheduleRef | None:
    """A connector's schedule as clients and events have it."""
    if connector.cron is None or connector.timezone is None:
        return None
    return ScheduleRef(cron=connector.cron, timezone=connector.timezone)


async def _found(finding: Any) -> Connector:
    connector: Connector | None = await finding
    if connector is None:
        raise NotFound("There is no such connector.")
    return connector


def _taken(name: str) -> Conflict:
    return Conflict(f"A connector named {name!r} exists.")


async def tell_connector(connection: Connection, connector: Connector) -> None:
    deleted = connector.deleted_at is not None
    shown = {} if deleted else {"name": connector.name, "type": connector.type}
    event = ConnectorChanged(
        tenant=connector.tenant_id,
        id=connector.id,
        version=connector.version,
        deleted=deleted,
        environment=connector.environment,
        counts_executions=connector.counts_executions,
        sealed_settings=connector.sealed_settings,
        schedule=None if deleted else scheduled(connector),
        **shown,
    )
    await enqueue(connection, CONNECTOR_CHANGED, event, key=str(connector.id), at=connector.updated_at)
