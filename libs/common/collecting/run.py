"""One run of a collecting job: what every run does around its reading.

A run may be killed anywhere; the queue gives its job to another one. Each write names the run (`JobTable.record`).
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic

import structlog
from opentelemetry import trace

from libs.common.clock import Clock
from libs.common.collecting.job import State
from libs.common.collecting.metrics import JobMetrics
from libs.common.collecting.table import J, JobTable
from libs.common.db import Connection, Database
from libs.common.failures import describe, is_transient
from libs.common.jobs import MAX_ATTEMPTS, JobRef, RetryLater
from libs.common.schedules import Schedules
from libs.common.telemetry import context_of

_RETRY_DELAY = timedelta(seconds=5)
_tracer = trace.get_tracer("tidemark.collecting")
_log = structlog.get_logger()


class Superseded(Exception):
    """Another run of the job has begun, or the job is over: this one must write nothing more."""


class JobAborted(Exception):
    """The job cannot go on. `code` is stable; the text is shown to clients and holds no secret."""

    def __init__(self, code: str, text: str, *, passing: bool = False) -> None:
        """`passing`: the next run may do better."""
        super().__init__(text)
        self.code = code
        self.text = text
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Reading:
    """How reading ended: to its end or stopped by somebody, and whether everything was seen."""

    finished: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class Runs(Generic[J]):
    """What runs of one service need."""

    database: Database
    table: JobTable[J]
    clock: Clock
    metrics: JobMetrics
    send_closings: Callable[[], Awaitable[None]]
    schedules: Schedules

    async def begin(self, ref: JobRef, span: str, run_of: Callable[[J], "Run[J]"]) -> None:
        """Claim a job and carry it on. Raises RetryLater for what may pass by itself."""
        async with self.database.work() as connection:
            job = await self.table.claim(connection, ref, self.clock())
        if job is None:
            return
        self.metrics.runs.inc()
        with (
            structlog.contextvars.bound_contextvars(job_id=str(job.id), tenant=str(job.tenant), run=job.run),
            _tracer.start_as_current_span(span, context=context_of(job.traceparent)),
        ):
            await run_of(job).carry_on()


class Run(ABC, Generic[J]):
    """One claimed job. `job` is what this run knows of it."""

    def __init__(self, runs: Runs[J], job: J) -> None:
        self.runs = runs
        self.job = job

    @abstractmethod
    async def read(self) -> Reading:
        """Read and send. Raises JobAborted, Superseded."""

    async def carry_on(self) -> None:
        """Read, then end the job as it deserves. Raises RetryLater."""
        try:
            if self.job.attempts > MAX_ATTEMPTS:
                raise JobAborted("given_up", f"{MAX_ATTEMPTS} runs in a row were interrupted without progress.")
            reading = await self.read()
            await self.end("running" if reading.finished else "cancelled", complete=reading.complete)
        except Superseded:
            _log.info("run superseded")
        except JobAborted as error:
            if error.passing and self.job.attempts < MAX_ATTEMPTS:
                _log.warning("run failed; trying again", code=error.code, detail=error.text)
                raise RetryLater(_RETRY_DELAY) from None
            await self._abort(error)
        except Exception as error:
            if is_transient(error):
                _log.warning("run interrupted", error=describe(error))
                raise RetryLater(_RETRY_DELAY) from None
            raise

    async def record(self, connection: Connection, **values: Any) -> None:
        """Note progress, fenced; somebody's wish to cancel shows in `job` from then on. Raises Superseded."""
        job = await self.runs.table.record(connection, self.job, values)
        if job is None:
            raise Superseded
        self.job = job

    def know(self, **values: Any) -> None:
        """Keep what is stored with the next `record` or at the end."""
        self.job = replace(self.job, **values)

    async def end(self, state: State, *, complete: bool, error: JobAborted | None = None) -> None:
        """Reading is over. The closing record is due at once; a job that fails having sent nothing needs none."""
        now = self.runs.clock()
        due = now if complete or state == "running" or self.job.records else None
        failure = (error.code, error.text) if error else None
        async with self.runs.database.work() as connection:
            ended = await self.runs.table.end_reading(
                connection, self.job, state, complete=complete, due=due, now=now, error=failure
            )
            if ended and error:
                await self.runs.schedules.job_over(connection, ended.tenant, ended.connector_id, ended.id, failed=True)
        if ended is None:
            raise Superseded
        self.runs.metrics.count(ended)
        _log.info("reading over", state=state, complete=complete, rows=ended.records)
        await self.runs.send_closings()

    async def _abort(self, error: JobAborted) -> None:
        """The job has failed, visibly; what it sent is still closed."""
        _log.warning("job failed", code=error.code, detail=error.text)
        with suppress(Superseded):
            await self.end("failed", complete=False, error=error)
