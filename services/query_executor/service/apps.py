"""Use cases of apps and of the types of secrets."""

from dataclasses import replace
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Connection, Database
from services.query_executor.domain import free_slug
from services.query_executor.secret_types import SEEDED
from services.query_executor.store import apps as store
from services.query_executor.store.apps import App, TypeRow


class Apps:
    """What secrets and queries belong to."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def seed(self, connection: Connection, tenant: UUID) -> None:
        """Give a tenant the types of secrets that drivers open."""
        now = self._clock()
        rows = [TypeRow(each.slug, each.name, each.description, now) for each in SEEDED]
        await store.seed_types(connection, tenant, rows)

    async def create(self, caller: Principal, app_id: UUID, name: str, description: str | None) -> App:
        """The new app, or the one that the same request made before."""
        tenant, now = caller.require_tenant(), self._clock()
        async with self._database.work() as connection:
            # The tenant's own record may be on its way still.
            await self.seed(connection, tenant)
        async with self._database.change(caller, now) as connection:
            while True:
                slug = free_slug(name, "app", await store.app_slugs(connection, tenant))
                app = App(app_id, slug, name, description, now, now)
                if await store.insert_app(connection, tenant, app):
                    return app
                known = await store.find_app(connection, tenant, app_id)
                if known is not None:
                    return known

    async def get(self, tenant: UUID, slug: str) -> App:
        async with self._database.tenant(tenant) as connection:
            return await store.app_by_slug(connection, tenant, slug)

    async def all(self, tenant: UUID) -> list[App]:
        async with self._database.tenant(tenant) as connection:
            return await store.list_apps(connection, tenant)

    async def change(self, caller: Principal, slug: str, changes: dict[str, str | None]) -> App:
        """The slug stays."""
        tenant, now = caller.require_tenant(), self._clock()
        async with self._database.change(caller, now) as connection:
            old = await store.app_by_slug(connection, tenant, slug)
            new = replace(old, **changes, updated_at=now)  # type: ignore[arg-type]
            await store.update_app(connection, tenant, new)
            return new

    async def delete(self, caller: Principal, slug: str) -> None:
        """With its secrets and queries."""
        tenant = caller.require_tenant()
        async with self._database.change(caller, self._clock()) as connection:
            app = await store.app_by_slug(connection, tenant, slug)
            await store.delete_app(connection, tenant, app.id)

    async def types(self, tenant: UUID, slug: str) -> list[TypeRow]:
        """The tenant's types, as they show in one of its apps."""
        async with self._database.tenant(tenant) as connection:
            await store.app_by_slug(connection, tenant, slug)
            return await store.list_types(connection, tenant)

    async def create_type(
        self, caller: Principal, slug: str, new: str, name: str | None, description: str | None
    ) -> TypeRow:
        """A type of plain keys and values, for all apps of the tenant. 409 where there is one."""
        tenant, now = caller.require_tenant(), self._clock()
        row = TypeRow(new, name or new, description, now)
        async with self._database.change(caller, now) as connection:
            await store.app_by_slug(connection, tenant, slug)
            await store.insert_type(connection, tenant, row)
        return row
