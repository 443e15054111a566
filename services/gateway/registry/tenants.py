"""Tenants: made by a superuser, read by themselves."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Connection, Database
from libs.common.errors import Conflict, Forbidden, NotFound
from libs.common.events import TenantChanged
from libs.common.outbox import enqueue
from libs.common.topics import TENANT_CHANGED
from services.gateway.domain import Position, chosen_slug
from services.gateway.registry.connectors import deleted, tell_connector
from services.gateway.registry.ids import new_id
from services.gateway.registry.models import CreateTenant
from services.gateway.store import connectors
from services.gateway.store import tenants as store
from services.gateway.store.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Tenants:
    """Use cases of `/tenants`."""

    database: Database
    clock: Clock

    async def create(self, caller: Principal, body: CreateTenant, key: str | None) -> Tenant:
        """A new tenant, told to all services; the same one again for the same Idempotency-Key. 403, 409."""
        _superuser(caller)
        slug = chosen_slug(body.slug, body.name)
        tenant = Tenant(new_id(caller, "POST /tenants", key), body.name, slug, 1, self.clock())
        try:
            async with self.database.change(caller, tenant.created_at, tenant=tenant.id) as connection:
                if not await store.insert_tenant(connection, tenant):
                    return await _existing(connection, tenant.id)
                event = TenantChanged(tenant=tenant.id, id=tenant.id, version=1, name=tenant.name, slug=tenant.slug)
                await enqueue(connection, TENANT_CHANGED, event, key=str(tenant.id), at=tenant.created_at)
        except asyncpg.UniqueViolationError:
            raise Conflict(f"A tenant with the slug {slug!r} exists.") from None
        return tenant

    async def get(self, caller: Principal, tenant: UUID) -> Tenant:
        """Another's tenant is not found, except by a superuser."""
        if tenant != caller.tenant and not caller.is_superuser:
            raise NotFound("There is no such tenant.")
        async with self.database.tenant(tenant) as connection:
            return await _existing(connection, tenant)

    async def delete(self, caller: Principal, tenant: UUID) -> None:
        """The tenant and all that is its own here, at once; services hear of it and remove their rows. 403, 404."""
        _superuser(caller)
        now = self.clock()
        async with self.database.change(caller, now, tenant=tenant) as connection:
            old = await store.lock_tenant(connection, tenant)
            if old is None:
                raise NotFound("There is no such tenant.")
            await store.mark_deleted(connection, tenant, old.version + 1, now)
            # Each is told, or its sealed settings would stay in the compacted topic for ever.
            for connector in await connectors.lock_connectors(connection, tenant):
                await tell_connector(connection, deleted(connector, now))
            await store.delete_rows(connection, tenant)
            event = TenantChanged(tenant=tenant, id=tenant, version=old.version + 1, deleted=True)
            await enqueue(connection, TENANT_CHANGED, event, key=str(tenant), at=now)

    async def page(self, caller: Principal, after: Position | None, limit: int) -> list[Tenant]:
        """For superusers only."""
        _superuser(caller)
        async with self.database.work() as connection:
            return await store.list_tenants(connection, after, limit)


async def _existing(connection: Connection, tenant: UUID) -> Tenant:
    found = await store.find_tenant(connection, tenant)
    if found is None:
        raise NotFound("There is no such tenant.")
    return found


def _superuser(caller: Principal) -> None:
    if not caller.is_superuser:
        raise Forbidden("This needs the role `superuser`.")
