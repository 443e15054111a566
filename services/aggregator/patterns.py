"""The pattern of a record: text anonymised (again), tables found where the producer sent none, keys derived.

Most records repeat what others said before, word for word: their pattern is looked up.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.events import BiQueryRecord, BiQueryScraped, ColumnUse, TableRef
from libs.common.ids import fast_uuid
from libs.common.sql import DefaultNames, Dialect, TableName, analyse, anonymise, pattern_id
from services.aggregator.domain import storable, suffix_keys, text_key
from services.aggregator.rows import Pattern, StagedColumn, StagedPattern, StagedTable, StagedTableKey

# No database has longer names; an index entry has a limit.
_LONGEST_NAME: Final = 512
_LONGEST_REMEMBERED: Final = 4096
_REMEMBERED: Final = 8192
# Settings of a connector do not reach this service: names stay as written.
_AS_WRITTEN: Final = DefaultNames(None, ())


class Statement(NamedTuple):
    """What a record's SQL says: text without literals, tables, columns."""

    text: str | None
    truncated: bool
    tables: tuple[TableName, ...]
    columns: tuple[tuple[TableName, str], ...]


class Words(NamedTuple):
    """What records of a connector said with one text, and its pattern."""

    tables: tuple[TableRef, ...]
    columns: tuple[ColumnUse, ...]
    dialect: str
    truncated: bool
    pattern: Pattern

    def are_of(self, event: BiQueryScraped) -> bool:
        """Whether a record with the same text surely says the same: by the very same objects."""
        return (
            event.tables is self.tables
            and event.columns is self.columns
            and event.dialect == self.dialect
            and event.sql_truncated == self.truncated
        )


Said = dict[str | None, Words]


class Patterns:
    """Remembers the patterns of words seen lately. Bounded; starts afresh when full."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._known: dict[tuple[object, ...], Pattern] = {}
        self._said: dict[tuple[int, int], Said] = {}
        self._texts = 0

    def said(self, tenant: UUID, connector: UUID) -> Said:
        """What a connector's records said last with which text, which is quicker to look up; see `note`."""
        return self._said.setdefault((tenant.int, connector.int), {})

    def note(self, said: Said, event: BiQueryScraped, pattern: Pattern) -> None:
        """Remember what a record of the connector says."""
        if len(event.sql_text or "") > _LONGEST_REMEMBERED:
            return
        if self._texts >= self._limit:
            self._said.clear()
            self._texts = 0
        said[event.sql_text] = Words(event.tables, event.columns, event.dialect, event.sql_truncated, pattern)
        self._texts += 1

    def look_up(self, event: BiQueryScraped) -> Pattern | None:
        """The pattern of a record that says what another one said."""
        return self._known.get(_words(event))

    def known(self, events: Sequence[BiQueryRecord]) -> tuple[list[Pattern | None], list[int]]:
        """The pattern of each record (None for a closing one), and the places of those that say what no other said."""
        found: list[Pattern | None] = []
        unknown: list[int] = []
        look_up = self._known.get
        for place, event in enumerate(events):
            pattern = None
            if isinstance(event, BiQueryScraped):
                pattern = look_up(_words(event))
                if pattern is None:
                    unknown.append(place)
            found.append(pattern)
        return found, unknown

    def find(self, events: Iterable[BiQueryRecord]) -> list[Pattern | None]:
        """The same, whatever they say. A statement that nobody has seen yet may take milliseconds to parse."""
        return [self._find(event) if isinstance(event, BiQueryScraped) else None for event in events]

    def _find(self, event: BiQueryScraped) -> Pattern:
        words = _words(event)
        found = self._known.get(words)
        if found is None:
            found = _pattern(event)
            if len(event.sql_text or "") <= _LONGEST_REMEMBERED:
                if len(self._known) >= self._limit:
                    self._known.clear()
                self._known[words] = found
        return found


def _words(event: BiQueryScraped) -> tuple[object, ...]:
    """All that a pattern is made of."""
    return (
        event.tenant.int,
        event.connector.id.int,
        event.dialect,
        event.sql_text,
        event.sql_truncated,
        event.tables,
        event.columns,
    )


def _pattern(event: BiQueryScraped) -> Pattern:
    tenant, connector, dialect = fast_uuid(event.tenant), fast_uuid(event.connector.id), Dialect.of(event.dialect)
    said = _statement(event, dialect)
    pattern = fast_uuid(pattern_id(tenant, connector, dialect, said.text or "", said.tables))
    tables = sorted(set(said.tables))
    keys = {table: suffix_keys(dialect, table.parts) for table in tables}
    return Pattern(
        StagedPattern(
            tenant,
            pattern,
            connector,
            dialect.value,
            said.text,
            text_key(said.text) if said.text else None,
            said.truncated,
        ),
        [StagedTable(tenant, pattern, keys[table][0], connector, table.parts[-1], table.display) for table in tables],
        [StagedTableKey(tenant, key, pattern, keys[table][0], connector) for table in tables for key in keys[table]],
        _columns(tenant, pattern, said, keys),
    )


def _columns(
    tenant: UUID, pattern: UUID, said: Statement, keys: dict[TableName, list[UUID]]
) -> frozenset[StagedColumn]:
    return frozenset(
        StagedColumn(tenant, pattern, keys[table][0], column) for table, column in said.columns if table in keys
    )


def _statement(event: BiQueryScraped, dialect: Dialect) -> Statement:
    tables = _usable_tables(tuple(storable(part) or "" for part in table.name) for table in event.tables)
    if event.sql_text is None:
        return Statement(None, False, tables, _sent_columns(event))
    if not event.tables:
        found = _analysed(event.sql_text, dialect)
        return found._replace(truncated=found.truncated or event.sql_truncated)
    text, truncated = anonymise(event.sql_text, dialect)
    return Statement(text or None, truncated or event.sql_truncated, tables, _sent_columns(event))


def _usable_tables(names: Iterable[tuple[str, ...]]) -> tuple[TableName, ...]:
    return tuple(TableName(parts) for parts in names if all(0 < len(part) <= _LONGEST_NAME for part in parts))


def _sent_columns(event: BiQueryScraped) -> tuple[tuple[TableName, str], ...]:
    return _usable_columns((TableName(tuple(map(_text, use.table))), _text(use.column)) for use in event.columns)


def _usable_columns(columns: Iterable[tuple[TableName, str]]) -> tuple[tuple[TableName, str], ...]:
    return tuple((table, column) for table, column in columns if 0 < len(column) <= _LONGEST_NAME)


def _text(text: str) -> str:
    return storable(text) or ""


def _analysed(sql: str, dialect: Dialect) -> Statement:
    found = analyse(sql, dialect, _AS_WRITTEN)
    columns = _usable_columns((use.table, use.column) for use in found.columns)
    return Statement(
        found.text or None, found.truncated, _usable_tables(table.parts for table in found.tables), columns
    )
