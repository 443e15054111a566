"""Components and environments: what they have in common is written once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import asyncpg
import orjson

from libs.common.db import Connection
from libs.common.errors import NotFound
from services.reporting.domain import Lifecycle, Tier
from services.reporting.store.refs import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the catalogue holds. `refs`: other names of it, as they were written."""

    id: UUID
    name: str
    description: str | None
    refs: tuple[str, ...]
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Entry):
    kind: str
    lifecycle: Lifecycle
    owner: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Entry):
    tier: Tier


E = TypeVar("E", bound=Entry)
Position = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True)
class Table(Generic[E]):
    """Where entries of a kind lie, and by which columns they are found."""

    kind: Kind
    make: Callable[..., E]
    columns: tuple[str, ...]
    filters: Mapping[str, str]

    def row(self, found: asyncpg.Record) -> E:
        values = dict(found) | {"refs": tuple(found["refs"])}
        if "metadata" in values:
            values["metadata"] = orjson.loads(values["metadata"])
        return self.make(**values)

    def values(self, entry: E) -> list[Any]:
        found = [getattr(entry, column) for column in self.columns]
        return [orjson.dumps(value).decode() if isinstance(value, dict) else value for value in found]


def _columns(kind: type[Entry]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_NAME: Final = "strpos(lower(name), lower({})) > 0"
COMPONENTS: Final = Table(
    "component",
    Component,
    _columns(Component),
    {"name": _NAME, "kind": "kind = {}", "lifecycle": "lifecycle = {}", "owner": "coalesce(owner, '') = {}"},
)
ENVIRONMENTS: Final = Table("environment", Environment, _columns(Environment), {"name": _NAME, "tier": "tier = {}"})


async def insert(connection: Connection, table: Table[E], tenant: UUID, entry: E) -> None:
    places = ", ".join(f"${number}" for number in range(2, len(table.columns) + 2))
    await connection.execute(
        f"INSERT INTO {table.kind} (tenant_id, {', '.join(table.columns)}) VALUES ($1, {places})",  # noqa: S608
        tenant,
        *table.values(entry),
    )


async def find(connection: Connection, table: Table[E], tenant: UUID, entry: UUID) -> E | None:
    """The living one of this id."""
    row = await connection.fetchrow(
        f"""SELECT {", ".join(table.columns)} FROM {table.kind}
            WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL""",  # noqa: S608
        tenant,
        entry,
    )
    return table.row(row) if row else None


async def get(connection: Connection, table: Table[E], tenant: UUID, entry: UUID) -> E:
    """404 where the tenant has none of this id."""
    found = await find(connection, table, tenant, entry)
    if found is None:
        raise NotFound(f"No {table.kind} with this id.")
    return found


async def page(
    connection: Connection,
    table: Table[E],
    tenant: UUID,
    only: Mapping[str, str],
    after: Position | None,
    limit: int,
) -> list[E]:
    """Living ones that fit, in the order in which they were made, from behind `after`."""
    wanted = list(only.items())
    fitting = "".join(f" AND {table.filters[name].format(f'${number}')}" for number, (name, _) in enumerate(wanted, 5))
    rows: Sequence[asyncpg.Record] = await connection.fetch(
        f"""SELECT {", ".join(table.columns)} FROM {table.kind}
            WHERE tenant_id = $1 AND deleted_at IS NULL
              AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3::uuid)){fitting}
            ORDER BY created_at, id LIMIT $4""",  # noqa: S608
        tenant,
        *(after or (None, None)),
        limit,
        *(value for _, value in wanted),
    )
    return [table.row(row) for row in rows]


async def update(connection: Connection, table: Table[E], tenant: UUID, entry: E) -> None:
    changes = ", ".join(f"{column} = ${number}" for number, column in enumerate(table.columns, 2))
    await connection.execute(
        f"UPDATE {table.kind} SET {changes} WHERE tenant_id = $1 AND id = ${table.columns.index('id') + 2}",  # noqa: S608
        tenant,
        *table.values(entry),
    )


async def delete(connection: Connection, table: Table[E], tenant: UUID, entry: UUID, now: datetime) -> None:
    """Leave a marker, so that reports about the past can name it; nobody finds it by a name any more."""
    await connection.execute(
        f"DELETE FROM {table.kind}_ref WHERE tenant_id = $1 AND {table.kind}_id = $2",  # noqa: S608
        tenant,
        entry,
    )
    await connection.execute(
        f"""UPDATE {table.kind} SET deleted_at = $3, updated_at = $3, version = version + 1
            WHERE tenant_id = $1 AND id = $2""",  # noqa: S608
        tenant,
        entry,
        now,
    )
