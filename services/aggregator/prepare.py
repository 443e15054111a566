"""From records to rows: one per resource, ids derived, and what the ledgers are told."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from libs.common.events import BiQueryScraped, SyncCompleted
from libs.common.ids import ResourceIds, fast_uuid
from services.aggregator.domain import NO_SYNC, Rank, chart_key, counted_moment, in_utc, storable
from services.aggregator.patterns import Patterns
from services.aggregator.rows import (
    DETAILS,
    Batch,
    Closing,
    LedgerKey,
    Numbers,
    Origin,
    Pattern,
    Sending,
    Source,
    StagedRow,
    Words,
)

_NONE: Final[Mapping[int, Pattern]] = {}
_NO_DETAILS: Final = (None,) * (len(StagedRow._fields) - DETAILS)


class Arrival(Struct, frozen=True, gc=False):
    """A record of `bi_query.scraped` and when it was said (its envelope's time, else the message's)."""

    event: BiQueryScraped | SyncCompleted
    said_at: datetime


def prepare(arrivals: Sequence[Arrival], now: datetime, patterns: Patterns | None = None) -> Batch:
    """One row per resource (the newest record of the batch), its pattern, and what the ledgers are told."""
    adding = Adding(patterns or Patterns(), now)
    found = dict(enumerate(adding.patterns.find(each.event for each in arrivals)))
    known = {place: pattern for place, pattern in found.items() if pattern is not None}
    adding.add(arrivals, 0, len(arrivals), known)
    return adding.batch


class Adding:
    """Adds records to a batch, in order. What the record before said is mostly said again, by the very same objects."""

    def __init__(self, patterns: Patterns, now: datetime) -> None:
        self.batch = Batch()
        self.patterns = patterns
        self._now = now
        self._sending: Sending | None = None

    def add(self, arrivals: Sequence[Arrival], start: int, stop: int, found: Mapping[int, Pattern] = _NONE) -> int:
        """Add those from `start` on; the place behind the last: before `stop` where a pattern is neither remembered nor
        among those found (by place).
        """
        sending = self._sending
        for place in range(start, stop):
            arrival = arrivals[place]
            event = arrival.event
            if isinstance(event, SyncCompleted):
                self._close(event)
                continue
            if sending is None or not _same_sending(sending, event, arrival.said_at):
                sending = self._sending = self._sending_of(event, arrival.said_at)
            words = sending.source.words.get(event.sql_text)
            if words is None or not _same_words(words.event, event):
                pattern = found.get(place) or self.patterns.look_up(event)
                if pattern is None:
                    return place
                words = sending.source.words[event.sql_text] = Words(event, self._place_of(pattern))
            self._add(event, sending, words.pattern)
        return stop

    def _close(self, event: SyncCompleted) -> None:
        key = LedgerKey(event.tenant, event.connector.id, event.job_id, event.sync_seq)
        self.batch.closings.append(Closing(key, event.count, event.complete))

    def _add(self, event: BiQueryScraped, sending: Sending, pattern: int) -> None:
        moment, number, source = event.executed_at, event.job_seq, sending.source
        if moment is None:
            self.batch.has_references = True
        elif moment.tzinfo is not UTC or moment > self._now:
            moment = counted_moment(in_utc(moment), self._now)
            if moment is None:
                self.batch.refused += 1
                if source.numbers is not None and number is not None:
                    source.numbers.rejected.add(number)
                return
        if source.numbers is not None and number is not None:
            source.numbers.stored.add(number)
        row = _row(event, sending, pattern, moment)
        if not self.batch.has_details and row[DETAILS:] != _NO_DETAILS:
            self.batch.has_details = True
        before = self.batch.rows.setdefault(row.id, row)
        if before is not row and self._rank(before) <= self._rank(row):
            self.batch.rows[row.id] = row

    def _rank(self, row: StagedRow) -> Rank:
        origin = self.batch.origins[row.origin - 1]
        return Rank(origin.sync_seq, row.job_seq, origin.said_at)

    def _sending_of(self, event: BiQueryScraped, said_at: datetime) -> Sending:
        source, said_in_utc = self._source_of(event), in_utc(said_at)
        key = (event.environment, event.resource_type, said_in_utc)
        place = source.origins.get(key)
        if place is None:
            sync_seq = NO_SYNC if source.sync_seq is None else source.sync_seq
            self.batch.origins.append(Origin(source.tenant, source.connector, *key[:2], sync_seq, said_in_utc))
            place = source.origins[key] = len(self.batch.origins)
        return Sending(event, said_at, source, place)

    def _source_of(self, event: BiQueryScraped) -> Source:
        job = event.job_id if event.job_seq is not None else None
        tenant, connector, sync_seq = event.tenant, event.connector.id, event.sync_seq
        key = (tenant.int, connector.int, None if job is None else job.int, sync_seq)
        source = self.batch.sources.get(key)
        if source is None:
            tenant, connector, numbers = fast_uuid(tenant), fast_uuid(connector), None
            if job is not None and sync_seq is not None:
                numbers = self.batch.numbers.setdefault(LedgerKey(tenant, connector, job, sync_seq), Numbers())
            source = Source(tenant, connector, sync_seq, ResourceIds(tenant, connector), numbers)
            self.batch.sources[key] = source
        return source

    def _place_of(self, pattern: Pattern) -> int:
        known = self.batch.places.get(id(pattern))
        if known is None:
            key = (pattern.row.tenant_id, pattern.row.id)
            self.batch.pattern_keys.append(key)
            known = self.batch.places[id(pattern)] = (pattern, len(self.batch.pattern_keys))
            other = self.batch.patterns.setdefault(key, pattern)
            if other is not pattern and not pattern.columns <= other.columns:
                self.batch.patterns[key] = other.with_columns(pattern.columns)
        return known[1]


def _same_sending(sending: Sending, event: BiQueryScraped, said_at: datetime) -> bool:
    """Whether a record surely has the origin of another one. It may have where this is false."""
    first = sending.event
    return (
        event.connector is first.connector
        and event.job_id is first.job_id
        and event.tenant is first.tenant
        and said_at is sending.said_at
        and event.sync_seq == first.sync_seq
        and event.resource_type == first.resource_type
        and event.environment == first.environment
        and (event.job_seq is None) is (first.job_seq is None)
    )


def _same_words(one: BiQueryScraped, other: BiQueryScraped) -> bool:
    """Whether two records with the same text surely have one pattern. They may have where this is false."""
    return (
        one.tables is other.tables
        and one.columns is other.columns
        and one.dialect == other.dialect
        and one.sql_truncated == other.sql_truncated
    )


def _row(event: BiQueryScraped, sending: Sending, pattern: int, moment: datetime | None) -> StagedRow:
    resource_id, title, by, dashboard = event.resource_id, event.title, event.executed_by, event.dashboard_id
    dashboard_title, url = event.dashboard_title, event.dashboard_url
    # Derived, not taken from the event: nobody overwrites another connector's row by naming its id.
    row_id = sending.source.ids(event.resource_type, resource_id)
    if not resource_id.isascii() or "\0" in resource_id:
        resource_id = storable(resource_id) or ""
    values = (
        sending.origin,
        pattern,
        row_id,
        resource_id,
        by and storable(by),
        moment,
        event.execution_count,
        event.job_seq or 0,
        title and storable(title),
        dashboard and storable(dashboard),
        dashboard_title and storable(dashboard_title),
        url and storable(url),
        # Only references are counted by charts.
        chart_key(event.resource_type, resource_id, dashboard) if moment is None else None,
    )
    return tuple.__new__(StagedRow, values)  # a third of what the class's own constructor takes
