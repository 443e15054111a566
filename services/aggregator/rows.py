"""What one batch of records comes to: rows to stage, numbers for the ledgers. Field names are column names."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.ids import ResourceIds


class StagedRow(NamedTuple):
    """What one resource's newest record of the batch says for itself; a reference where `executed_at` is None.

    `origin` and `pattern` are places (from 1) in the batch's lists: what many rows share is not told with each.
    """

    origin: int
    pattern: int
    id: UUID
    resource_id: str
    executed_by: str | None
    executed_at: datetime | None
    execution_count: int
    job_seq: int
    # Of executions mostly none is told.
    title: str | None
    dashboard_id: str | None
    dashboard_title: str | None
    dashboard_url: str | None
    chart_key: UUID | None


DETAILS: Final = 8
"""Place of the first of a row's fields that executions mostly lack."""


class Origin(NamedTuple):
    """What rows of one sending have in common."""

    tenant_id: UUID
    connector_id: UUID
    environment: str
    resource_type: str
    sync_seq: int
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
class Source:
    """What the records of one job in a batch have in common, or those of a connector that no job sent.

    `numbers` is None outside of jobs; `origins` by environment, resource type and moment.
    """

    tenant: UUID
    connector: UUID
    sync_seq: int | None
    ids: ResourceIds
    numbers: Numbers | None
    origins: dict[tuple[str, str, datetime], int] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """All of one batch of records."""

    rows: dict[UUID, StagedRow] = field(default_factory=dict)
    origins: list[Origin] = field(default_factory=list)
    # Of the rows' patterns, by place.
    pattern_tenants: list[UUID] = field(default_factory=list)
    pattern_ids: list[UUID] = field(default_factory=list)
    patterns: dict[tuple[UUID, UUID], Pattern] = field(default_factory=dict)
    numbers: dict[LedgerKey, Numbers] = field(default_factory=dict)
    closings: list[Closing] = field(default_factory=list)
    sources: dict[tuple[object, ...], Source] = field(default_factory=dict)
    # Places of the patterns met, by identity, which is quicker to look up.
    places: dict[int, tuple[Pattern, int]] = field(default_factory=dict)
    refused: int = 0
    has_references: bool = False
    has_details: bool = False

    def people(self, tenants: Collection[UUID]) -> set[tuple[UUID, str]]:
        """Whose names the batch holds, of these tenants."""
        if not tenants:
            return set()
        told = {(row.origin, row.executed_by) for row in self.rows.values() if row.executed_by}
        people = {(self.origins[origin - 1].tenant_id, name) for origin, name in told}
        return {person for person in people if person[0] in tenants}

    def rename(self, pseudonyms: Mapping[tuple[UUID, str], str]) -> None:
        """Put pseudonyms in the place of names."""
        for key, row in self.rows.items() if pseudonyms else ():
            pseudonym = pseudonyms.get((self.origins[row.origin - 1].tenant_id, row.executed_by or ""))
            if pseudonym is not None:
                self.rows[key] = row._replace(executed_by=pseudonym)

    def connectors(self) -> set[ConnectorKey]:
        """Whose rows the batch touches."""
        keys = {ConnectorKey(source.tenant, source.connector) for source in self.sources.values()}
        return keys | {ConnectorKey(each.key.tenant_id, each.key.connector_id) for each in self.closings}

    def ledgers(self) -> list[LedgerKey]:
        """Ledgers that the batch touches, in locking order."""
        return sorted({*self.numbers, *(each.key for each in self.closings)})
