"""Use cases of components and environments."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Connection, Database
from libs.common.errors import Conflict
from services.reporting.domain import folded
from services.reporting.service.recording import Recording
from services.reporting.store import entries, locks, refs
from services.reporting.store.entries import E, Position, Table

# In which a person may be named.
_PERSONAL: Final = frozenset({"owner", "metadata"})


@dataclass(frozen=True, slots=True)
class Changed(Generic[E]):
    """An entry as it is now, and whether that is news."""

    entry: E
    is_news: bool


class Catalogue(Generic[E]):
    """Entries of one kind. A new name is told to those deployments that wait for it."""

    def __init__(self, database: Database, clock: Clock, recording: Recording, table: Table[E]) -> None:
        self._database = database
        self._clock = clock
        self._recording = recording
        self._table = table

    async def create(self, caller: Principal, entry_id: UUID, values: Mapping[str, Any]) -> E:
        """The new entry, or the one that the same request made before. 409 where a name is another's."""
        tenant, now = caller.require_tenant(), self._clock()
        async with self._database.change(caller, now) as connection:
            await locks.hold_tenant(connection, tenant)
            known = await entries.find(connection, self._table, tenant, entry_id)
            if known is not None:
                return known
            told = await self._forgetting(connection, tenant, values)
            entry = self._table.make(id=entry_id, version=1, created_at=now, updated_at=now, **told)
            await self.insert(connection, tenant, entry)
        await self._recording.unpark(tenant)
        return entry

    async def insert(self, connection: Connection, tenant: UUID, entry: E) -> None:
        """409 where a name is another's. The caller holds the tenant."""
        await entries.insert(connection, self._table, tenant, entry)
        await self._call(connection, tenant, entry)

    async def get(self, tenant: UUID, entry_id: UUID) -> E:
        async with self._database.tenant(tenant) as connection:
            return await entries.get(connection, self._table, tenant, entry_id)

    async def page(self, tenant: UUID, only: Mapping[str, str], after: Position | None, limit: int) -> list[E]:
        async with self._database.tenant(tenant) as connection:
            return await entries.page(connection, self._table, tenant, only, after, limit)

    async def change(self, caller: Principal, entry_id: UUID, changes: Mapping[str, Any], version: int | None) -> E:
        """409 where a name is another's, or where `version` is given and is not the current one."""
        tenant = caller.require_tenant()
        async with self._database.change(caller, self._clock()) as connection:
            await locks.hold_tenant(connection, tenant)
            old = await entries.get(connection, self._table, tenant, entry_id)
            if version not in (None, old.version):
                raise Conflict(f"version: it is {old.version} by now; read it again.", version=old.version)
            changed = await self.update(connection, tenant, old, changes)
        if changed.is_news:
            await self._recording.unpark(tenant)
        return changed.entry

    async def update(self, connection: Connection, tenant: UUID, old: E, changes: Mapping[str, Any]) -> Changed[E]:
        """Nothing is written where nothing changes. The caller holds the tenant."""
        new = replace(old, **await self._forgetting(connection, tenant, changes))
        if new == old:
            return Changed(old, is_news=False)
        new = replace(new, version=old.version + 1, updated_at=self._clock())
        await entries.update(connection, self._table, tenant, new)
        await self._call(connection, tenant, new)
        return Changed(new, is_news=True)

    async def delete(self, caller: Principal, entry_id: UUID) -> None:
        """Its deployments stay on record."""
        tenant, now = caller.require_tenant(), self._clock()
        async with self._database.change(caller, now) as connection:
            await locks.hold_tenant(connection, tenant)
            await entries.get(connection, self._table, tenant, entry_id)
            await entries.delete(connection, self._table, tenant, entry_id, now)

    async def _forgetting(self, connection: Connection, tenant: UUID, values: Mapping[str, Any]) -> dict[str, Any]:
        personal = {name: value for name, value in values.items() if name in _PERSONAL}
        return {**values, **await self._recording.forgetting(connection, tenant, personal)}

    async def _call(self, connection: Connection, tenant: UUID, entry: E) -> None:
        names = {str(entry.id), folded(entry.name), *map(folded, entry.refs)}
        taken = await refs.replace(connection, self._table.kind, tenant, entry.id, names)
        if taken is not None:
            field = "name" if taken == folded(entry.name) else "refs"
            raise Conflict(
                f"{field}: another {self._table.kind} is called `{taken}` already.",
                errors=[{"field": field, "message": f"`{taken}` is taken"}],
            )
