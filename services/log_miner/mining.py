"""One run of a mining job: read a batch, store it with the place behind it, send it, note that it was sent.

A run may be killed anywhere: what was stored and not noted as sent is sent again under the same numbers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from opentelemetry import trace

from libs.common.clock import Clock
from libs.common.connector_copy import Connector, find_connector
from libs.common.connectors import PostgresSettings
from libs.common.db import Database
from libs.common.events import BiQueryScraped
from libs.common.failures import describe, is_transient
from libs.common.jobs import MAX_ATTEMPTS, JobRef, RetryLater
from libs.common.schedules import Schedules
from libs.common.sealed import CannotOpen, KeyRing
from libs.common.telemetry import context_of, current_traceparent
from services.log_miner import store
from services.log_miner.domain import MiningJob, Source, State, bi_queries, joined_warnings, read_since
from services.log_miner.metrics import MiningMetrics
from services.log_miner.sending import Sender, Traced
from services.log_miner.store import UnsentRecord
from services.log_miner.warehouses import WAREHOUSES, Batch, OpenWarehouse, Resolve, WarehouseError

_RETRY_DELAY = timedelta(seconds=5)
_tracer = trace.get_tracer("tidemark.log_miner")
_log = structlog.get_logger()


class Superseded(Exception):
    """Another run of the job has begun, or the job is over: this one must write nothing more."""


class JobAborted(Exception):
    """The job cannot go on. `code` is stable; the text is shown to clients and holds no secret."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Mining:
    """What runs of jobs need."""

    database: Database
    sender: Sender
    keys: KeyRing
    resolve: Resolve
    clock: Clock
    metrics: MiningMetrics
    send_closings: Callable[[], Awaitable[None]]
    schedules: Schedules

    async def run(self, ref: JobRef) -> None:
        """Carry a job on from where it stands. Raises RetryLater for what may pass by itself."""
        async with self.database.work() as connection:
            job = await store.claim_job(connection, ref, self.clock())
        if job is None:
            return
        self.metrics.runs.inc()
        with (
            structlog.contextvars.bound_contextvars(job_id=str(job.id), tenant=str(job.tenant), run=job.run),
            _tracer.start_as_current_span("mine connector", context=context_of(job.traceparent)),
        ):
            await self._run(job)

    async def _run(self, job: MiningJob) -> None:
        run = _Run(self, job)
        try:
            if job.attempts > MAX_ATTEMPTS:
                raise JobAborted("given_up", f"{MAX_ATTEMPTS} runs in a row were interrupted without progress.")
            finished = await run.read_all()
            await run.end("running" if finished else "cancelled", complete=finished)
        except Superseded:
            _log.info("run superseded")
        except JobAborted as error:
            await run.abort(error)
        except WarehouseError as error:
            if error.passing and run.connected and job.attempts < MAX_ATTEMPTS:
                raise RetryLater(_RETRY_DELAY) from None
            await run.abort(JobAborted(error.cause, error.detail))
        except Exception as error:
            if is_transient(error):
                _log.warning("run interrupted", error=describe(error))
                raise RetryLater(_RETRY_DELAY) from None
            raise


