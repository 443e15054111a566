"""What a mining job is, and what becomes of an execution. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from libs.common.collecting.job import CollectingJob
from libs.common.events import MAX_COUNT, BiQueryScraped, ColumnUse, ConnectorRef, TableRef
from libs.common.ids import bi_query_id
from libs.common.settings import Environment
from libs.common.sql import Analysis, DefaultNames, Dialect, TableName, analyse, is_catalog
from services.log_miner.tool_comments import commented_user
from services.log_miner.warehouses.interface import Execution

RESOURCE_TYPE: Final = "query_log"


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningJob(CollectingJob):
    """One mining of one connector's log. All runs share a `sync_seq`; numbers of records never repeat."""

    path: ClassVar[str] = "mining-jobs"

    lines_read: int = 0
    rows_sent: int = 0


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


def bi_queries(executions: Iterable[Execution], job: MiningJob, first: int, source: Source) -> list[BiQueryScraped]:
    """Records numbered from `first` on; what reads only the catalog is no usage."""
    analysed = ((each, analyse(each.statement, source.dialect, source.defaults)) for each in executions)
    usage = ((each, analysis) for each, analysis in analysed if not reads_catalog_only(analysis.tables))
    return [
        bi_query(execution, analysis, job, number, source) for number, (execution, analysis) in enumerate(usage, first)
    ]
