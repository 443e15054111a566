"""What a mining job is, and what becomes of an execution. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from libs.common.collecting.job import CollectingJob
from libs.common.events import MAX_COUNT, BiQueryScraped, ColumnUse, ConnectorRef, TableRef
from libs.common.ids import ResourceIds
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


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What records of a pattern have in common. `analysis` is held so that its tuples keep their identity."""

    analysis: Analysis
    tables: tuple[TableRef, ...]
    columns: tuple[ColumnUse, ...]
    is_usage: bool

    @classmethod
    def of(cls, analysis: Analysis) -> "_Pattern":
        tables = tuple(TableRef(name=table.parts, display=table.display) for table in analysis.tables)
        columns = tuple(ColumnUse(table=column.table.parts, column=column.column) for column in analysis.columns)
        return cls(analysis, tables, columns, not reads_catalog_only(analysis.tables))


def reads_catalog_only(tables: Sequence[TableName]) -> bool:
    """Whether a statement asks nothing but the database about itself, as drivers and tools do all the time."""
    return bool(tables) and all(is_catalog(table.parts) for table in tables)


@dataclass(slots=True)
class Recorder:
    """Makes the records of one job from executions of one source, numbered from `number` on."""

    job: MiningJob
    source: Source
    number: int
    _ids: ResourceIds = field(init=False)
    _dialect: str = field(init=False)

    def __post_init__(self) -> None:
        self._ids = ResourceIds(self.job.tenant, self.job.connector_id)
        self._dialect = self.source.dialect.value

    def records(self, executions: Iterable[Execution]) -> list[BiQueryScraped]:
        """Of each execution but those that read only the catalog, which is no usage."""
        patterns: dict[tuple[int, int], _Pattern] = {}
        found: list[BiQueryScraped] = []
        for execution in executions:
            analysis = analyse(execution.statement, self.source.dialect, self.source.defaults)
            key = id(analysis.tables), id(analysis.columns)
            pattern = patterns.get(key)
            if pattern is None:
                pattern = patterns[key] = _Pattern.of(analysis)
            if pattern.is_usage:
                found.append(self._record(execution, analysis, pattern))
                self.number += 1
        return found

    def _record(self, execution: Execution, analysis: Analysis, pattern: _Pattern) -> BiQueryScraped:
        """Its text has no literals any more; a BI tool's comment gives the user."""
        commented = commented_user(analysis.comment) if execution.own_comment else None
        return BiQueryScraped(
            tenant=self.job.tenant,
            id=self._ids(RESOURCE_TYPE, execution.resource_id),
            environment=self.source.environment,
            connector=self.source.connector,
            dialect=self._dialect,
            job_id=self.job.id,
            sync_seq=self.job.sync_seq,
            job_seq=self.number,
            resource_type=RESOURCE_TYPE,
            resource_id=execution.resource_id,
            sql_text=analysis.text,
            sql_truncated=analysis.truncated,
            executed_by=commented or execution.user,
            executed_at=execution.executed_at,
            execution_count=min(execution.count, MAX_COUNT),
            tables=pattern.tables,
            columns=pattern.columns,
        )
