"""Queries that run by the clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class QuerySchedule:
    """`due_at` and `execution_id` are of the last execution that it began."""

    tenant_id: UUID
    query_id: UUID
    cron: str
    timezone: str
    sealed_request: str = field(repr=False)
    next_run_at: datetime
    due_at: datetime | None = None
    execution_id: UUID | None = None


_COLUMNS = ", ".join(QuerySchedule.__slots__)


async def put_schedule(connection: Connection, schedule: QuerySchedule, person_digests: Sequence[bytes]) -> None:
    """A new one, or in the place of the one before."""
    await connection.execute(
        """INSERT INTO query_schedule (tenant_id, query_id, cron, timezone, sealed_request, next_run_at, person_digests)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (tenant_id, query_id) DO UPDATE SET cron = excluded.cron, timezone = excluded.timezone,
               sealed_request = excluded.sealed_request, next_run_at = excluded.next_run_at,
               person_digests = excluded.person_digests""",
        schedule.tenant_id,
        schedule.query_id,
        schedule.cron,
        schedule.timezone,
        schedule.sealed_request,
        schedule.next_run_at,
        list(person_digests),
    )


async def find_schedule(connection: Connection, tenant: UUID, query: UUID) -> QuerySchedule | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM query_schedule WHERE tenant_id = $1 AND query_id = $2",  # noqa: S608
        tenant,
        query,
    )
    return QuerySchedule(**dict(row)) if row else None


async def delete_schedule(connection: Connection, tenant: UUID, query: UUID) -> bool:
    statement = "DELETE FROM query_schedule WHERE tenant_id = $1 AND query_id = $2 RETURNING true"
    return bool(await connection.fetchval(statement, tenant, query))


async def hold_due(connection: Connection, now: datetime) -> QuerySchedule | None:
    """One whose time has come, held; those that others hold are passed over."""
    row = await connection.fetchrow(
        f"""SELECT {_COLUMNS} FROM query_schedule WHERE next_run_at <= $1
            ORDER BY next_run_at LIMIT 1 FOR UPDATE SKIP LOCKED""",  # noqa: S608
        now,
    )
    return QuerySchedule(**dict(row)) if row else None


async def note_run(connection: Connection, schedule: QuerySchedule) -> None:
    """Write when it runs next and what it began last; the caller holds the row."""
    await connection.execute(
        """UPDATE query_schedule SET next_run_at = $3, due_at = $4, execution_id = $5
           WHERE tenant_id = $1 AND query_id = $2""",
        schedule.tenant_id,
        schedule.query_id,
        schedule.next_run_at,
        schedule.due_at,
        schedule.execution_id,
    )


async def is_running(connection: Connection, tenant: UUID, execution: UUID) -> bool:
    """Whether an execution is not over."""
    return bool(
        await connection.fetchval(
            """SELECT true FROM execution_job
               WHERE tenant_id = $1 AND id = $2 AND state IN ('pending', 'running')""",
            tenant,
            execution,
        )
    )


async def forget_person(connection: Connection, tenant: UUID, digests: Sequence[bytes]) -> None:
    """Nothing runs any more as a person who is forgotten."""
    await connection.execute(
        "DELETE FROM query_schedule WHERE tenant_id = $1 AND person_digests && $2::bytea[]", tenant, list(digests)
    )
