"""All SQL of log_miner, one function per statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.common.db import Connection
from libs.common.events import BiQueryStored
from libs.common.jobs import JobRef
from services.log_miner.domain import MiningJob, State
from services.log_miner.warehouses.interface import Cursor, Position

_JOB = """tenant_id, id, connector_id, connector_version, sync_seq, state, phase, run, attempts, cancel_requested,
    next_job_seq, percentage, lines_read, rows_sent, rows_upserted, rows_rejected, warnings, error_code, error,
    requested_by, traceparent, closing_complete, created_at, started_at, finished_at"""
# A worker's statement names the run that it belongs to; it changes nothing once another run has begun.
_FENCE = "tenant_id = $1 AND id = $2 AND run = $3 AND state = 'running'"


def _job(row: asyncpg.Record) -> MiningJob:
    values = dict(row)
    values["tenant"] = values.pop("tenant_id")
    values["warnings"] = tuple(values["warnings"])
    return MiningJob(**values)


def _job_or_none(row: asyncpg.Record | None) -> MiningJob | None:
    return _job(row) if row else None


async def insert_job(connection: Connection, job: MiningJob) -> MiningJob | None:
    """Create a job with the connector's next sync_seq; None where its id exists or another job is active."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO mining_job (tenant_id, id, connector_id, connector_version, state, phase, requested_by,
                                traceparent, created_at, sync_seq)
        SELECT $1, $2, $3, $4, 'pending', 'waiting', $5, $6, $7,
               coalesce((SELECT max(sync_seq) FROM mining_job WHERE tenant_id = $1 AND connector_id = $3), 0) + 1
        ON CONFLICT DO NOTHING
        RETURNING {_JOB}""",  # noqa: S608 (columns of our own)
        job.tenant,
        job.id,
        job.connector_id,
        job.connector_version,
        job.requested_by,
        job.traceparent,
        job.created_at,
    )
    return _job_or_none(row)


async def find_job(connection: Connection, tenant: UUID, job_id: UUID) -> MiningJob | None:
    row = await connection.fetchrow(
        f"SELECT {_JOB} FROM mining_job WHERE tenant_id = $1 AND id = $2",  # noqa: S608
        tenant,
        job_id,
    )
    return _job_or_none(row)


async def active_job(connection: Connection, tenant: UUID, connector_id: UUID) -> MiningJob | None:
    row = await connection.fetchrow(
        f"""SELECT {_JOB} FROM mining_job
        WHERE tenant_id = $1 AND connector_id = $2 AND state IN ('pending', 'running')""",  # noqa: S608
        tenant,
        connector_id,
    )
    return _job_or_none(row)


async def jobs_of_connector(
    connection: Connection, tenant: UUID, connector_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[MiningJob]:
    """Newest first, those older than `before`."""
    created, job_id = before or (None, None)
    found = await connection.fetch(
        f"""SELECT {_JOB} FROM mining_job
        WHERE tenant_id = $1 AND connector_id = $2
          AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
        ORDER BY created_at DESC, id DESC LIMIT $5""",  # noqa: S608
        tenant,
        connector_id,
        created,
        job_id,
        limit,
    )
    return [_job(row) for row in found]


async def request_cancel(connection: Connection, tenant: UUID, job_id: UUID, now: datetime) -> MiningJob | None:
    """Ask a reading job to stop; one that reads no more, or has not begun, is cancelled at once. None: it is final."""
    row = await connection.fetchrow(
        f"""
        UPDATE mining_job SET cancel_requested = true,
            state = CASE WHEN phase = 'reading' THEN state ELSE 'cancelled' END,
            phase = CASE WHEN phase = 'waiting' THEN 'done' ELSE phase END,
            finished_at = CASE WHEN phase = 'reading' THEN finished_at ELSE $3 END
        WHERE tenant_id = $1 AND id = $2 AND state IN ('pending', 'running')
        RETURNING {_JOB}""",  # noqa: S608
        tenant,
        job_id,
        now,
    )
    return _job_or_none(row)


async def cancel_job_of_connector(connection: Connection, tenant: UUID, connector_id: UUID, now: datetime) -> None:
    """As `request_cancel`, for whatever job of a deleted connector is active."""
    active = await active_job(connection, tenant, connector_id)
    if active:
        await request_cancel(connection, tenant, active.id, now)


async def forget_source(connection: Connection, tenant: UUID, connector_id: UUID) -> None:
    """Drop where reading stood."""
    await connection.execute(
        "DELETE FROM mining_cursor WHERE tenant_id = $1 AND connector_id = $2", tenant, connector_id
    )
    await connection.execute(
        "DELETE FROM mining_origin WHERE tenant_id = $1 AND connector_id = $2", tenant, connector_id
    )


async def claim_job(connection: Connection, ref: JobRef, now: datetime) -> MiningJob | None:
    """Begin the next run of a job that has reading to do; None where there is none left."""
    row = await connection.fetchrow(
        f"""
        UPDATE mining_job SET run = run + 1, attempts = attempts + 1, state = 'running', phase = 'reading',
            started_at = coalesce(started_at, $3)
        WHERE tenant_id = $1 AND id = $2 AND state IN ('pending', 'running') AND phase IN ('waiting', 'reading')
        RETURNING {_JOB}""",  # noqa: S608
        ref.tenant,
        ref.id,
        now,
    )
    return _job_or_none(row)


async def record_progress(connection: Connection, job: MiningJob) -> bool | None:
    """Store what a batch added, fenced; whether somebody asked to cancel, None where another run has begun."""
    found: bool | None = await connection.fetchval(
        f"""UPDATE mining_job SET next_job_seq = $4, lines_read = $5, percentage = $6, warnings = $7, attempts = 0
        WHERE {_FENCE} RETURNING cancel_requested""",  # noqa: S608
        job.tenant,
        job.id,
        job.run,
        job.next_job_seq,
        job.lines_read,
        job.percentage,
        list(job.warnings),
    )
    return found


async def record_sent(connection: Connection, job: MiningJob) -> bool:
    """Note that the stored records are at the broker, fenced; whether this run still holds the job."""
    found = await connection.fetchval(
        f"UPDATE mining_job SET rows_sent = $4 WHERE {_FENCE} RETURNING true",  # noqa: S608
        job.tenant,
        job.id,
        job.run,
        job.rows_sent,
    )
    if found:
        await delete_unsent(connection, job.tenant, job.id)
    return bool(found)


async def end_reading(
    connection: Connection,
    job: MiningJob,
    state: State,
    *,
    complete: bool,
    due: datetime | None,
    now: datetime,
    error: tuple[str, str] | None = None,
) -> MiningJob | None:
    """No more will be read, fenced. `due`: when the closing record is to be sent; None where nothing was sent."""
    code, text = error or (None, None)
    row = await connection.fetchrow(
        f"""
        UPDATE mining_job SET state = $4, phase = CASE WHEN $6::timestamptz IS NULL THEN 'done' ELSE 'storing' END,
            closing_complete = $5, closing_due_at = $6, error_code = $7, error = $8, warnings = $9,
            finished_at = CASE WHEN $4 = 'running' THEN NULL ELSE $10::timestamptz END
        WHERE {_FENCE} RETURNING {_JOB}""",  # noqa: S608
        job.tenant,
        job.id,
        job.run,
        state,
        complete,
        due,
        code,
        text,
        list(job.warnings),
        now,
    )
    return _job_or_none(row)


async def take_due_closings(connection: Connection, now: datetime, again: datetime, limit: int) -> list[MiningJob]:
    """Jobs whose closing record is due; it is due again at `again`. Two replicas never take the same ones."""
    found = await connection.fetch(
        f"""
        UPDATE mining_job SET closing_due_at = $2 WHERE (tenant_id, id) IN (
            SELECT tenant_id, id FROM mining_job WHERE closing_due_at <= $1
            ORDER BY closing_due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING {_JOB}""",  # noqa: S608
        now,
        again,
        limit,
    )
    return [_job(row) for row in found]


async def record_outcome(connection: Connection, stored: BiQueryStored, now: datetime) -> MiningJob | None:
    """Close a job with the aggregator's outcome, once; None for a job that is not ours or is closed already."""
    row = await connection.fetchrow(
        f"""
        UPDATE mining_job SET rows_upserted = $4, rows_rejected = $5, phase = 'done', closing_due_at = NULL,
            percentage = 100, state = CASE WHEN state = 'running' THEN $6 ELSE state END,
            finished_at = coalesce(finished_at, $7)
        WHERE tenant_id = $1 AND id = $2 AND sync_seq = $3 AND phase = 'storing'
        RETURNING {_JOB}""",  # noqa: S608
        stored.tenant,
        stored.job_id,
        stored.sync_seq,
        stored.upserted,
        stored.rejected,
        stored.state,
        now,
    )
    return _job_or_none(row)


async def jobs_to_read(connection: Connection) -> list[JobRef]:
    """Jobs that a worker must have in hand or in the queue."""
    found = await connection.fetch(
        "SELECT tenant_id, id FROM mining_job WHERE state IN ('pending', 'running') AND phase IN ('waiting', 'reading')"
    )
    return [JobRef(row["tenant_id"], row["id"]) for row in found]


async def count_jobs(connection: Connection) -> dict[str, int]:
    """Active jobs of all tenants by state."""
    found = await connection.fetch(
        "SELECT state, count(*) AS jobs FROM mining_job WHERE state IN ('pending', 'running') GROUP BY state"
    )
    return {row["state"]: row["jobs"] for row in found}


async def origin_of(connection: Connection, tenant: UUID, connector_id: UUID) -> datetime | None:
    """From when on the connector's log counts; None before its first mining."""
    found: datetime | None = await connection.fetchval(
        "SELECT read_since FROM mining_origin WHERE tenant_id = $1 AND connector_id = $2", tenant, connector_id
    )
    return found


async def fix_origin(connection: Connection, tenant: UUID, connector_id: UUID, since: datetime) -> None:
    await connection.execute(
        "INSERT INTO mining_origin (tenant_id, connector_id, read_since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        tenant,
        connector_id,
        since,
    )


async def cursor_of(connection: Connection, tenant: UUID, connector_id: UUID) -> Cursor:
    """Where reading goes on, by part of the log."""
    found = await connection.fetch(
        "SELECT part, position::text FROM mining_cursor WHERE tenant_id = $1 AND connector_id = $2",
        tenant,
        connector_id,
    )
    return {row["part"]: orjson.loads(row["position"]) for row in found}


async def move_cursor(connection: Connection, job: MiningJob, moved: Mapping[str, Position | None]) -> None:
    """Keep the parts that moved, forget those that are gone."""
    for part, position in moved.items():
        if position is None:
            await connection.execute(
                "DELETE FROM mining_cursor WHERE tenant_id = $1 AND connector_id = $2 AND part = $3",
                job.tenant,
                job.connector_id,
                part,
            )
        else:
            await connection.execute(
                """INSERT INTO mining_cursor (tenant_id, connector_id, part, position) VALUES ($1, $2, $3, $4::jsonb)
                ON CONFLICT (tenant_id, connector_id, part) DO UPDATE SET position = EXCLUDED.position""",
                job.tenant,
                job.connector_id,
                part,
                orjson.dumps(position).decode(),
            )


@dataclass(frozen=True, slots=True)
class UnsentRecord:
    """A record as it was stored: the same bytes under the same number, however often it is sent."""

    job_seq: int
    record: str
    traceparent: str | None


async def insert_unsent(connection: Connection, job: MiningJob, records: Sequence[UnsentRecord]) -> None:
    await connection.execute(
        """INSERT INTO unsent_record (tenant_id, job_id, job_seq, record, traceparent)
        SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[])""",
        job.tenant,
        job.id,
        [record.job_seq for record in records],
        [record.record for record in records],
        [record.traceparent for record in records],
    )


async def unsent_records(connection: Connection, tenant: UUID, job_id: UUID) -> list[UnsentRecord]:
    """What the last batch left, in order."""
    found: list[Any] = await connection.fetch(
        """SELECT job_seq, record, traceparent FROM unsent_record
        WHERE tenant_id = $1 AND job_id = $2 ORDER BY job_seq""",
        tenant,
        job_id,
    )
    return [UnsentRecord(**dict(row)) for row in found]


async def delete_unsent(connection: Connection, tenant: UUID, job_id: UUID) -> None:
    """The broker has them."""
    await connection.execute("DELETE FROM unsent_record WHERE tenant_id = $1 AND job_id = $2", tenant, job_id)
