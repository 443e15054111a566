"""From records to rows: one per resource, ids derived, and what the ledgers are told."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.events import BiQueryScraped, SyncCompleted
from libs.common.ids import fast_uuid
from services.aggregator.domain import NO_SYNC, Rank, chart_key, counted_moment, in_utc, storable
from services.aggregator.patterns import Patterns
from services.aggregator.rows import Batch, Closing, LedgerKey, Origin, Pattern, StagedRecord


class Arrival(NamedTuple):
    """A record of `bi_query.scraped` and when it was said (its envelope's time, else the message's)."""

    event: BiQueryScraped | SyncCompleted
    said_at: datetime


def prepare(arrivals: Sequence[Arrival], now: datetime, patterns: Patterns | None = None) -> Batch:
    """One row per resource (the newest record of the batch), its pattern, and what the ledgers are told."""
    batch = Batch()
    add(batch, arrivals, (patterns or Patterns()).find(each.event for each in arrivals), now)
    return batch


def add(batch: Batch, arrivals: Iterable[Arrival], patterns: Iterable[Pattern | None], now: datetime) -> None:
    """Add arrivals with their patterns to a batch."""
    # What was sent at once was said at the same moment, the very same object.
    said, said_in_utc = None, now
    for (event, said_at), pattern in zip(arrivals, patterns, strict=True):
        if isinstance(event, SyncCompleted):
            key = LedgerKey(event.tenant, event.connector.id, event.job_id, event.sync_seq)
            batch.closings.append(Closing(key, event.count, event.complete))
        else:
            assert pattern is not None
            if said_at is not said:
                said, said_in_utc = said_at, in_utc(said_at)
            _add(batch, event, pattern, said_in_utc, now)


def _add(batch: Batch, event: BiQueryScraped, pattern: Pattern, said_at: datetime, now: datetime) -> None:
    origin = _origin(batch, event)
    moment, number, numbers = event.executed_at, event.job_seq, origin.numbers
    if moment is not None:
        moment = counted_moment(moment if moment.tzinfo is UTC else in_utc(moment), now)
        if moment is None:
            batch.refused += 1
            if numbers is not None and number is not None:
                numbers.rejected.add(number)
            return
    if numbers is not None and number is not None:
        numbers.stored.add(number)
    if id(pattern) not in batch.seen:
        _add_pattern(batch, pattern)
    record = _record(event, origin, said_at, moment, pattern.row.id)
    key = (origin.tenant, record.id)
    before = batch.records.setdefault(key, record)
    if before is not record and _rank(before) <= _rank(record):
        batch.records[key] = record


def _add_pattern(batch: Batch, pattern: Pattern) -> None:
    batch.seen[id(pattern)] = pattern
    key = (pattern.row.tenant_id, pattern.row.id)
    known = batch.patterns.setdefault(key, pattern)
    if known is not pattern and not pattern.columns <= known.columns:
        batch.patterns[key] = known.with_columns(pattern.columns)


def _rank(record: StagedRecord) -> Rank:
    return Rank(record.sync_seq, record.job_seq, record.said_at)


def _origin(batch: Batch, event: BiQueryScraped) -> Origin:
    """What the records of one job, or of one connector outside of jobs, have in common."""
    job = event.job_id if event.job_seq is not None else None
    key = (event.tenant.int, event.connector.id.int, None if job is None else job.int, event.sync_seq)
    origin = batch.origins.get(key)
    if origin is None:
        origin = batch.origins[key] = Origin.of(
            batch, fast_uuid(event.tenant), fast_uuid(event.connector.id), job, event.sync_seq
        )
    return origin


def _record(
    event: BiQueryScraped, origin: Origin, said_at: datetime, moment: datetime | None, pattern: UUID
) -> StagedRecord:
    resource_id = storable(event.resource_id) or ""
    title, by, dashboard = event.title, event.executed_by, event.dashboard_id
    dashboard_title, url = event.dashboard_title, event.dashboard_url
    return StagedRecord(
        origin.tenant,
        # Derived, not taken from the event: nobody overwrites another connector's row by naming its id.
        origin.ids(event.resource_type, event.resource_id),
        origin.connector,
        event.environment,
        event.resource_type,
        resource_id,
        # Only references are counted by charts.
        chart_key(event.resource_type, resource_id, dashboard) if moment is None else None,
        title and storable(title),
        pattern,
        by and storable(by),
        moment,
        event.execution_count,
        dashboard and storable(dashboard),
        dashboard_title and storable(dashboard_title),
        url and storable(url),
        NO_SYNC if event.sync_seq is None else event.sync_seq,
        event.job_seq or 0,
        said_at,
    )
