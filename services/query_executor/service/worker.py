"""Works on executions that nobody waits for. A worker may die anywhere: its job is run again, here or elsewhere."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import structlog

from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.errors import TidemarkError
from libs.common.failures import describe, is_transient
from libs.common.jobs import MAX_ATTEMPTS, JobRef, RetryLater, enqueue
from services.query_executor.collect import Collected
from services.query_executor.envelope import code_name
from services.query_executor.errors import QueryError
from services.query_executor.service.background import EXECUTION, SERVICE, Background
from services.query_executor.service.execution import Executions
from services.query_executor.service.results import ResultStore
from services.query_executor.store import jobs as store
from services.query_executor.store.jobs import ExecutionJob, State

_LOOK_SECONDS: Final = 0.5
_LOST: Final = timedelta(minutes=1)
_BATCH: Final = 100
_PAUSE: Final = timedelta(seconds=5)
_log = structlog.get_logger()


def told(error: Exception) -> dict[str, Any]:
    """A failure as its answer would have told it."""
    if not isinstance(error, TidemarkError):
        return _failure("InternalError", "Internal error; give the execution_key to the operator.")
    failure = _failure(code_name(error.code), error.detail)
    return failure | {"errors": error.errors, "details": error.details} if isinstance(error, QueryError) else failure


def _failure(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "errors": {}, "details": {}}


class Worker:
    """Runs jobs, brings back lost ones, drops old ones."""

    def __init__(
        self, database: Database, clock: Clock, background: Background, executions: Executions, results: ResultStore
    ) -> None:
        self._database = database
        self._clock = clock
        self._background = background
        self._executions = executions
        self._results = results

    async def run(self, ref: JobRef) -> None:
        """Work on a job to its end. Raises RetryLater for what may pass by itself."""
        async with self._database.work() as connection:
            job = await store.claim_job(connection, ref.tenant, ref.id, self._clock())
        if job is None:
            return
        if job.run > MAX_ATTEMPTS:
            await self._end(ref, job, "failed", _failure("GivenUp", f"{MAX_ATTEMPTS} runs were interrupted."))
            return
        try:
            await self._carry_on(ref, job)
        except Exception as error:
            if _passes(error, job):
                _log.warning("execution interrupted", execution=str(ref.id), error=describe(error))
                raise RetryLater(_PAUSE) from None
            if not isinstance(error, TidemarkError):
                _log.error("execution failed", execution=str(ref.id), error=describe(error))
            await self._end(ref, job, "failed", told(error))

    async def _carry_on(self, ref: JobRef, job: ExecutionJob) -> None:
        """Until it is over or somebody wants it cancelled."""
        unwanted = asyncio.create_task(self._unwanted(ref, job))
        work = asyncio.create_task(self._found(ref, job, unwanted))
        try:
            await asyncio.wait({work, unwanted}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
            if work.cancelled():
                await self._end(ref, job, "cancelled")
            else:
                await self._keep(ref, job, work.result())
        finally:
            # In this order: an end while the job is wanted still is one that is run again.
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            unwanted.cancel()
            await asyncio.gather(unwanted, return_exceptions=True)

    async def _unwanted(self, ref: JobRef, job: ExecutionJob) -> None:
        """Ends when this run is to stop. While our database is away, nobody can want that."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                async with self._database.work() as connection:
                    if not await store.is_wanted(connection, ref.tenant, ref.id, job.run):
                        return
            except Exception as error:
                _log.warning("cannot see whether an execution is wanted", error=describe(error))

    async def _found(self, ref: JobRef, job: ExecutionJob, unwanted: "asyncio.Task[None]") -> Collected:
        def again(error: BaseException) -> bool:
            return not unwanted.done() if isinstance(error, asyncio.CancelledError) else _passes(error, job)

        wanted = self._background.wanted(ref.tenant, job)
        _, found = await self._executions.execute(
            wanted.caller, wanted.app_slug, wanted.slug, wanted.params, ref.id, max_age=wanted.max_age, again=again
        )
        return found

    async def _keep(self, ref: JobRef, job: ExecutionJob, found: Collected) -> None:
        async with self._database.work() as connection:
            if await store.end_job(connection, ref.tenant, ref.id, job.run, "completed", None, self._clock()):
                await self._results.keep(connection, ref.tenant, ref.id, job.query_id, found)

    async def _end(self, ref: JobRef, job: ExecutionJob, state: State, error: dict[str, Any] | None = None) -> None:
        async with self._database.work() as connection:
            await store.end_job(connection, ref.tenant, ref.id, job.run, state, error, self._clock())

    async def requeue_lost(self) -> None:
        """Queue jobs again whose row of the queue is gone."""
        async with self._database.work() as connection:
            for tenant, job in await store.open_jobs(connection, self._clock() - _LOST, _BATCH):
                await enqueue(connection, SERVICE, EXECUTION, JobRef(tenant, job))

    async def prune(self) -> None:
        """Drop jobs and results that have expired."""
        await self._results.prune()
        while True:
            async with self._database.work() as connection:
                if await store.prune_jobs(connection, self._clock(), _BATCH) < _BATCH:
                    return


def _passes(error: BaseException, job: ExecutionJob) -> bool:
    """Whether the same may go well later: our own servers are away, not the one that is asked."""
    return not isinstance(error, QueryError) and is_transient(error) and job.run < MAX_ATTEMPTS
