"""Executions that nobody waits for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson

from libs.common.db import Connection

State = Literal["pending", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class ExecutionJob:
    id: UUID
    query_id: UUID
    sealed_request: str = field(repr=False)
    state: State
    run: int
    cancelling: bool
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime

    @property
    def over(self) -> bool:
        return self.state not in ("pending", "running")


_COLUMNS = ", ".join(ExecutionJob.__slots__)


def _job(row: Any) -> ExecutionJob:
    values = dict(row)
    return ExecutionJob(**values | {"error": orjson.loads(values["error"]) if values["error"] else None})


async def insert_job(
    connection: Connection, tenant: UUID, app: UUID, job: ExecutionJob, person_digests: Sequence[bytes]
) -> bool:
    """Once: false where the same request made it before."""
    return bool(
        await connection.fetchval(
            """INSERT INTO execution_job (tenant_id, app_id, person_digests, id, query_id, sealed_request, state, run,
                   cancelling, created_at, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
               ON CONFLICT (tenant_id, id) DO NOTHING RETURNING true""",
            tenant, app, list(person_digests), job.id, job.query_id, job.sealed_request, job.state, job.run,
            job.cancelling, job.created_at, job.expires_at,
        )
    )  # fmt: skip


async def find_job(connection: Connection, tenant: UUID, app: UUID, job: UUID) -> ExecutionJob | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM execution_job WHERE tenant_id = $1 AND app_id = $2 AND id = $3",  # noqa: S608
        tenant,
        app,
        job,
    )
    return _job(row) if row else None


async def claim_job(connection: Connection, tenant: UUID, job: UUID, now: datetime) -> ExecutionJob | None:
    """The job with its next run, or None where there is nothing to do. One that is to be cancelled is over now."""
    row = await connection.fetchrow(
        f"""UPDATE execution_job SET run = run + 1, started_at = coalesce(started_at, $3),
                state = CASE WHEN cancelling THEN 'cancelled' ELSE 'running' END,
                finished_at = CASE WHEN cancelling THEN $3 END
            WHERE tenant_id = $1 AND id = $2 AND state IN ('pending', 'running')
            RETURNING {_COLUMNS}""",  # noqa: S608
        tenant,
        job,
        now,
    )
    return _job(row) if row and row["state"] == "running" else None


async def is_wanted(connection: Connection, tenant: UUID, job: UUID, run: int) -> bool:
    """Whether this run is the job's and nobody wants it cancelled."""
    return bool(
        await connection.fetchval(
            """SELECT true FROM execution_job
               WHERE tenant_id = $1 AND id = $2 AND run = $3 AND state = 'running' AND NOT cancelling""",
            tenant,
            job,
            run,
        )
    )


async def end_job(
    connection: Connection, tenant: UUID, job: UUID, run: int, state: State, error: dict[str, Any] | None, now: datetime
) -> bool:
    """Note the outcome; false where the job has gone on without this run."""
    return bool(
        await connection.fetchval(
            """UPDATE execution_job SET state = $4, error = $5, finished_at = $6
               WHERE tenant_id = $1 AND id = $2 AND run = $3 AND state = 'running' RETURNING true""",
            tenant,
            job,
            run,
            state,
            orjson.dumps(error).decode() if error else None,
            now,
        )
    )


async def cancel_job(connection: Connection, tenant: UUID, job: UUID, now: datetime) -> None:
    """A pending job is cancelled at once, a running one as soon as its worker looks."""
    await connection.execute(
        """UPDATE execution_job SET cancelling = true,
               state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END,
               finished_at = CASE state WHEN 'pending' THEN $3 ELSE finished_at END
           WHERE tenant_id = $1 AND id = $2 AND state IN ('pending', 'running')""",
        tenant,
        job,
        now,
    )


async def open_jobs(connection: Connection, before: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """Tenant and id of jobs that are not over although they were accepted some time ago."""
    rows = await connection.fetch(
        """SELECT tenant_id, id FROM execution_job
           WHERE state IN ('pending', 'running') AND created_at < $1 ORDER BY created_at LIMIT $2""",
        before,
        limit,
    )
    return [(row["tenant_id"], row["id"]) for row in rows]


async def prune_jobs(connection: Connection, now: datetime, limit: int) -> int:
    """Drop some that have expired; how many."""
    return len(
        await connection.fetch(
            """DELETE FROM execution_job WHERE ctid = ANY(ARRAY(
                   SELECT ctid FROM execution_job WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))
               RETURNING true""",
            now,
            limit,
        )
    )


async def forget_person(connection: Connection, tenant: UUID, digests: Sequence[bytes]) -> None:
    """Jobs that a person started, with their results."""
    await connection.execute(
        """WITH gone AS (
               DELETE FROM execution_job WHERE tenant_id = $1 AND person_digests && $2::bytea[] RETURNING id)
           DELETE FROM query_result WHERE tenant_id = $1 AND id IN (SELECT id FROM gone)""",
        tenant,
        list(digests),
    )
