"""Use cases of every collecting service: start, read, list and cancel jobs, close them, keep up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Generic
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.collecting.job import CollectingJob, record_key
from libs.common.collecting.metrics import JobMetrics
from libs.common.collecting.table import J, JobTable
from libs.common.connector_copy import Connector
from libs.common.db import Connection, Database
from libs.common.erasure import ErasedNames, Erasure
from libs.common.errors import Conflict, NotFound
from libs.common.events import BiQueryStored, UsageRecompute
from libs.common.jobs import JobRef, enqueue
from libs.common.outbox import enqueue as enqueue_event
from libs.common.schedules import Planned, Schedules
from libs.common.telemetry import current_traceparent
from libs.common.topics import USAGE_RECOMPUTE

SCHEDULE: Final = "schedule"
_CLOSINGS_AT_A_TIME: Final = 100


class JobNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such job.")


class JobIsOver(Conflict):
    code = "job_is_over"


class JobActive(Exception):
    """The connector has an active job: `job`."""

    def __init__(self, job: CollectingJob) -> None:
        super().__init__("active")
        self.job = job


@dataclass(frozen=True, slots=True)
class JobService(Generic[J]):
    """Jobs of one service. `queue`: its name and the kind of its jobs, for PgQueuer."""

    database: Database
    table: JobTable[J]
    queue: tuple[str, str]
    close: Callable[[J], Awaitable[None]]
    clock: Clock
    metrics: JobMetrics
    closing_repeat: timedelta
    erased: ErasedNames
    schedules: Schedules

    async def start(self, job: J) -> J:
        """Create and queue a job, or give the one of this id. Raises JobActive where the connector has another."""
        asker = (job.tenant, job.requested_by or "")
        async with self.database.tenant(job.tenant) as connection:
            erased = await self.erased.pseudonyms(connection, [asker])
            job = replace(job, requested_by=erased.get(asker, job.requested_by))
            created = await self.table.insert(connection, job)
            if created:
                await enqueue(connection, *self.queue, JobRef(job.tenant, job.id))
                return created
            same = await self.table.find(connection, job.tenant, job.id)
            active = await self.table.active(connection, job.tenant, job.connector_id)
        if same:
            return same
        if active is None:
            raise Conflict("Another job has just ended; try again.")
        raise JobActive(active)

    async def start_scheduled(self, job: J) -> bool:
        """Start the job that is due; False where another one of the connector is not over yet."""
        try:
            await self.start(job)
        except JobActive:
            return False
        return True

    def beginning(self, requested_by: str, connector: Connector, job_id: UUID) -> dict[str, Any]:
        """The fields of a new job."""
        return {
            "tenant": connector.tenant,
            "id": job_id,
            "connector_id": connector.id,
            "connector_version": connector.version,
            "sync_seq": 0,
            "state": "pending",
            "phase": "waiting",
            "created_at": self.clock(),
            "requested_by": requested_by,
            "traceparent": current_traceparent(),
        }

    async def find(self, caller: Principal, job_id: UUID) -> J:
        """One job. Raises JobNotFound."""
        tenant = caller.require_tenant()
        async with self.database.tenant(tenant) as connection:
            found = await self.table.find(connection, tenant, job_id)
        if found is None:
            raise JobNotFound
        return found

    async def of_connector(self, connector: Connector, before: tuple[datetime, UUID] | None, limit: int) -> list[J]:
        """Jobs of a connector, newest first."""
        async with self.database.tenant(connector.tenant) as connection:
            return await self.table.of_connector(connection, connector.tenant, connector.id, before, limit)

    async def schedule(self, connector: Connector) -> tuple[Planned | None, J | None]:
        """When a connector's next job starts by itself, and its newest job."""
        async with self.database.tenant(connector.tenant) as connection:
            planned = await self.schedules.find(connection, connector.tenant, connector.id)
            newest = await self.table.of_connector(connection, connector.tenant, connector.id, None, 1)
        return planned, newest[0] if newest else None

    async def cancel(self, caller: Principal, job_id: UUID) -> J:
        """Stop a job at its next batch; what was sent stays. Raises JobNotFound, or 409 for a job that is over."""
        tenant = caller.require_tenant()
        async with self.database.tenant(tenant) as connection:
            cancelled = await self.table.request_cancel(connection, tenant, job_id, self.clock())
        if cancelled:
            self.metrics.count(cancelled)
            return cancelled
        job = await self.find(caller, job_id)
        if job.state != "cancelled":
            raise JobIsOver(f"The job is {job.state} already.")
        return job

    async def record_outcome(self, connection: Connection, stored: BiQueryStored) -> J | None:
        """Note the aggregator's outcome and wish for fresh statistics; None for jobs of others."""
        job = await self.table.record_outcome(connection, stored, self.clock())
        if job is None:
            return None
        wish = UsageRecompute(tenant=job.tenant, connector_id=job.connector_id)
        key = record_key(job.tenant, job.connector_id)
        await enqueue_event(connection, USAGE_RECOMPUTE, wish, key=key, at=self.clock())
        if job.state in ("completed", "partial"):
            self.metrics.count(job)
            await self.schedules.job_over(connection, job.tenant, job.connector_id, job.id, failed=False)
        return job

    async def forget_tenant(self, connection: Connection, tenant: UUID) -> None:
        """A tenant was deleted: stop its jobs. Its rows are removed afterwards."""
        await self.table.cancel_of_tenant(connection, tenant, self.clock())

    async def forget_person(self, erasure: Erasure) -> bool:
        """Put the pseudonym where the name asked for jobs."""
        async with self.database.work() as connection:
            await self.table.rename_requester(connection, erasure.tenant, erasure.name, erasure.pseudonym)
        return True

    async def send_closings(self) -> None:
        """Send closing records that are due: the first of each job, and repetitions until its outcome comes."""
        now = self.clock()
        async with self.database.work() as connection:
            due = await self.table.take_due_closings(connection, now, now + self.closing_repeat, _CLOSINGS_AT_A_TIME)
        for job in due:
            await self.close(job)

    async def requeue_lost(self) -> None:
        """Queue again what no worker could find any more, and count what is active."""
        async with self.database.work() as connection:
            for ref in await self.table.to_read(connection):
                await enqueue(connection, *self.queue, ref)
            counts = await self.table.count(connection)
        for state in ("pending", "running"):
            self.metrics.active.labels(state).set(counts.get(state, 0))
