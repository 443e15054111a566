"""Executions that nobody waits for: accepted, worked on by any replica, their results kept for a while.

A job reads only, so one whose worker died is run again from its beginning. Who asked and with what parameters is
sealed; the results are not.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.erasure import context as erasure_context
from libs.common.errors import Conflict, Forbidden, NotFound
from libs.common.jobs import JobRef, enqueue
from libs.common.sealed import KeyRing
from services.query_executor.service.execution import Executions
from services.query_executor.service.results import ResultStore
from services.query_executor.store import apps as apps_store
from services.query_executor.store import jobs as store
from services.query_executor.store.jobs import ExecutionJob
from services.query_executor.store.results import Result

SERVICE: Final = "query_executor"
EXECUTION: Final = "execution"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request as it is sealed: who asked for what. `max_age` as `Executions.execute` takes it."""

    caller: Principal
    app_slug: str
    slug: str
    params: Mapping[str, Any]
    max_age: float | None = None

    def dumped(self) -> bytes:
        caller = asdict(self.caller) | {"roles": sorted(self.caller.roles)}
        return orjson.dumps([caller, self.app_slug, self.slug, self.params, self.max_age])

    @classmethod
    def loaded(cls, raw: bytes) -> "Wanted":
        """Inverse of `dumped`."""
        caller, app_slug, slug, params, max_age = orjson.loads(raw)
        known = caller | {"tenant": UUID(caller["tenant"]), "roles": frozenset(caller["roles"])}
        return cls(Principal(**known), app_slug, slug, params, max_age)


def _context(tenant: UUID, job: UUID) -> str:
    return f"query-execution:{tenant}:{job}"


class Background:
    """Accepts executions, shows how they stand, stops them."""

    def __init__(
        self, database: Database, clock: Clock, keys: KeyRing, executions: Executions, results: ResultStore
    ) -> None:
        self._database = database
        self._clock = clock
        self._keys = keys
        self._executions = executions
        self._results = results

    async def accept(self, wanted: Wanted, execution: UUID, *, checked: bool = True) -> ExecutionJob:
        """Queue an execution, once; what breaks a rule is refused at once if `checked`, else it fails later.

        Raises as `Executions.execute`.
        """
        of = self._executions.check if checked else self._executions.find
        runnable = await of(wanted.caller, wanted.app_slug, wanted.slug, wanted.params, execution)
        tenant, now = wanted.caller.require_tenant(), self._clock()
        job = ExecutionJob(
            execution, runnable.query.id, self._keys.seal(wanted.dumped(), bound_to=_context(tenant, execution)),
            "pending", 0, False, None, now, None, None, now + self._results.lifetime,
        )  # fmt: skip
        person = wanted.caller.username or wanted.caller.subject
        digests = self._keys.digests(person, bound_to=erasure_context(tenant))
        async with self._database.tenant(tenant) as connection:
            if await store.insert_job(connection, tenant, runnable.app_id, job, digests):
                await enqueue(connection, SERVICE, EXECUTION, JobRef(tenant, execution))
            return await store.find_job(connection, tenant, runnable.app_id, execution) or job

    def wanted(self, tenant: UUID, job: ExecutionJob) -> Wanted:
        """Raises CannotOpen."""
        return Wanted.loaded(self._keys.open(job.sealed_request, bound_to=_context(tenant, job.id)))

    async def get(self, caller: Principal, app_slug: str, execution: UUID) -> tuple[ExecutionJob, Result | None]:
        """The job, and what is known of its result. 404 after it has expired."""
        tenant = caller.require_tenant()
        job = await self._job(tenant, app_slug, execution)
        page = await self._results.page(tenant, execution, 0, 0) if job.state == "completed" else None
        return job, page[0] if page else None

    async def _job(self, tenant: UUID, app_slug: str, execution: UUID) -> ExecutionJob:
        async with self._database.tenant(tenant) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            job = await store.find_job(connection, tenant, app.id, execution)
        if job is None:
            raise NotFound("Execution not found")
        return job

    async def page(
        self, caller: Principal, app_slug: str, execution: UUID, first: int, limit: int
    ) -> tuple[Result, bytes]:
        """Some rows. Only who started it may read them: the user's profile may have chosen them."""
        tenant = caller.require_tenant()
        job = await self._job(tenant, app_slug, execution)
        owner = self.wanted(tenant, job).caller
        if (owner.actor_type, owner.subject) != (caller.actor_type, caller.subject):
            raise Forbidden("Only who started an execution may read its result.")
        if job.state != "completed":
            raise Conflict(f"The execution is {job.state}; it has no result.")
        page = await self._results.page(tenant, execution, first, limit)
        if page is None:
            raise NotFound("The result has expired.")
        return page

    async def cancel(self, caller: Principal, app_slug: str, execution: UUID) -> ExecutionJob:
        """Stop it, on whatever replica it runs; one that is over stays as it is."""
        tenant = caller.require_tenant()
        await self._job(tenant, app_slug, execution)
        async with self._database.tenant(tenant) as connection:
            await store.cancel_job(connection, tenant, execution, self._clock())
        return await self._job(tenant, app_slug, execution)
