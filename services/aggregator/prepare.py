"""From records to rows: text anonymised (again), tables found where the producer sent none, ids derived."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.events import BiQueryScraped, SyncCompleted
from libs.common.ids import bi_query_id
from libs.common.sql import DefaultNames, Dialect, TableName, analyse, anonymise, pattern_id
from services.aggregator.domain import (
    NO_SYNC,
    Rank,
    chart_key,
    counted_moment,
    in_utc,
    match_key,
    storable,
    suffix_keys,
    text_key,
)
from services.aggregator.rows import (
    Batch,
    Closing,
    LedgerKey,
    Numbers,
    Pattern,
    StagedColumn,
    StagedPattern,
    StagedRecord,
    StagedTable,
    StagedTableKey,
)

# No database has longer names; an index entry has a limit.
_LONGEST_NAME: Final = 512
_CACHED_TEXTS: Final = 2048
_LONGEST_CACHED: Final = 4096
# Settings of a connector do not reach this service: names stay as written.
_AS_WRITTEN: Final = DefaultNames(None, ())


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record of `bi_query.scraped` and when it was said (its envelope's time, else the message's)."""

    event: BiQueryScraped | SyncCompleted
    said_at: datetime


class Statement(NamedTuple):
    """What a record's SQL says: text without literals, tables, columns."""

    text: str | None
    truncated: bool
    tables: tuple[TableName, ...]
    columns: tuple[tuple[TableName, str], ...]


def prepare(arrivals: Iterable[Arrival], now: datetime) -> Batch:
    """One row per resource (the newest record of the batch), its pattern, and what the ledgers are told."""
    batch = Batch()
    for arrival in arrivals:
        event = arrival.event
        if isinstance(event, SyncCompleted):
            key = LedgerKey(event.tenant, event.connector.id, event.job_id, event.sync_seq)
            batch.closings.append(Closing(key, event.count, event.complete))
        else:
            _add(batch, event, arrival.said_at, now)
    return batch


def _add(batch: Batch, event: BiQueryScraped, said_at: datetime, now: datetime) -> None:
    moment = None if event.executed_at is None else counted_moment(in_utc(event.executed_at), now)
    refused = event.executed_at is not None and moment is None
    _count(batch, event, refused=refused)
    if refused:
        batch.refused += 1
        return
    pattern = _pattern(event)
    known = batch.patterns.get((event.tenant, pattern.row.id))
    batch.patterns[event.tenant, pattern.row.id] = (
        replace(known, columns=known.columns | pattern.columns) if known else pattern
    )
    record = _record(event, in_utc(said_at), moment, pattern.row.id)
    before = batch.records.get((record.tenant_id, record.id))
    if before is None or _rank(before) <= _rank(record):
        batch.records[record.tenant_id, record.id] = record


def _rank(record: StagedRecord) -> Rank:
    return Rank(record.sync_seq, record.job_seq, record.said_at)


def _count(batch: Batch, event: BiQueryScraped, *, refused: bool) -> None:
    if event.job_id is None or event.sync_seq is None or event.job_seq is None:
        return
    key = LedgerKey(event.tenant, event.connector.id, event.job_id, event.sync_seq)
    numbers = batch.numbers.setdefault(key, Numbers())
    (numbers.rejected if refused else numbers.stored).add(event.job_seq)


def _record(event: BiQueryScraped, said_at: datetime, moment: datetime | None, pattern: UUID) -> StagedRecord:
    resource_id = storable(event.resource_id) or ""
    return StagedRecord(
        tenant_id=event.tenant,
        # Derived, not taken from the event: nobody overwrites another connector's row by naming its id.
        id=bi_query_id(event.tenant, event.connector.id, event.resource_type, event.resource_id),
        connector_id=event.connector.id,
        environment=event.environment,
        resource_type=event.resource_type,
        resource_id=resource_id,
        chart_key=chart_key(event.resource_type, resource_id, event.dashboard_id),
        title=storable(event.title),
        pattern_id=pattern,
        executed_by=storable(event.executed_by),
        executed_at=moment,
        execution_count=event.execution_count,
        dashboard_id=storable(event.dashboard_id),
        dashboard_title=storable(event.dashboard_title),
        dashboard_url=storable(event.dashboard_url),
        sync_seq=NO_SYNC if event.sync_seq is None else event.sync_seq,
        job_seq=event.job_seq or 0,
        said_at=said_at,
    )


def _pattern(event: BiQueryScraped) -> Pattern:
    tenant, connector, dialect = event.tenant, event.connector.id, Dialect.of(event.dialect)
    said = _statement(event, dialect)
    pattern = pattern_id(tenant, connector, dialect, said.text or "", said.tables)
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
        frozenset(
            StagedColumn(tenant, pattern, match_key(dialect, table.parts), column)
            for table, column in said.columns
            if table in keys
        ),
    )


def _statement(event: BiQueryScraped, dialect: Dialect) -> Statement:
    tables = _usable_tables(tuple(storable(part) or "" for part in table.name) for table in event.tables)
    if event.sql_text is None:
        return Statement(None, False, tables, _sent_columns(event))
    analyse_it = not event.tables
    short = len(event.sql_text) <= _LONGEST_CACHED
    found = (_cached if short else _analysed)(event.sql_text, dialect, analyse_it)
    truncated = found.truncated or event.sql_truncated
    if analyse_it:
        return found._replace(truncated=truncated)
    return Statement(found.text, truncated, tables, _sent_columns(event))


def _usable_tables(names: Iterable[tuple[str, ...]]) -> tuple[TableName, ...]:
    return tuple(TableName(parts) for parts in names if all(0 < len(part) <= _LONGEST_NAME for part in parts))


def _sent_columns(event: BiQueryScraped) -> tuple[tuple[TableName, str], ...]:
    return _usable_columns((TableName(tuple(map(_text, use.table))), _text(use.column)) for use in event.columns)


def _usable_columns(columns: Iterable[tuple[TableName, str]]) -> tuple[tuple[TableName, str], ...]:
    return tuple((table, column) for table, column in columns if 0 < len(column) <= _LONGEST_NAME)


def _text(text: str) -> str:
    return storable(text) or ""


def _analysed(sql: str, dialect: Dialect, with_tables: bool) -> Statement:
    if not with_tables:
        text, truncated = anonymise(sql, dialect)
        return Statement(text or None, truncated, (), ())
    found = analyse(sql, dialect, _AS_WRITTEN)
    columns = _usable_columns((use.table, use.column) for use in found.columns)
    return Statement(
        found.text or None, found.truncated, _usable_tables(table.parts for table in found.tables), columns
    )


_cached = lru_cache(maxsize=_CACHED_TEXTS)(_analysed)
