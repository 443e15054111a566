"""One run of a sync: read a batch, send it, note it with the place behind it.

A run may be killed anywhere. The next one reads all references again under a higher `sync_seq`; executions go on
behind what was noted, and those sent but not noted come again under the same ids.
"""

import asyncio
from dataclasses import dataclass

from libs.common.collecting.erasing import without_erased
from libs.common.collecting.job import read_since
from libs.common.collecting.run import JobAborted, Reading, Run, Runs, Superseded
from libs.common.collecting.sending import RecordSender
from libs.common.connector_copy import Connector, find_connector
from libs.common.connectors import AnySettings
from libs.common.erasure import ErasedNames
from libs.common.events import BiQueryScraped
from libs.common.jobs import JobRef
from libs.common.sealed import CannotOpen, KeyRing
from libs.common.telemetry import current_traceparent
from services.scraper import store
from services.scraper.domain import SyncJob, fitted, warned
from services.scraper.metrics import SyncMetrics
from services.scraper.records import Origin, bi_queries
from services.scraper.store import PLACES
from services.scraper.tools import TOOLS, Batch, OpenTool, Resolve, ToolError


@dataclass(frozen=True, slots=True)
class Scraping:
    """What runs of syncs need."""

    runs: Runs[SyncJob]
    sender: RecordSender
    keys: KeyRing
    resolve: Resolve
    metrics: SyncMetrics
    erased: ErasedNames

    async def run(self, ref: JobRef) -> None:
        """Carry a sync on. Raises RetryLater for what may pass by itself."""
        await self.runs.begin(ref, "sync connector", lambda job: _Run(self, job))


class _Run(Run[SyncJob]):
    def __init__(self, scraping: Scraping, job: SyncJob) -> None:
        super().__init__(scraping.runs, job)
        self._scraping = scraping
        self._complete = True
        self._connected = False

    async def read(self) -> Reading:
        """Read the tool to its end, or until somebody asks to stop."""
        if self.job.cancel_requested:
            return Reading(finished=False, complete=False)
        if self.job.run > 1:
            await self._begin_again()
        connector, settings = await self._connector()
        origin = self._origin(connector)
        try:
            async with TOOLS[connector.type](settings, self._scraping.resolve).open() as opened:
                self._connected = True
                finished = await self._read(opened, origin, settings)
        except ToolError as error:
            raise JobAborted(error.cause, error.detail, passing=error.passing and self._connected) from None
        return Reading(finished, finished and self._complete)

    async def _begin_again(self) -> None:
        async with self.runs.database.work() as connection:
            job = await store.begin_again(connection, self.job)
        if job is None:
            raise Superseded
        self.job = job

    def _origin(self, connector: Connector) -> Origin:
        return Origin(self.job.tenant, connector.environment, connector.reference, self.job.id, self.job.sync_seq)

    async def _read(self, tool: OpenTool, origin: Origin, settings: AnySettings) -> bool:
        tenant, connector = self.job.tenant, self.job.connector_id
        first = read_since(self.job.created_at, settings.lookback_days)
        async with self.runs.database.work() as connection:
            since = await PLACES.origin(connection, tenant, connector, first)
            cursor = await PLACES.cursor(connection, tenant, connector)
        async for batch in tool.batches(cursor, since, self.runs.clock()):
            self._complete = self._complete and batch.complete
            # The analysis is long work of the processor; heartbeats and health go on beside it.
            records, warnings = await asyncio.to_thread(_records, batch, origin, self.job.next_job_seq)
            await self._send(records)
            await self._note(batch, len(records), warnings)
            if self.job.cancel_requested:
                return False
        return True

    async def _send(self, records: list[BiQueryScraped]) -> None:
        if records:
            async with self.runs.database.work() as connection:
                records = await without_erased(connection, self._scraping.erased, records)
            trace_here = current_traceparent()
            await self._scraping.sender.send(self.job, [(record, trace_here) for record in records])

    async def _note(self, batch: Batch, sent: int, warnings: list[str]) -> None:
        """Counts and cursor in one transaction, behind the acknowledgement of what they stand for."""
        job = warned(self.job, (*batch.warnings, *warnings))
        async with self.runs.database.work() as connection:
            await self.record(
                connection,
                next_job_seq=job.next_job_seq + sent,
                resources_scraped=job.resources_scraped + len(batch.items),
                percentage=round(batch.progress * 100, 1),
                activity=batch.phase,
                warnings=list(job.warnings),
                warning_count=job.warning_count,
            )
            await PLACES.move(connection, job.tenant, job.connector_id, batch.cursor)
        self._scraping.metrics.resources.inc(len(batch.items))
        self._scraping.metrics.rows.inc(sent)
        self._scraping.metrics.warnings.inc(len(batch.warnings) + len(warnings))

    async def _connector(self) -> tuple[Connector, AnySettings]:
        async with self.runs.database.work() as connection:
            connector = await find_connector(connection, self.job.tenant, self.job.connector_id)
        if connector is None or connector.deleted:
            raise JobAborted("connector_deleted", "The connector was deleted.")
        if connector.type not in TOOLS:
            raise JobAborted("not_a_bi_tool", f"Connectors of type {connector.type} cannot be synced here.")
        try:
            return connector, connector.open_settings(self._scraping.keys)
        except (CannotOpen, ValueError):
            text = "The connector's settings cannot be opened; save them again."
            raise JobAborted("settings_unreadable", text) from None


def _records(batch: Batch, origin: Origin, first_seq: int) -> tuple[list[BiQueryScraped], list[str]]:
    fitting = [fitted(record) for record in bi_queries(batch.items, origin, first_seq)]
    return [record for record, _ in fitting], [warning for _, warning in fitting if warning]
