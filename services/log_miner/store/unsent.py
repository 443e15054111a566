"""SQL on the batches that are not yet sent, one function per statement."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class UnsentBatch:
    """Records as they were stored, packed, by the job and the first number: the same bytes, however often sent."""

    job_id: UUID
    first_job_seq: int
    body: str
    traceparent: str | None = None


async def insert(connection: Connection, tenant: UUID, batch: UnsentBatch) -> None:
    await connection.execute(
        """INSERT INTO unsent_batch (tenant_id, job_id, first_job_seq, body, traceparent)
        VALUES ($1, $2, $3, $4, $5)""",
        tenant,
        batch.job_id,
        batch.first_job_seq,
        batch.body,
        batch.traceparent,
    )


async def batches(connection: Connection, tenant: UUID, job_id: UUID) -> list[UnsentBatch]:
    """What the last run left, in order."""
    found: list[Any] = await connection.fetch(
        """SELECT job_id, first_job_seq, body, traceparent FROM unsent_batch
        WHERE tenant_id = $1 AND job_id = $2 ORDER BY first_job_seq""",
        tenant,
        job_id,
    )
    return [UnsentBatch(**dict(row)) for row in found]


async def delete(connection: Connection, tenant: UUID, job_id: UUID, up_to: int | None = None) -> None:
    """The broker has them, or those that begin with a number up to this one."""
    await connection.execute(
        """DELETE FROM unsent_batch
        WHERE tenant_id = $1 AND job_id = $2 AND ($3::bigint IS NULL OR first_job_seq <= $3)""",
        tenant,
        job_id,
        up_to,
    )


async def lock_holding(connection: Connection, tenant: UUID, text: str) -> list[UnsentBatch]:
    """A tenant's batches in which a text stands."""
    found: list[Any] = await connection.fetch(
        """SELECT job_id, first_job_seq, body, traceparent FROM unsent_batch
        WHERE tenant_id = $1 AND strpos(body, $2) > 0 ORDER BY job_id, first_job_seq FOR UPDATE""",
        tenant,
        text,
    )
    return [UnsentBatch(**dict(row)) for row in found]


async def replace(connection: Connection, tenant: UUID, batch: UnsentBatch) -> None:
    await connection.execute(
        "UPDATE unsent_batch SET body = $4 WHERE tenant_id = $1 AND job_id = $2 AND first_job_seq = $3",
        tenant,
        batch.job_id,
        batch.first_job_seq,
        batch.body,
    )
