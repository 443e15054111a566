"""From records to rows: one per resource, ids derived, and what the ledgers are told."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from libs.common.events import BiQueryRecord, BiQueryScraped, SyncCompleted
from libs.common.ids import ResourceIds, fast_uuid, named_uuid
from services.aggregator.domain import NO_SYNC, Rank, chart_key, counted_moment, in_utc, storable
from services.aggregator.patterns import Patterns, Said
from services.aggregator.rows import (
    DETAILS,
    Batch,
    Closing,
    LedgerKey,
    Numbers,
    Origin,
    Pattern,
    Source,
    StagedRow,
)

_NONE: Final[Mapping[int, Pattern]] = {}
_NO_DETAILS: Final = (None,) * (len(StagedRow._fields) - DETAILS)


@dataclass(frozen=True, slots=True)
class Sending:
    """A record, and what those that were sent with it have in common: source, place of the origin, what was said,
    how names of ids begin.
    """

    event: BiQueryScraped
    said_at: datetime
    source: Source
    origin: int
    said: Said
    name: bytes


def prepare(
    events: Sequence[BiQueryRecord], said_at: Sequence[datetime], now: datetime, patterns: Patterns | None = None
) -> Batch:
    """One row per resource (the newest record of the batch), its pattern, and what the ledgers are told.

    `said_at`: of each record (its envelope's time, else the message's).
    """
    adding = Adding(events, said_at, now, patterns or Patterns())
    found = enumerate(adding.patterns.find(events))
    adding.add(0, len(events), {place: pattern for place, pattern in found if pattern is not None})
    return adding.batch


class Adding:
    """Adds records to a batch, in order. What the record before said is mostly said again, by the very same objects."""

    def __init__(
        self, events: Sequence[BiQueryRecord], said_at: Sequence[datetime], now: datetime, patterns: Patterns
    ) -> None:
        self.batch = Batch()
        self.patterns = patterns
        self.events = events
        self._said_at = said_at
        self._now = now
        self._sending: Sending | None = None

    def add(self, start: int, stop: int, found: Mapping[int, Pattern] = _NONE) -> int:
        """Add those from `start` on; the place behind the last: before `stop` where a pattern is neither remembered nor
        among those found (by place).
        """
        sending, now = self._sending, self._now
        for place in range(start, stop):
            event, said_at = self.events[place], self._said_at[place]
            if not isinstance(event, BiQueryScraped):
                self._close(event)
                continue
            if sending is None or not _same_sending(sending, event, said_at):
                sending = self._sending = self._sending_of(event, said_at)
            moment = event.executed_at
            if moment is not None and (moment.tzinfo is not UTC or moment > now):
                moment = counted_moment(in_utc(moment), now)
                if moment is None:
                    self._refuse(event, sending.source)
                    continue
            words = sending.said.get(event.sql_text)
            if words is not None and words.are_of(event):
                pattern = words.pattern
            else:
                known = found.get(place) or self.patterns.look_up(event)
                if known is None:
                    return place
                pattern = known
                self.patterns.note(sending.said, event, pattern)
            self._add(event, sending, pattern, moment)
        return stop

    def unknown(self, start: int) -> list[list[int]]:
        """Places from `start` on of records that say what no other one said; of those that say the same, together."""
        places: dict[tuple[object, ...], list[int]] = defaultdict(list)
        sending = self._sending
        for place in range(start, len(self.events)):
            event = self.events[place]
            if not isinstance(event, BiQueryScraped):
                continue
            if sending is not None and event.connector is sending.event.connector:
                words = sending.said.get(event.sql_text)
                if words is not None and words.are_of(event):
                    continue
            said = (id(event.connector), event.sql_text, id(event.tables), id(event.columns), event.dialect)
            places[*said, event.sql_truncated].append(place)
        groups = list(places.values())
        return [groups[at] for at in self.patterns.known([self.events[group[0]] for group in groups])[1]]

    def _close(self, event: SyncCompleted) -> None:
        key = LedgerKey(event.tenant, event.connector.id, event.job_id, event.sync_seq)
        self.batch.closings.append(Closing(key, event.count, event.complete))

    def _refuse(self, event: BiQueryScraped, source: Source) -> None:
        self.batch.refused += 1
        if source.numbers is not None and event.job_seq is not None:
            source.numbers.rejected.add(event.job_seq)

    def _add(self, event: BiQueryScraped, sending: Sending, pattern: Pattern, moment: datetime | None) -> None:
        batch, number, numbers = self.batch, event.job_seq, sending.source.numbers
        if number is not None and numbers is not None:
            numbers.stored.add(number)
        place = batch.places.get(id(pattern))
        resource_id, by = event.resource_id, event.executed_by
        # Derived, not taken from the event: nobody overwrites another connector's row by naming its id.
        row_id = named_uuid(sending.name + resource_id.encode())
        if not resource_id.isascii() or "\0" in resource_id:
            resource_id = storable(resource_id) or ""
        own = (
            sending.origin,
            self._place_of(pattern) if place is None else place[1],
            row_id,
            resource_id,
            by and storable(by),
            moment,
            event.execution_count,
            number or 0,
        )
        # A third of what the class's own constructor takes.
        row = tuple.__new__(StagedRow, own + self._details(event, resource_id, moment))
        before = batch.rows.setdefault(row_id, row)
        if before is not row and self._rank(before) <= self._rank(row):
            batch.rows[row_id] = row

    def _details(self, event: BiQueryScraped, resource_id: str, moment: datetime | None) -> tuple[object, ...]:
        """What most executions lack."""
        title, dashboard = event.title, event.dashboard_id
        dashboard_title, url = event.dashboard_title, event.dashboard_url
        if moment is not None and title is None and dashboard is None and dashboard_title is None and url is None:
            return _NO_DETAILS
        self.batch.has_details = True
        chart = None
        if moment is None:
            # Only references are counted by charts.
            self.batch.has_references = True
            chart = chart_key(event.resource_type, resource_id, dashboard)
        return storable(title), storable(dashboard), storable(dashboard_title), storable(url), chart

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
        said = self.patterns.said(source.tenant, source.connector)
        return Sending(event, said_at, source, place, said, source.ids.start(event.resource_type))

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
        key, batch = (pattern.row.tenant_id, pattern.row.id), self.batch
        batch.pattern_tenants.append(key[0])
        batch.pattern_ids.append(key[1])
        other = batch.patterns.setdefault(key, pattern)
        if other is not pattern and not pattern.columns <= other.columns:
            batch.patterns[key] = other.with_columns(pattern.columns)
        batch.places[id(pattern)] = (pattern, len(batch.pattern_ids))
        return len(batch.pattern_ids)


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
