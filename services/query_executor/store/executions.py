"""What is run and what was run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import orjson

from libs.common.db import Connection, Pool
from services.query_executor.store.queries import Query, query_of
from services.query_executor.store.secrets import Secret, secret_of

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
# As the outbox holds an event, and none.
Event = tuple[str, str, str, str, datetime]
_NO_EVENT = (None,) * 5


async def find_runnable(api: Pool, tenant: UUID, app_slug: str, slug: str) -> Runnable | None:
    """One look-up for one execution, as a transaction of its own; None where there is no such app or query."""
    row = await api.fetchrow("SELECT * FROM runnable($1, $2, $3)", tenant, app_slug, slug)
    if row is None:
        return None
    # Columns of query and secret have one name.
    secret = {name.removeprefix("secret__"): value for name, value in row.items() if name.startswith("secret__")}
    found = secret_of(secret) if secret["id"] else None
    return Runnable(row["app_id"], query_of(row), found, row["has_type"])


async def record_execution(
    api: Pool, tenant: UUID, digests: Sequence[bytes], execution: Execution, event: Event | None
) -> str | None:
    """Write an execution, once, and its event with it, as a transaction of its own.

    Where `digests` are those of an erased name nothing is written: what stands for that name.
    """
    row = orjson.dumps({name: getattr(execution, name) for name in _EXECUTION}, default=str).decode()
    pseudonym: str | None = await api.fetchval(
        "SELECT record_execution($1, $2, $3, $4, $5, $6, $7, $8)", tenant, digests, row, *(event or _NO_EVENT)
    )
    return pseudonym


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
