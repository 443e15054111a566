"""Use cases of queries that run by the clock: as whoever wrote the schedule, with the profile they had then."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4, uuid5

import structlog

from libs.common.clock import Clock
from libs.common.cron import BadSchedule, Cron
from libs.common.db import Connection, Database
from libs.common.erasure import context as erasure_context
from libs.common.errors import NotFound
from libs.common.failures import describe
from libs.common.sealed import KeyRing
from services.query_executor.service.background import Background, Wanted
from services.query_executor.service.execution import Executions
from services.query_executor.service.queries import Queries
from services.query_executor.store import schedules as store
from services.query_executor.store.schedules import QuerySchedule

_log = structlog.get_logger()
_NO_SCHEDULE: Final = "The query has no schedule"


def _context(tenant: UUID, query: UUID) -> str:
    return f"query-schedule:{tenant}:{query}"


@dataclass(frozen=True, slots=True)
class QuerySchedules:
    """Writes schedules and begins what is due, on any replica, once."""

    database: Database
    clock: Clock
    keys: KeyRing
    queries: Queries
    executions: Executions
    background: Background

    async def put(self, wanted: Wanted, cron: str, timezone: str) -> QuerySchedule:
        """From now on it runs as the caller. What breaks a rule now is refused. Raises as `Executions.execute`."""
        tenant = wanted.caller.require_tenant()
        runnable = await self.executions.check(wanted.caller, wanted.app_slug, wanted.slug, wanted.params, uuid4())
        query = runnable.query.id
        sealed = self.keys.seal(wanted.dumped(), bound_to=_context(tenant, query))
        schedule = QuerySchedule(tenant, query, cron, timezone, sealed, Cron(cron, timezone).next_after(self.clock()))
        person = wanted.caller.username or wanted.caller.subject
        async with self.database.tenant(tenant) as connection:
            digests = self.keys.digests(person, bound_to=erasure_context(tenant))
            await store.put_schedule(connection, schedule, digests)
            return await store.find_schedule(connection, tenant, query) or schedule

    async def get(self, tenant: UUID, app_slug: str, slug: str) -> QuerySchedule:
        query = await self.queries.get(tenant, app_slug, slug)
        async with self.database.tenant(tenant) as connection:
            found = await store.find_schedule(connection, tenant, query.id)
        if found is None:
            raise NotFound(_NO_SCHEDULE)
        return found

    async def delete(self, tenant: UUID, app_slug: str, slug: str) -> None:
        """What runs goes on."""
        query = await self.queries.get(tenant, app_slug, slug)
        async with self.database.tenant(tenant) as connection:
            if not await store.delete_schedule(connection, tenant, query.id):
                raise NotFound(_NO_SCHEDULE)

    async def start_due(self) -> None:
        """Begin all that is due."""
        now = self.clock()
        while await self._start_one(now):
            pass

    async def _start_one(self, now: datetime) -> bool:
        async with self.database.work() as connection:
            due = await store.hold_due(connection, now)
            if due is None:
                return False
            try:
                following = Cron(due.cron, due.timezone).next_after(now)
            except BadSchedule as error:  # other time zones than those that it was checked by
                _log.error("schedule cannot be kept", query=str(due.query_id), error=str(error))
                await store.delete_schedule(connection, due.tenant_id, due.query_id)
                return True
            await store.note_run(connection, replace(await self._begun(connection, due), next_run_at=following))
        return True

    async def _begun(self, connection: Connection, due: QuerySchedule) -> QuerySchedule:
        """With the execution that it began; unchanged where the one before still runs."""
        if due.execution_id and await store.is_running(connection, due.tenant_id, due.execution_id):
            return due
        # The same on a replica that goes on where another one died.
        execution = uuid5(due.query_id, f"schedule {due.next_run_at.isoformat()}")
        try:
            opened = self.keys.open(due.sealed_request, bound_to=_context(due.tenant_id, due.query_id))
            await self.background.accept(Wanted.loaded(opened), execution, checked=False)
        except Exception as error:
            _log.warning("scheduled execution not begun", query=str(due.query_id), error=describe(error))
            return due
        return replace(due, due_at=due.next_run_at, execution_id=execution)
