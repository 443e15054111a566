"""All SQL of log_miner: its tables of jobs and places, and the records not yet sent, one function per statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from libs.common.collecting.places import Places
from libs.common.collecting.table import JobTable
from libs.common.db import Connection
from services.log_miner.domain import MiningJob

JOBS: Final = JobTable("mining_job", MiningJob)
PLACES: Final = Places("mining")


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


@dataclass(frozen=True, slots=True)
class LockedRecord:
    """A record that waits to be sent, by its place."""

    job_id: UUID
    job_seq: int
    record: str


async def lock_unsent_holding(connection: Connection, tenant: UUID, text: str) -> list[LockedRecord]:
    """A tenant's records in which a text stands."""
    found = await connection.fetch(
        """SELECT job_id, job_seq, record FROM unsent_record
        WHERE tenant_id = $1 AND strpos(record, $2) > 0 ORDER BY job_id, job_seq FOR UPDATE""",
        tenant,
        text,
    )
    return [LockedRecord(row["job_id"], row["job_seq"], row["record"]) for row in found]


async def replace_unsent(connection: Connection, tenant: UUID, unsent: LockedRecord) -> None:
    await connection.execute(
        "UPDATE unsent_record SET record = $4 WHERE tenant_id = $1 AND job_id = $2 AND job_seq = $3",
        tenant,
        unsent.job_id,
        unsent.job_seq,
        unsent.record,
    )
