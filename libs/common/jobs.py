"""Long jobs on PgQueuer: rows of the service's own schema, leases kept by heartbeats, taken over after kill -9.

The queue holds only which job is to run; what a job means lives in a row of the service. That row counts runs:
each claim raises its `run`, every write of a worker names the run that it belongs to, and `MAX_ATTEMPTS` claims
without progress are a failure. PgQueuer's tables come with a migration made by `ddl`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.adapters.persistence.schema_ddl import render_install
from pgqueuer.core.executors import DatabaseRetryEntrypointExecutor
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import JOB_STATUS, Channel
from pgqueuer.ports.driver import Driver

from libs.common.db import Connection, Pool
from libs.common.failures import RetryPolicy, describe

MAX_ATTEMPTS: Final = 5
# Retries of what failed before the service could count it (its database was away, say).
_QUEUE_RETRIES = 20
_LONGEST_PAUSE = timedelta(minutes=1)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class JobRef:
    """Which job, of which tenant."""

    tenant: UUID
    id: UUID

    def to_payload(self) -> bytes:
        return f"{self.tenant} {self.id}".encode()

    @classmethod
    def of_payload(cls, payload: bytes | None) -> "JobRef":
        """Inverse of `to_payload`. Raises ValueError."""
        tenant, _, job = (payload or b"").decode().partition(" ")
        return cls(UUID(tenant), UUID(job))


JobHandler = Callable[[JobRef], Awaitable[None]]


class RetryLater(Exception):
    """Raised by a handler: run the job again after `delay`, here or elsewhere."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__(f"again in {delay}")
        self.delay = delay


class JobFailed(Exception):
    """A handler's failure as PgQueuer may log it: without values."""


def _settings(service: str) -> DBSettings:
    return DBSettings(db_schema=service, channel=Channel(f"{service}_jobs"))


def ddl(service: str) -> str:
    """PgQueuer's tables for one service, as its migration must hold them."""
    return render_install(_settings(service), create_schema=False)


class _OwnQueries(Queries):
    """Ends or returns a queue row only while this worker holds it: after a take-over it belongs to another one."""

    @classmethod
    def of(cls, driver: Driver, service: str) -> "_OwnQueries":
        settings = _settings(service)
        return cls(
            driver,
            QueryBuilderEnvironment(settings),
            QueryQueueBuilder(settings),
            QuerySchedulerBuilder(settings),
        )

    async def _owned(self, jobs: list[Job]) -> set[int]:
        rows = await self.driver.fetch(
            f"SELECT q.id FROM {self.qbe.qualified.queue_table} q"  # noqa: S608 (a name of our own)
            " JOIN unnest($1::bigint[], $2::uuid[]) held(id, manager) ON q.id = held.id"
            " AND q.queue_manager_id = held.manager",
            [job.id for job in jobs],
            [job.queue_manager_id for job in jobs],
        )
        return {int(str(row["id"])) for row in rows}

    async def log_jobs(self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]) -> None:
        owned = await self._owned([job for job, _, _ in job_status])
        kept = [entry for entry in job_status if entry[0].id in owned]
        if kept:
            await super().log_jobs(kept)

    async def retry_job(self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None) -> None:
        if await self._owned([job]):
            await super().retry_job(job, delay, traceback_record)


async def enqueue(connection: Connection, service: str, kind: str, ref: JobRef) -> None:
    """Queue a job in the connection's transaction; nothing happens where it is queued or running already."""
    queries = _OwnQueries.of(AsyncpgDriver(connection), service)  # type: ignore[arg-type] # a pool's proxy is one too
    await queries.enqueue(kind, ref.to_payload(), dedupe_key=f"{kind} {ref.tenant} {ref.id}", on_conflict="skip")


class Jobs:
    """The worker of one process. A job that is stopped (SIGTERM) goes back to the queue at once."""

    def __init__(
        self, service: str, pool: Pool, *, lease: timedelta = timedelta(seconds=15), concurrency: int = 2
    ) -> None:
        """`lease`: how long a silent worker keeps its job. `concurrency`: jobs at a time, at least 2."""
        self._service = service
        self._pool = pool
        self._lease = lease
        self._concurrency = max(concurrency, 2)
        self._handlers: dict[str, JobHandler] = {}
        self._stopping = asyncio.Event()
        self._manager: QueueManager | None = None
        self._task: asyncio.Task[None] | None = None

    def handle(self, kind: str, handler: JobHandler) -> None:
        """Run jobs of this kind by `handler`, which may run twice for one job, even at the same time."""
        self._handlers[kind] = handler

    def start(self) -> None:
        """Work until stop()."""
        self._task = asyncio.create_task(self._serve())

    async def stop(self, timeout: float = 10.0) -> None:
        """Hand jobs in flight back to the queue and take no more."""
        self._stopping.set()
        if self._manager:
            self._manager.shutdown.set()
        if self._task:
            done, _ = await asyncio.wait([self._task], timeout=timeout)
            if not done:
                self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def forget(self, before: datetime) -> None:
        """Drop what PgQueuer noted of jobs that ended before a moment of real time."""
        table = _settings(self._service).qualified.queue_table_log
        await self._pool.execute(f"DELETE FROM {table} WHERE created < $1", before)  # noqa: S608 (a name of our own)

    def ready(self) -> str | None:
        """None, or why jobs are not worked on."""
        return None if self._task and not self._task.done() else "the job worker is not running"

    async def _serve(self) -> None:
        pauses = RetryPolicy().pauses()
        while not self._stopping.is_set():
            self._manager = self._build()
            try:
                await self._manager.run(
                    batch_size=1,
                    max_concurrent_tasks=self._concurrency,
                    # Also how often stale leases are looked for.
                    dequeue_timeout=min(self._lease / 3, timedelta(seconds=5)),
                    heartbeat_timeout=self._lease,
                    shutdown_on_listener_failure=True,
                )
                pauses = RetryPolicy().pauses()
            except Exception as error:
                _log.warning("job worker failed; trying on", error=describe(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), next(pauses))

    def _build(self) -> QueueManager:
        queries = _OwnQueries.of(AsyncpgPoolDriver(self._pool), self._service)
        manager = QueueManager(queries, queries.qbe.settings.channel)
        for kind, handler in self._handlers.items():
            manager.entrypoint(
                kind,
                accepts_context=False,
                on_failure="hold",
                executor_factory=lambda parameters: DatabaseRetryEntrypointExecutor(
                    parameters, max_attempts=_QUEUE_RETRIES, max_delay=_LONGEST_PAUSE
                ),
            )(self._entrypoint(kind, handler))
        return manager

    def _entrypoint(self, kind: str, handler: JobHandler) -> Callable[[Job], Awaitable[None]]:
        async def run(job: Job) -> None:
            ref = JobRef.of_payload(job.payload)
            work = asyncio.ensure_future(handler(ref))
            stop = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop.cancel()
                work.cancel()
                await asyncio.wait({work})
            if work.cancelled():
                raise RetryRequested(timedelta(0), "the worker stops")
            _raise_outcome(kind, ref, work.exception())

        return run


def _raise_outcome(kind: str, ref: JobRef, error: BaseException | None) -> None:
    if isinstance(error, RetryLater):
        raise RetryRequested(error.delay, "the job asked for it")
    if error is not None:
        _log.error("job failed", kind=kind, job=str(ref.id), error=describe(error))
        raise JobFailed(describe(error))
