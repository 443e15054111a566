"""SQL on what the version before left unsent, a row for each record. The next version needs neither this nor that."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class UnsentRecord:
    """A record's JSON, by its place."""

    job_id: UUID
    job_seq: int
    record: str
    traceparent: str | None


async def records(connection: Connection, tenant: UUID, job_id: UUID) -> list[UnsentRecord]:
    """What an interrupted run left, in order."""
    found: list[Any] = await connection.fetch(
        """SELECT job_id, job_seq, record, traceparent FROM unsent_record
        WHERE tenant_id = $1 AND job_id = $2 ORDER BY job_seq""",
        tenant,
        job_id,
    )
    return [UnsentRecord(**dict(row)) for row in found]


async def delete(connection: Connection, tenant: UUID, job_id: UUID) -> None:
    """The broker has them."""
    await connection.execute("DELETE FROM unsent_record WHERE tenant_id = $1 AND job_id = $2", tenant, job_id)


async def lock_holding(connection: Connection, tenant: UUID, text: str) -> list[UnsentRecord]:
    """A tenant's records in which a text stands."""
    found: list[Any] = await connection.fetch(
        """SELECT job_id, job_seq, record, traceparent FROM unsent_record
        WHERE tenant_id = $1 AND strpos(record, $2) > 0 ORDER BY job_id, job_seq FOR UPDATE""",
        tenant,
        text,
    )
    return [UnsentRecord(**dict(row)) for row in found]


async def replace(connection: Connection, tenant: UUID, unsent: UnsentRecord) -> None:
    await connection.execute(
        "UPDATE unsent_record SET record = $4 WHERE tenant_id = $1 AND job_id = $2 AND job_seq = $3",
        tenant,
        unsent.job_id,
        unsent.job_seq,
        unsent.record,
    )