class _Run:
    """One claimed job. `job` is what this run knows of it; each write checks that the run still holds it."""

    def __init__(self, mining: Mining, job: MiningJob) -> None:
        self._mining = mining
        self._job = job
        self.connected = False

    async def read_all(self) -> bool:
        """Read to the log's end; False where somebody asked to stop."""
        await self._send(await self._mining.sender.left_over(self._job))
        if self._job.cancel_requested:
            return False
        connector, settings = await self._connector()
        since = await self._since(settings)
        warehouse = WAREHOUSES[connector.type](settings, self._mining.resolve)
        async with warehouse.open() as log:
            self.connected = True
            source = Source(connector.reference, connector.environment, log.dialect, log.defaults)
            return await self._read(log, source, since)

    async def _read(self, log: OpenWarehouse, source: Source, since: datetime) -> bool:
        async with self._mining.database.work() as connection:
            cursor = await store.cursor_of(connection, self._job.tenant, self._job.connector_id)
        async for batch in log.batches(cursor, since):
            # The analysis is long work of the processor; heartbeats and health go on beside it.
            records = await asyncio.to_thread(bi_queries, batch.executions, self._job, source)
            stop = await self._store(batch, records)
            await self._send([(record, current_traceparent()) for record in records])
            self._mining.metrics.lines.inc(batch.lines_read)
            if stop:
                return False
        return True

    async def _store(self, batch: Batch, records: list[BiQueryScraped]) -> bool:
        """Records, cursor and counts in one transaction; whether somebody asked to stop."""
        job = replace(
            self._job,
            next_job_seq=self._job.next_job_seq + len(records),
            lines_read=self._job.lines_read + batch.lines_read,
            percentage=round(batch.progress * 100, 1),
            warnings=joined_warnings(self._job.warnings, batch.warnings),
            attempts=0,
        )
        trace_here = current_traceparent()
        unsent = [UnsentRecord(record.job_seq or 0, record.model_dump_json(), trace_here) for record in records]
        async with self._mining.database.work() as connection:
            stop = await store.record_progress(connection, job)
            if stop is None:
                raise Superseded
            await store.move_cursor(connection, job, batch.cursor)
            await store.insert_unsent(connection, job, unsent)
        self._job = job
        return stop

    async def _send(self, records: Sequence[Traced]) -> None:
        if not records:
            return
        await self._mining.sender.send(self._job, records)
        self._job = replace(self._job, rows_sent=records[-1][0].job_seq or 0)
        async with self._mining.database.work() as connection:
            if not await store.record_sent(connection, self._job):
                raise Superseded
        self._mining.metrics.rows.inc(len(records))

    async def end(self, state: State, *, complete: bool, error: JobAborted | None = None) -> None:
        """Reading is over. The closing record is due at once; a failed job that sent nothing needs none."""
        now = self._mining.clock()
        due = now if complete or self._job.records else None
        async with self._mining.database.work() as connection:
            ended = await store.end_reading(
                connection,
                self._job,
                state,
                complete=complete,
                due=due,
                now=now,
                error=(error.code, error.text) if error else None,
            )
            if ended and error:
                await self._mining.schedules.job_over(
                    connection, ended.tenant, ended.connector_id, ended.id, failed=True
                )
        if ended is None:
            raise Superseded
        self._mining.metrics.count(ended)
        _log.info("reading over", state=state, lines=ended.lines_read, rows=ended.records)
        await self._mining.send_closings()

    async def abort(self, error: JobAborted) -> None:
        """The job has failed, visibly; what it stored is still sent with its closing record."""
        _log.warning("mining failed", code=error.code, detail=error.text)
        with suppress(Superseded):
            await self.end("failed", complete=False, error=error)

    async def _connector(self) -> tuple[Connector, PostgresSettings]:
        async with self._mining.database.work() as connection:
            connector = await find_connector(connection, self._job.tenant, self._job.connector_id)
        if connector is None or connector.deleted:
            raise JobAborted("connector_deleted", "The connector was deleted.")
        if connector.type not in WAREHOUSES:
            raise JobAborted("not_a_warehouse", f"Connectors of type {connector.type} have no query log here.")
        try:
            return connector, connector.open_settings(self._mining.keys)
        except (CannotOpen, ValueError):
            text = "The connector's settings cannot be opened; save them again."
            raise JobAborted("settings_unreadable", text) from None

    async def _since(self, settings: PostgresSettings) -> datetime:
        """From when on this connector's log counts, fixed by its first mining."""
        tenant, connector = self._job.tenant, self._job.connector_id
        async with self._mining.database.work() as connection:
            await store.fix_origin(
                connection, tenant, connector, read_since(self._job.created_at, settings.lookback_days)
            )
            since = await store.origin_of(connection, tenant, connector)
        return since or self._job.created_at
