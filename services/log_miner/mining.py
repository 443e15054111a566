"""One run of a mining job: read a batch, store it with the place behind it, send it, note that it was sent.

A batch is read while the one before it is analysed, another one stored and another one sent; that it was sent is noted
where the next one is stored. A run may be killed anywhere: what was stored and not noted as sent is sent again under
the same numbers.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from libs.common.collecting.erasing import without_erased
from libs.common.collecting.job import joined_warnings, read_since
from libs.common.collecting.run import JobAborted, Reading, Run, Runs
from libs.common.collecting.sending import Traced
from libs.common.connector_copy import Connector, find_connector
from libs.common.connectors import AnySettings
from libs.common.erasure import ErasedNames
from libs.common.events import BiQueryScraped
from libs.common.jobs import JobRef
from libs.common.sealed import CannotOpen, KeyRing
from libs.common.telemetry import current_traceparent
from services.log_miner.ahead import OneBehind, one_ahead
from services.log_miner.domain import MiningJob, Recorder, Source
from services.log_miner.metrics import MiningMetrics
from services.log_miner.packing import pack
from services.log_miner.sending import Sender
from services.log_miner.store import PLACES, unsent
from services.log_miner.store.unsent import UnsentBatch
from services.log_miner.warehouses import WAREHOUSES, Batch, OpenWarehouse, Resolve, WarehouseError

Prepared = tuple[Batch, list[BiQueryScraped]]


@dataclass(frozen=True, slots=True)
class Mining:
    """What runs of mining jobs need."""

    runs: Runs[MiningJob]
    sender: Sender
    keys: KeyRing
    resolve: Resolve
    metrics: MiningMetrics
    erased: ErasedNames

    async def run(self, ref: JobRef) -> None:
        """Carry a job on from where it stands. Raises RetryLater for what may pass by itself."""
        await self.runs.begin(ref, "mine connector", lambda job: _Run(self, job))


class _Run(Run[MiningJob]):
    def __init__(self, mining: Mining, job: MiningJob) -> None:
        super().__init__(mining.runs, job)
        self._mining = mining
        self._connected = False
        self._acknowledged = job.rows_sent

    async def read(self) -> Reading:
        """Read to the log's end, or until somebody asks to stop."""
        left = await self._mining.sender.left_over(self.job)
        if left:
            await self._send(left)
            await self._note_sent()
        finished = not self.job.cancel_requested and await self._read_log()
        return Reading(finished, complete=finished)

    async def _read_log(self) -> bool:
        connector, settings = await self._connector()
        since = await self._since(settings)
        try:
            async with WAREHOUSES[connector.type](settings, self._mining.resolve).open() as log:
                self._connected = True
                source = Source(connector.reference, connector.environment, log.dialect, log.defaults)
                return await self._read(log, source, since)
        except WarehouseError as error:
            raise JobAborted(error.cause, error.detail, passing=error.passing and self._connected) from None

    async def _read(self, log: OpenWarehouse, source: Source, since: datetime) -> bool:
        async with self.runs.database.work() as connection:
            cursor = await PLACES.cursor(connection, self.job.tenant, self.job.connector_id)
        ahead = one_ahead(self._prepared(log.batches(cursor, since), source))
        async with aclosing(ahead) as prepared, OneBehind() as sending:
            finished = await self._go_through(prepared, sending)
            await sending.done()
        if self._acknowledged > self.job.rows_sent:
            await self._note_sent()
        return finished

    async def _go_through(self, prepared: AsyncIterator[Prepared], sending: OneBehind) -> bool:
        async for batch, records in prepared:
            stored, trace_here = await self._store(batch, records), current_traceparent()
            if stored:
                await sending.begin(self._send([(record, trace_here) for record in stored]))
            self._mining.metrics.lines.inc(batch.lines_read)
            if self.job.cancel_requested:
                return False
        return True

    async def _prepared(self, batches: AsyncGenerator[Batch, None], source: Source) -> AsyncGenerator[Prepared, None]:
        """Each batch with its records, numbered on from where the job stands; the next one is read meanwhile."""
        recorder = Recorder(self.job, source, self.job.next_job_seq)
        async with aclosing(one_ahead(batches)) as ahead:
            async for batch in ahead:
                # The analysis is long work of the processor; heartbeats and health go on beside it.
                yield batch, await asyncio.to_thread(recorder.records, batch.executions)

    async def _store(self, batch: Batch, records: list[BiQueryScraped]) -> list[BiQueryScraped]:
        """Records, cursor and counts in one transaction; the records as they were stored."""
        job, sent, trace_here = self.job, self._acknowledged, current_traceparent()
        async with self.runs.database.work() as connection:
            await self.record(
                connection,
                rows_sent=sent,
                next_job_seq=job.next_job_seq + len(records),
                lines_read=job.lines_read + batch.lines_read,
                percentage=round(batch.progress * 100, 1),
                warnings=list(joined_warnings(job.warnings, batch.warnings)),
                attempts=0,
            )
            await PLACES.move(connection, job.tenant, job.connector_id, batch.cursor)
            records = await without_erased(connection, self._mining.erased, records)
            if records:
                batch_unsent = UnsentBatch(job.id, job.next_job_seq, pack(records), trace_here)
                await unsent.insert(connection, job.tenant, batch_unsent)
            if sent > job.rows_sent:
                await unsent.delete(connection, job.tenant, job.id, sent)
        return records

    async def _send(self, records: Sequence[Traced]) -> None:
        await self._mining.sender.send(self.job, records)
        self._acknowledged = records[-1][0].job_seq or 0
        self._mining.metrics.rows.inc(len(records))

    async def _note_sent(self) -> None:
        """All that was stored is sent."""
        async with self.runs.database.work() as connection:
            await self.record(connection, rows_sent=self._acknowledged)
            await self._mining.sender.forget(connection, self.job)

    async def _connector(self) -> tuple[Connector, AnySettings]:
        async with self.runs.database.work() as connection:
            connector = await find_connector(connection, self.job.tenant, self.job.connector_id)
        if connector is None or connector.deleted:
            raise JobAborted("connector_deleted", "The connector was deleted.")
        if connector.type not in WAREHOUSES:
            raise JobAborted("not_a_warehouse", f"Connectors of type {connector.type} have no query log here.")
        try:
            return connector, connector.open_settings(self._mining.keys)
        except (CannotOpen, ValueError):
            text = "The connector's settings cannot be opened; save them again."
            raise JobAborted("settings_unreadable", text) from None

    async def _since(self, settings: AnySettings) -> datetime:
        """From when on this connector's log counts, fixed by its first mining."""
        first = read_since(self.job.created_at, settings.lookback_days)
        async with self.runs.database.work() as connection:
            return await PLACES.origin(connection, self.job.tenant, self.job.connector_id, first)
