"""What a mining job is, when it is over, and what becomes of an execution. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from libs.common.events import MAX_COUNT, BiQueryScraped, ColumnUse, ConnectorRef, SyncCompleted, TableRef
from libs.common.ids import bi_query_id
from libs.common.settings import Environment
from libs.common.sql import Analysis, DefaultNames, Dialect, TableName, analyse, is_catalog
from services.log_miner.tool_comments import commented_user
from services.log_miner.warehouses.interface import Execution

State = Literal["pending", "running", "completed", "partial", "failed", "cancelled"]
Phase = Literal["waiting", "reading", "storing", "done"]
FINAL_STATES: frozenset[State] = frozenset({"completed", "partial", "failed", "cancelled"})
RESOURCE_TYPE = "query_log"
MAX_WARNINGS = 50


@dataclass(frozen=True, slots=True)
class MiningJob:
    """One mining of one connector's log. `next_job_seq` is the number of the next record; numbers never repeat."""

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
    lines_read: int = 0
    rows_sent: int = 0
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
        return f"/mining-jobs/{self.id}"


def joined_warnings(known: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    """Warnings in order of their first appearance, the first 50 of them."""
    return tuple(dict.fromkeys((*known, *more)))[:MAX_WARNINGS]


def read_since(first_asked: datetime, lookback_days: int) -> datetime:
    """From when on a connector's log counts: fixed when it is mined for the first time."""
    return first_asked - timedelta(days=lookback_days)


@dataclass(frozen=True, slots=True)
class Source:
    """Where statements come from, and what the names in them mean."""

    connector: ConnectorRef
    environment: Environment
    dialect: Dialect
    defaults: DefaultNames


def _tables(analysis: Analysis) -> tuple[TableRef, ...]:
    return tuple(TableRef(name=table.parts, display=table.display) for table in analysis.tables)


def _columns(analysis: Analysis) -> tuple[ColumnUse, ...]:
    return tuple(ColumnUse(table=column.table.parts, column=column.column) for column in analysis.columns)


def reads_catalog_only(tables: Sequence[TableName]) -> bool:
    """Whether a statement asks nothing but the database about itself, as drivers and tools do all the time."""
    return bool(tables) and all(is_catalog(table.parts) for table in tables)


def bi_query(execution: Execution, analysis: Analysis, job: MiningJob, job_seq: int, source: Source) -> BiQueryScraped:
    """The record of an execution. Its text has no literals any more; a BI tool's comment gives the user."""
    commented = commented_user(analysis.comment) if execution.own_comment else None
    return BiQueryScraped(
        tenant=job.tenant,
        id=bi_query_id(job.tenant, job.connector_id, RESOURCE_TYPE, execution.resource_id),
        environment=source.environment,
        connector=source.connector,
        dialect=source.dialect.value,
        job_id=job.id,
        sync_seq=job.sync_seq,
        job_seq=job_seq,
        resource_type=RESOURCE_TYPE,
        resource_id=execution.resource_id,
        sql_text=analysis.text,
        sql_truncated=analysis.truncated,
        executed_by=commented or execution.user,
        executed_at=execution.executed_at,
        execution_count=min(execution.count, MAX_COUNT),
        tables=_tables(analysis),
        columns=_columns(analysis),
    )


def bi_queries(executions: Iterable[Execution], job: MiningJob, source: Source) -> list[BiQueryScraped]:
    """Records numbered from the job's next number on; what reads only the catalog is no usage."""
    analysed = ((each, analyse(each.statement, source.dialect, source.defaults)) for each in executions)
    usage = ((each, analysis) for each, analysis in analysed if not reads_catalog_only(analysis.tables))
    return [
        bi_query(execution, analysis, job, number, source)
        for number, (execution, analysis) in enumerate(usage, job.next_job_seq)
    ]


def closing_record(job: MiningJob, connector: ConnectorRef, environment: Environment) -> SyncCompleted:
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
