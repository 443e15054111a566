"""The table of a collecting service's jobs: the states that they pass through, one statement each.

A worker's statement names the run that it belongs to; it changes nothing once another run has begun. The columns are
the fields of the job's class (`tenant` as `tenant_id`), beside `closing_due_at`: when the closing record is sent
(again), until the aggregator's outcome has come.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import asyncpg

from libs.common.collecting.job import CollectingJob, State
from libs.common.db import Connection
from libs.common.events import BiQueryStored
from libs.common.jobs import JobRef

J = TypeVar("J", bound=CollectingJob)

ACTIVE: Final = "state IN ('pending', 'running')"
FENCE: Final = "tenant_id = $1 AND id = $2 AND run = $3 AND state = 'running'"


class JobTable(Generic[J]):
    """Statements on one service's table of jobs."""

    def __init__(self, name: str, kind: type[J]) -> None:
        """`name` and the fields of `kind` are code, never input."""
        self.name = name
        self.columns = ", ".join("tenant_id" if field.name == "tenant" else field.name for field in fields(kind))
        self._kind = kind

    def job_of(self, row: asyncpg.Record | None) -> J | None:
        """A row of `columns` as a job."""
        if row is None:
            return None
        values: dict[str, Any] = dict(row)
        values["tenant"] = values.pop("tenant_id")
        values["warnings"] = tuple(values["warnings"])
        return self._kind(**values)

    def _jobs(self, rows: list[asyncpg.Record]) -> list[J]:
        return [job for row in rows if (job := self.job_of(row))]

    async def insert(self, connection: Connection, job: J) -> J | None:
        """Create a job with the connector's next sync_seq; None where its id exists or another job is active."""
        row = await connection.fetchrow(
            f"""
            INSERT INTO {self.name} (tenant_id, id, connector_id, connector_version, state, phase, requested_by,
                                     traceparent, created_at, sync_seq)
            SELECT $1, $2, $3, $4, 'pending', 'waiting', $5, $6, $7,
                   coalesce((SELECT max(sync_seq) FROM {self.name} WHERE tenant_id = $1 AND connector_id = $3), 0) + 1
            ON CONFLICT DO NOTHING
            RETURNING {self.columns}""",  # noqa: S608 (names of our own)
            job.tenant,
            job.id,
            job.connector_id,
            job.connector_version,
            job.requested_by,
            job.traceparent,
            job.created_at,
        )
        return self.job_of(row)

    async def find(self, connection: Connection, tenant: UUID, job_id: UUID) -> J | None:
        row = await connection.fetchrow(
            f"SELECT {self.columns} FROM {self.name} WHERE tenant_id = $1 AND id = $2",  # noqa: S608
            tenant,
            job_id,
        )
        return self.job_of(row)

    async def active(self, connection: Connection, tenant: UUID, connector_id: UUID) -> J | None:
        """The connector's job that is not over."""
        row = await connection.fetchrow(
            f"SELECT {self.columns} FROM {self.name} WHERE tenant_id = $1 AND connector_id = $2 AND {ACTIVE}",  # noqa: S608
            tenant,
            connector_id,
        )
        return self.job_of(row)

    async def of_connector(
        self, connection: Connection, tenant: UUID, connector_id: UUID, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[J]:
        """Newest first, those older than `before`."""
        created, job_id = before or (None, None)
        rows = await connection.fetch(
            f"""SELECT {self.columns} FROM {self.name}
            WHERE tenant_id = $1 AND connector_id = $2
              AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
            ORDER BY created_at DESC, id DESC LIMIT $5""",  # noqa: S608
            tenant,
            connector_id,
            created,
            job_id,
            limit,
        )
        return self._jobs(rows)

    async def request_cancel(self, connection: Connection, tenant: UUID, job_id: UUID, now: datetime) -> J | None:
        """Ask a reading job to stop; one that reads no more, or has not begun, is cancelled at once. None: final."""
        row = await connection.fetchrow(
            f"""
            UPDATE {self.name} SET cancel_requested = true,
                state = CASE WHEN phase = 'reading' THEN state ELSE 'cancelled' END,
                phase = CASE WHEN phase = 'waiting' THEN 'done' ELSE phase END,
                finished_at = CASE WHEN phase = 'reading' THEN finished_at ELSE $3 END
            WHERE tenant_id = $1 AND id = $2 AND {ACTIVE}
            RETURNING {self.columns}""",  # noqa: S608
            tenant,
            job_id,
            now,
        )
        return self.job_of(row)

    async def cancel_of_connector(
        self, connection: Connection, tenant: UUID, connector_id: UUID, now: datetime
    ) -> None:
        """As `request_cancel`, for whatever job of a deleted connector is active."""
        active = await self.active(connection, tenant, connector_id)
        if active:
            await self.request_cancel(connection, tenant, active.id, now)

    async def cancel_of_tenant(self, connection: Connection, tenant: UUID, now: datetime) -> None:
        """As `request_cancel`, for all jobs of a deleted tenant; nothing more is told of any."""
        await connection.execute(
            f"""
            UPDATE {self.name} SET cancel_requested = true, closing_due_at = NULL,
                state = CASE WHEN phase = 'reading' THEN state ELSE 'cancelled' END,
                phase = CASE WHEN phase = 'reading' THEN phase ELSE 'done' END,
                finished_at = CASE WHEN phase = 'reading' THEN finished_at ELSE $2 END
            WHERE tenant_id = $1 AND ({ACTIVE} OR closing_due_at IS NOT NULL)""",  # noqa: S608
            tenant,
            now,
        )

    async def rename_requester(self, connection: Connection, tenant: UUID, name: str, pseudonym: str) -> None:
        """Somebody is forgotten who asked for jobs."""
        await connection.execute(
            f"UPDATE {self.name} SET requested_by = $3 WHERE tenant_id = $1 AND requested_by = $2",  # noqa: S608
            tenant,
            name,
            pseudonym,
        )

    async def claim(self, connection: Connection, ref: JobRef, now: datetime) -> J | None:
        """Begin the next run of a job that has reading to do; None where there is none left."""
        row = await connection.fetchrow(
            f"""
            UPDATE {self.name} SET run = run + 1, attempts = attempts + 1, state = 'running', phase = 'reading',
                started_at = coalesce(started_at, $3)
            WHERE tenant_id = $1 AND id = $2 AND {ACTIVE} AND phase IN ('waiting', 'reading')
            RETURNING {self.columns}""",  # noqa: S608
            ref.tenant,
            ref.id,
            now,
        )
        return self.job_of(row)

    async def record(self, connection: Connection, job: J, values: Mapping[str, Any]) -> J | None:
        """Note what a run has done, fenced; the job as it is now, None where another run has begun or it is over."""
        sets = ", ".join(f"{column} = ${at}" for at, column in enumerate(values, 4))
        row = await connection.fetchrow(
            f"UPDATE {self.name} SET {sets} WHERE {FENCE} RETURNING {self.columns}",  # noqa: S608
            job.tenant,
            job.id,
            job.run,
            *values.values(),
        )
        return self.job_of(row)

    async def end_reading(
        self,
        connection: Connection,
        job: J,
        state: State,
        *,
        complete: bool,
        due: datetime | None,
        now: datetime,
        error: tuple[str, str] | None = None,
    ) -> J | None:
        """No more will be read, fenced. `due`: when the closing record is to be sent; None where nothing was sent."""
        code, text = error or (None, None)
        row = await connection.fetchrow(
            f"""
            UPDATE {self.name} SET state = $4, closing_complete = $5, closing_due_at = $6, error_code = $7, error = $8,
                phase = CASE WHEN $6::timestamptz IS NULL THEN 'done' ELSE 'storing' END, warnings = $9,
                finished_at = CASE WHEN $4 = 'running' THEN NULL ELSE $10::timestamptz END
            WHERE {FENCE} RETURNING {self.columns}""",  # noqa: S608
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
        return self.job_of(row)

    async def take_due_closings(self, connection: Connection, now: datetime, again: datetime, limit: int) -> list[J]:
        """Jobs whose closing record is due; it is due again at `again`. Two replicas never take the same ones."""
        rows = await connection.fetch(
            f"""
            UPDATE {self.name} SET closing_due_at = $2 WHERE (tenant_id, id) IN (
                SELECT tenant_id, id FROM {self.name} WHERE closing_due_at <= $1
                ORDER BY closing_due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
            RETURNING {self.columns}""",  # noqa: S608
            now,
            again,
            limit,
        )
        return self._jobs(rows)

    async def record_outcome(self, connection: Connection, stored: BiQueryStored, now: datetime) -> J | None:
        """Close a job with the aggregator's outcome, once; None for a job that is not ours or is closed already.

        A job that could not read everything is partial, however well the rest arrived.
        """
        row = await connection.fetchrow(
            f"""
            UPDATE {self.name} SET rows_upserted = $4, rows_rejected = $5, phase = 'done', closing_due_at = NULL,
                percentage = 100, finished_at = coalesce(finished_at, $7),
                state = CASE WHEN state <> 'running' THEN state WHEN closing_complete THEN $6 ELSE 'partial' END
            WHERE tenant_id = $1 AND id = $2 AND sync_seq = $3 AND phase = 'storing'
            RETURNING {self.columns}""",  # noqa: S608
            stored.tenant,
            stored.job_id,
            stored.sync_seq,
            stored.upserted,
            stored.rejected,
            stored.state,
            now,
        )
        return self.job_of(row)

    async def to_read(self, connection: Connection) -> list[JobRef]:
        """Jobs that a worker must have in hand or in the queue."""
        rows = await connection.fetch(
            f"SELECT tenant_id, id FROM {self.name} WHERE {ACTIVE} AND phase IN ('waiting', 'reading')"  # noqa: S608
        )
        return [JobRef(row["tenant_id"], row["id"]) for row in rows]

    async def count(self, connection: Connection) -> dict[str, int]:
        """Active jobs of all tenants by state."""
        rows = await connection.fetch(
            f"SELECT state, count(*) AS jobs FROM {self.name} WHERE {ACTIVE} GROUP BY state"  # noqa: S608
        )
        return {row["state"]: row["jobs"] for row in rows}
