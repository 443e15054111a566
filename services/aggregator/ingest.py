"""Use cases of the consumers: take a batch of records, close ledgers, follow connectors."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog

from libs.common.clock import Clock
from libs.common.db import Connection, Database
from libs.common.erasure import ErasedNames
from libs.common.events import BiQueryRecord, BiQueryStored, ConnectorChanged, UsageRecompute
from libs.common.outbox import enqueue
from libs.common.topics import BI_QUERY_STORED
from services.aggregator.metrics import UsageMetrics
from services.aggregator.patterns import Patterns
from services.aggregator.prepare import Adding
from services.aggregator.rows import Batch, ConnectorKey, LedgerKey, Numbers, Pattern
from services.aggregator.store import connectors, counters, dirt, ingest, ledger, locks, records
from services.aggregator.store.ingest import StoredPatterns, Versions

Doubt = Literal["empty", "rejected"]

# Some milliseconds of work, after which other tasks of the process get their turn.
_SLICE: Final = 500

_log = structlog.get_logger()


class Ingest:
    """Each call is one transaction and may run twice."""

    def __init__(
        self, database: Database, clock: Clock, metrics: UsageMetrics, deadline: timedelta, erased: ErasedNames
    ) -> None:
        """`deadline`: time from a closing record's arrival after which its job ends as partial."""
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._deadline = deadline
        self._erased = erased
        self._patterns = Patterns()
        self._stored = StoredPatterns()
        # Connectors whose records were stored already when they came last.
        self._repeating: set[ConnectorKey] = set()

    async def ingest(self, events: Sequence[BiQueryRecord], said_at: Sequence[datetime]) -> None:
        """Store a batch: rows, ledgers, closings, marks on the products touched. `said_at`: when each record was."""
        now = self._clock()
        batch = await self._prepare(Adding(events, said_at, now, self._patterns), len(events))
        connectors = batch.connectors()
        fresh = not batch.has_references and self._repeating.isdisjoint(connectors)
        try:
            await self._store(batch, now, fresh=fresh)
        except records.AlreadyStored:
            # Of what comes again, more is to come.
            self._repeating |= connectors
            await self._store(batch, now, fresh=False)
        self._metrics.refused.inc(batch.refused)
        self._metrics.stored.inc(len(batch.rows))

    async def _store(self, batch: Batch, now: datetime, *, fresh: bool) -> None:
        """`fresh`: take for granted that nothing of the batch is stored yet; raises AlreadyStored where it is."""
        tenants = {key.tenant_id for key in batch.connectors()}
        async with self._database.work() as connection:
            await self._begin(connection, batch.connectors())
            await self._rename(connection, batch)
            versions, lacked = await self._store_patterns(connection, batch)
            inserted = await self._store_records(connection, batch, fresh=fresh)
            await self._settle(connection, batch)
            await counters.apply(connection, now, tenants, batch if inserted else None, mapping=lacked)
        self._stored.note(batch.patterns, versions)
        if inserted and not fresh:
            self._repeating -= batch.connectors()

    async def _rename(self, connection: Connection, batch: Batch) -> None:
        touched = await self._erased.among(connection, {origin.tenant_id for origin in batch.origins})
        if people := batch.people(touched):
            batch.rename(await self._erased.pseudonyms(connection, people))

    async def _prepare(self, adding: Adding, count: int) -> Batch:
        place, found = 0, dict[int, Pattern]()
        while place < count:
            stop = min(place + _SLICE, count)
            place = adding.add(place, stop, found)
            if place < stop:
                found = await self._found(adding, adding.unknown(place))
            await asyncio.sleep(0)
        return adding.batch

    async def _found(self, adding: Adding, unknown: Sequence[Sequence[int]]) -> dict[int, Pattern]:
        """Patterns that take a while to be found, by place."""
        patterns = await asyncio.to_thread(self._patterns.find, [adding.events[places[0]] for places in unknown])
        found = zip(unknown, patterns, strict=True)
        return {place: pattern for places, pattern in found if pattern is not None for place in places}

    async def _begin(self, connection: Connection, keys: Iterable[ConnectorKey]) -> None:
        await ingest.open_staging(connection)
        keys = set(keys)
        await locks.share_tenants(connection, {key.tenant_id for key in keys})
        await locks.hold_connectors(connection, keys)

    async def _store_patterns(self, connection: Connection, batch: Batch) -> tuple[Versions, bool]:
        """The versions of the batch's patterns, which hold once the transaction is committed; whether any is staged."""
        versions = await ingest.versions(connection, batch.patterns)
        if lacking := self._stored.lacking(batch.patterns, versions):
            await ingest.stage_patterns(connection, lacking.values())
            await ingest.insert_patterns(connection, self._clock())
            await ingest.insert_pattern_tables(connection)
            await ingest.insert_pattern_table_keys(connection)
            await ingest.insert_pattern_columns(connection)
            versions |= await ingest.versions(connection, lacking)
        return versions, bool(lacking)

    async def _store_records(self, connection: Connection, batch: Batch, *, fresh: bool) -> bool:
        """Whether executions were inserted whose changes are not staged yet."""
        if not batch.rows:
            return False
        now = self._clock()
        await ingest.stage_rows(connection, batch)
        if fresh and await records.insert_fresh(connection, batch, now):
            return True
        await ingest.spread_rows(connection, batch)
        known = await records.known(connection)
        if known.moved:
            await records.drop_outdated(connection)
            await records.remove_moved(connection)
        inserting = not (known.moved or known.executed)
        if inserting:
            await records.insert_executions(connection, now)
        else:
            await records.upsert_executions(connection, now)
        if batch.has_references:
            await records.upsert_references(connection, now)
        return inserting

    async def _settle(self, connection: Connection, batch: Batch) -> None:
        await ledger.add_numbers(connection, batch.numbers)
        answered = {closing.key for closing in batch.closings}
        for closing in sorted(batch.closings, key=lambda each: each.key):
            await ledger.note_closing(connection, closing, self._clock())
        for key in batch.ledgers():
            await self._close_if_complete(connection, key, asked=key in answered)

    async def _close_if_complete(self, connection: Connection, key: LedgerKey, *, asked: bool) -> None:
        """Close by count. A job that asks again after its ledger was closed gets the same answer again."""
        outcome = await ledger.close_complete(connection, key, self._clock())
        if outcome is not None:
            retired, kept = await self._retire(connection, outcome) if outcome.complete else (0, None)
            await self._announce(connection, outcome, retired, kept)
        elif asked and (outcome := await ledger.closed(connection, key)):
            await self._announce(connection, outcome, outcome.retired)

    async def _retire(self, connection: Connection, outcome: ledger.Outcome) -> tuple[int, Doubt | None]:
        """Retire what a complete sync no longer saw; their number, or why older references were kept.

        A sync that may not have been heard in full, or that holds no reference itself, retires nothing.
        """
        key, now = outcome.key, self._clock()
        if outcome.rejected or not await ledger.holds_references(connection, key):
            if not await ledger.has_older_references(connection, key):
                return 0, None
            doubt: Doubt = "rejected" if outcome.rejected else "empty"
            _log.warning("references not retired", reason=doubt, connector=str(key.connector_id), job=str(key.job_id))
            self._metrics.retirements_skipped.inc()
            return 0, doubt
        await ledger.raise_complete_sync(connection, key)
        gone = await records.retire_unseen(connection, key, now)
        await records.confirm_references(connection, key, now)
        await ledger.note_retired(connection, key, gone)
        return gone, None

    async def _announce(
        self, connection: Connection, outcome: ledger.Outcome, retired: int, kept: Doubt | None = None
    ) -> None:
        key = outcome.key
        event = BiQueryStored(
            tenant=key.tenant_id,
            connector_id=key.connector_id,
            job_id=key.job_id,
            sync_seq=key.sync_seq,
            state="completed" if outcome.state == "completed" else "partial",
            received=outcome.stored + outcome.rejected,
            upserted=outcome.stored,
            rejected=outcome.rejected,
            retired=retired,
            not_retired=kept,
        )
        await enqueue(connection, BI_QUERY_STORED, event, key=str(key.job_id), at=self._clock())

    async def reject(self, key: LedgerKey, job_seq: int) -> None:
        """A record of a job went to the dead letters: it will not come, the job need not wait for it."""
        async with self._database.work() as connection:
            await self._begin(connection, [ConnectorKey(key.tenant_id, key.connector_id)])
            await ledger.add_numbers(connection, {key: Numbers(rejected={job_seq})})
            await self._close_if_complete(connection, key, asked=False)
            await counters.apply(connection, self._clock(), [key.tenant_id])

    async def close_overdue(self) -> int:
        """Close as partial what waits too long for records that do not come; number of jobs closed."""
        async with self._database.work() as connection:
            keys = await ledger.overdue(connection, self._clock() - self._deadline)
        closed = 0
        for key in keys:
            async with self._database.work() as connection:
                await self._begin(connection, [ConnectorKey(key.tenant_id, key.connector_id)])
                now = self._clock()
                outcome = await ledger.close_overdue(connection, key, now, now - self._deadline)
                if outcome is not None:
                    await self._announce(connection, outcome, 0)
                    closed += 1
        return closed

    async def follow_connectors(self, events: Sequence[ConnectorChanged]) -> None:
        """Keep the copies; a deleted connector's references are retired, its history stays."""
        for event in events:
            # A transaction each: marks of several connectors in one would be written in no order.
            async with self._database.work() as connection:
                await self._begin(connection, [ConnectorKey(event.tenant, event.id)])
                switched = await connectors.upsert_connector(connection, event)
                if switched is not None:
                    await self._apply(connection, event, switched)

    async def _apply(self, connection: Connection, event: ConnectorChanged, switched: bool) -> None:
        now = self._clock()
        if event.deleted:
            await records.retire_connector(connection, event.tenant, event.id, now)
        await counters.apply_connector(connection, event.tenant, event.id, now, switched=switched)

    async def mark(self, events: Sequence[UsageRecompute]) -> None:
        """Mark what somebody wants refreshed."""
        now = self._clock()
        for tenant, space, connector in sorted(
            {(each.tenant, each.space_id, each.connector_id) for each in events}, key=str
        ):
            async with self._database.work() as connection:
                await locks.share_tenants(connection, [tenant])
                if space is not None:
                    await dirt.mark_space(connection, tenant, space, now)
                elif connector is not None:
                    await dirt.mark_connector(connection, tenant, connector, now)
