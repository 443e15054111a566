"""What a collecting job is (mining a log, scraping a tool) and when it is over. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Final, Literal
from uuid import UUID

from libs.common.events import ConnectorRef, SyncCompleted
from libs.common.settings import Environment

State = Literal["pending", "running", "completed", "partial", "failed", "cancelled"]
Phase = Literal["waiting", "reading", "storing", "done"]
FINAL_STATES: Final[frozenset[State]] = frozenset({"completed", "partial", "failed", "cancelled"})
MAX_WARNINGS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectingJob:
    """One reading of one connector. `next_job_seq` is the number of the next record of this `sync_seq`."""

    path: ClassVar[str] = "jobs"

    tenant: UUID
    id: UUID
    connector_id: UUID
    connector_version: int
    sync_seq: int
    state: State
    phase: Phase
    created_at: datetime
    run: int = 0
    attempts: int = 0
    cancel_requested: bool = False
    next_job_seq: int = 1
    percentage: float = 0.0
    rows_upserted: int | None = None
    rows_rejected: int | None = None
    warnings: tuple[str, ...] = ()
    error_code: str | None = None
    error: str | None = None
    requested_by: str | None = None
    traceparent: str | None = field(default=None, repr=False)
    closing_complete: bool | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def records(self) -> int:
        """Records numbered so far: what the closing record tells the aggregator to wait for."""
        return self.next_job_seq - 1

    @property
    def location(self) -> str:
        """Path of the job for clients."""
        return f"/{self.path}/{self.id}"


def joined_warnings(known: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    """Warnings in order of their first appearance, the first 50 of them."""
    return tuple(dict.fromkeys((*known, *more)))[:MAX_WARNINGS]


def read_since(first_asked: datetime, lookback_days: int) -> datetime:
    """From when on a connector's executions count: fixed when it is read for the first time."""
    return first_asked - timedelta(days=lookback_days)


def closing_record(job: CollectingJob, connector: ConnectorRef, environment: Environment) -> SyncCompleted:
    """Tells the aggregator how many records the job has sent, and whether it saw everything."""
    return SyncCompleted(
        tenant=job.tenant,
        environment=environment,
        connector=connector,
        job_id=job.id,
        sync_seq=job.sync_seq,
        count=job.records,
        complete=bool(job.closing_complete),
    )


def record_key(tenant: UUID, connector_id: UUID) -> str:
    """Key of all records of a connector: their order is kept."""
    return f"{tenant}:{connector_id}"
