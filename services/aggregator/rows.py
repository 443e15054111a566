"""What one batch of records comes to: rows to stage, numbers for the ledgers. Field names are column names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.ids import ResourceIds


class StagedRecord(NamedTuple):
    """One resource as the newest record of the batch knows it; a reference where `executed_at` is None."""

    tenant_id: UUID
    id: UUID
    connector_id: UUID
    environment: str
    resource_type: str
    resource_id: str
    chart_key: UUID | None
    title: str | None
    pattern_id: UUID
    executed_by: str | None
    executed_at: datetime | None
    execution_count: int
    dashboard_id: str | None
    dashboard_title: str | None
    dashboard_url: str | None
    sync_seq: int
    job_seq: int
    said_at: datetime


class StagedPattern(NamedTuple):
    tenant_id: UUID
    id: UUID
    connector_id: UUID
    dialect: str
    sql_text: str | None
    text_key: UUID | None
    truncated: bool


class StagedTable(NamedTuple):
    tenant_id: UUID
    pattern_id: UUID
    table_key: UUID
    connector_id: UUID
    last_part: str
    display: str


class StagedTableKey(NamedTuple):
    tenant_id: UUID
    match_key: UUID
    pattern_id: UUID
    table_key: UUID
    connector_id: UUID


class StagedColumn(NamedTuple):
    tenant_id: UUID
    pattern_id: UUID
    table_key: UUID
    column_name: str


class LedgerKey(NamedTuple):
    """A collecting job's records: one ledger for each. Sorts in the order in which ledgers are locked."""

    tenant_id: UUID
    connector_id: UUID
    job_id: UUID
    sync_seq: int


class ConnectorKey(NamedTuple):
    tenant_id: UUID
    connector_id: UUID


@dataclass(slots=True)
class Numbers:
    """`job_seq` numbers of one ledger that a batch stored or refused."""

    stored: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Closing:
    """A closing record: `count` records were sent."""

    key: LedgerKey
    count: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern with its tables, their keys and columns."""

    row: StagedPattern
    tables: Sequence[StagedTable]
    keys: Sequence[StagedTableKey]
    columns: frozenset[StagedColumn]

    def with_columns(self, more: frozenset[StagedColumn]) -> "Pattern":
        """The same with columns that another record found."""
        return replace(self, columns=self.columns | more)


@dataclass(frozen=True, slots=True)
class Origin:
    """What many records of a batch have in common. `numbers` is None outside of jobs."""

    tenant: UUID
    connector: UUID
    ids: ResourceIds
    numbers: Numbers | None

    @classmethod
    def of(cls, batch: "Batch", tenant: UUID, connector: UUID, job: UUID | None, sync_seq: int | None) -> "Origin":
        """That of a job's records in this batch, or of records that no job sent."""
        numbers = None
        if job is not None and sync_seq is not None:
            numbers = batch.numbers.setdefault(LedgerKey(tenant, connector, job, sync_seq), Numbers())
        return cls(tenant, connector, ResourceIds(tenant, connector), numbers)


@dataclass(slots=True)
class Batch:
    """All of one batch of records."""

    records: dict[tuple[UUID, UUID], StagedRecord] = field(default_factory=dict)
    patterns: dict[tuple[UUID, UUID], Pattern] = field(default_factory=dict)
    numbers: dict[LedgerKey, Numbers] = field(default_factory=dict)
    closings: list[Closing] = field(default_factory=list)
    origins: dict[tuple[object, ...], Origin] = field(default_factory=dict)
    # Those in `patterns`, by identity, which is quicker to look up.
    seen: dict[int, Pattern] = field(default_factory=dict)
    refused: int = 0

    def people(self) -> set[tuple[UUID, str]]:
        """Whose names the batch holds, by tenant."""
        return {(each.tenant_id, each.executed_by) for each in self.records.values() if each.executed_by}

    def rename(self, pseudonyms: Mapping[tuple[UUID, str], str]) -> None:
        """Put pseudonyms in the place of names."""
        for key, record in self.records.items() if pseudonyms else ():
            pseudonym = pseudonyms.get((record.tenant_id, record.executed_by or ""))
            if pseudonym is not None:
                self.records[key] = record._replace(executed_by=pseudonym)

    def has_references(self) -> bool:
        """Whether any record is of a thing without an execution."""
        return any(record.executed_at is None for record in self.records.values())

    def connectors(self) -> set[ConnectorKey]:
        """Whose rows the batch touches."""
        keys = {ConnectorKey(origin.tenant, origin.connector) for origin in self.origins.values()}
        return keys | {ConnectorKey(each.key.tenant_id, each.key.connector_id) for each in self.closings}

    def ledgers(self) -> list[LedgerKey]:
        """Ledgers that the batch touches, in locking order."""
        return sorted({*self.numbers, *(each.key for each in self.closings)})
