"""What is run and what was run."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from libs.common.db import Connection
from services.query_executor.store.queries import FROM, QUERY, Query, query_of
from services.query_executor.store.secrets import SECRET, Secret, secret_of

State = Literal["completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Runnable:
    """All that one request runs: the query, its secret where there is one, whether the tenant has its type."""

    app_id: UUID
    query: Query
    secret: Secret | None
    has_type: bool


@dataclass(frozen=True, slots=True)
class Execution:
    """Who ran which version, and how it went."""

    id: UUID
    environment: str
    app_id: UUID
    query_id: UUID
    query_version: int
    secret_id: UUID | None
    secret_version: int | None
    executed_by: str | None
    actor_type: str
    state: State
    error_code: str | None
    row_count: int
    truncated: bool
    milliseconds: float
    started_at: datetime


_EXECUTION = tuple(Execution.__slots__)
# Columns of both tables have one name: those of the secret are renamed here and back below.
_SECRET = ", ".join(f"s.{name} AS secret__{name}" for name in SECRET.split(", "))


async def find_runnable(connection: Connection, tenant: UUID, app_slug: str, slug: str) -> Runnable | None:
    """One look-up for one execution; None where there is no such app or query."""
    row = await connection.fetchrow(
        f"""SELECT a.id AS app_id, {QUERY}, {_SECRET}, t.slug IS NOT NULL AS has_type FROM {FROM}
            JOIN app a ON a.tenant_id = q.tenant_id AND a.id = q.app_id
            LEFT JOIN secret s ON s.tenant_id = q.tenant_id AND s.app_id = q.app_id AND s.key = v.secret_key
            LEFT JOIN secret_type t ON t.tenant_id = q.tenant_id AND t.slug = s.type_slug
            WHERE a.tenant_id = $1 AND a.slug = $2 AND q.tenant_id = $1 AND q.slug = $3""",  # noqa: S608
        tenant,
        app_slug,
        slug,
    )
    if row is None:
        return None
    secret = {name.removeprefix("secret__"): value for name, value in row.items() if name.startswith("secret__")}
    found = secret_of(secret) if secret["id"] else None
    return Runnable(row["app_id"], query_of(row), found, row["has_type"])


async def insert_execution(connection: Connection, tenant: UUID, execution: Execution) -> bool:
    """Once: false where the same request was recorded before."""
    places = ", ".join(f"${number}" for number in range(2, len(_EXECUTION) + 2))
    return bool(
        await connection.fetchval(
            f"""INSERT INTO query_execution (tenant_id, {", ".join(_EXECUTION)}) VALUES ($1, {places})
                ON CONFLICT (tenant_id, id) DO NOTHING RETURNING true""",  # noqa: S608
            tenant,
            *(getattr(execution, name) for name in _EXECUTION),
        )
    )


async def list_executions(
    connection: Connection, tenant: UUID, query: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Execution]:
    """Of a query, the newest first, from behind `before`."""
    started_at, execution = before or (None, None)
    rows = await connection.fetch(
        f"""SELECT {", ".join(_EXECUTION)} FROM query_execution
            WHERE tenant_id = $1 AND query_id = $2
              AND ($3::timestamptz IS NULL OR (started_at, id) < ($3, $4::uuid))
            ORDER BY started_at DESC, id DESC LIMIT $5""",  # noqa: S608
        tenant,
        query,
        started_at,
        execution,
        limit,
    )
    return [Execution(**dict(row)) for row in rows]


async def count_executions(connection: Connection, tenant: UUID, query: UUID) -> int:
    counted = "SELECT count(*) FROM query_execution WHERE tenant_id = $1 AND query_id = $2"
    return int(await connection.fetchval(counted, tenant, query))
