"""Use cases of log mining: start, read, list and cancel jobs, check a connector, close jobs, keep up."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.connector_copy import Connector, await_connector
from libs.common.db import Connection, Database
from libs.common.errors import BadRequest, Conflict, NotFound, Unprocessable
from libs.common.events import BiQueryStored, ConnectorChanged, UsageRecompute
from libs.common.jobs import JobRef, enqueue
from libs.common.outbox import enqueue as enqueue_event
from libs.common.schedules import Planned, Schedules
from libs.common.sealed import CannotOpen, KeyRing
from libs.common.telemetry import current_traceparent
from libs.common.topics import USAGE_RECOMPUTE
from services.log_miner import store
from services.log_miner.domain import MiningJob, record_key
from services.log_miner.metrics import MiningMetrics
from services.log_miner.sending import Sender
from services.log_miner.warehouses import WAREHOUSES, Resolve, Step

SERVICE = "log_miner"
MINE = "mine"
SCHEDULE = "schedule"
_CLOSINGS_AT_A_TIME = 100


class NotAWarehouse(BadRequest):
    code = "not_a_warehouse"

    def __init__(self, connector_type: str) -> None:
        known = ", ".join(sorted(WAREHOUSES))
        super().__init__(f"A connector of type {connector_type} has no query log; mining works for {known}.")


class JobNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such mining job.")


class JobIsOver(Conflict):
    code = "job_is_over"


class AlreadyMining(Exception):
    """The connector has an active job: `job`."""

    def __init__(self, job: MiningJob) -> None:
        super().__init__("active")
        self.job = job


@dataclass(frozen=True, slots=True)
class Miner:
    """The use cases of one process."""

    database: Database
    sender: Sender
    keys: KeyRing
    resolve: Resolve
    clock: Clock
    metrics: MiningMetrics
    closing_repeat: timedelta
    schedules: Schedules

    async def mine_connector(self, caller: Principal, connector_id: UUID, job_id: UUID) -> MiningJob:
        """Start a job, or give the one that this request started before. Raises AlreadyMining, NotAWarehouse, 404."""
        connector = await self._warehouse_connector(caller, connector_id)
        return await self._start(self._new_job(caller.username or caller.subject, connector, job_id))

    async def mine_on_schedule(self, tenant: UUID, connector_id: UUID, job_id: UUID) -> bool:
        """Start the job that is due; False where another one of the connector is not over yet."""
        connector = await await_connector(self.database, tenant, connector_id, None)
        if connector.type not in WAREHOUSES:
            raise NotAWarehouse(connector.type)
        try:
            await self._start(self._new_job(SCHEDULE, connector, job_id))
        except AlreadyMining:
            return False
        return True

    async def _start(self, job: MiningJob) -> MiningJob:
        async with self.database.tenant(job.tenant) as connection:
            created = await store.insert_job(connection, job)
            if created:
                await enqueue(connection, SERVICE, MINE, JobRef(job.tenant, job.id))
                return created
            same = await store.find_job(connection, job.tenant, job.id)
            active = await store.active_job(connection, job.tenant, job.connector_id)
        if same:
            return same
        if active is None:
            raise Conflict("Another job has just ended; try again.")
        raise AlreadyMining(active)

    def _new_job(self, requested_by: str, connector: Connector, job_id: UUID) -> MiningJob:
        return MiningJob(
            tenant=connector.tenant,
            id=job_id,
            connector_id=connector.id,
            connector_version=connector.version,
            sync_seq=0,
            state="pending",
            phase="waiting",
            created_at=self.clock(),
            requested_by=requested_by,
            traceparent=current_traceparent(),
        )

    async def _warehouse_connector(self, caller: Principal, connector_id: UUID) -> Connector:
        version = caller.connector_version if caller.connector_id == connector_id else None
        connector = await await_connector(self.database, caller.require_tenant(), connector_id, version)
        if connector.type not in WAREHOUSES:
            raise NotAWarehouse(connector.type)
        return connector

    async def job(self, caller: Principal, job_id: UUID) -> MiningJob:
        """One job. Raises JobNotFound."""
        tenant = caller.require_tenant()
        async with self.database.tenant(tenant) as connection:
            found = await store.find_job(connection, tenant, job_id)
        if found is None:
            raise JobNotFound
        return found

    async def jobs(
        self, caller: Principal, connector_id: UUID, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[MiningJob]:
        """Jobs of a connector, newest first."""
        connector = await self._warehouse_connector(caller, connector_id)
        async with self.database.tenant(connector.tenant) as connection:
            return await store.jobs_of_connector(connection, connector.tenant, connector_id, before, limit)

    async def schedule(self, caller: Principal, connector_id: UUID) -> tuple[Planned | None, MiningJob | None]:
        """When a connector is mined next by itself, and its newest job."""
        connector = await self._warehouse_connector(caller, connector_id)
        async with self.database.tenant(connector.tenant) as connection:
            planned = await self.schedules.find(connection, connector.tenant, connector_id)
            newest = await store.jobs_of_connector(connection, connector.tenant, connector_id, None, 1)
        return planned, newest[0] if newest else None

    async def cancel(self, caller: Principal, job_id: UUID) -> MiningJob:
        """Stop a job at its next batch; what was sent stays. Raises JobNotFound, or 409 for a job that is over."""
        tenant = caller.require_tenant()
        async with self.database.tenant(tenant) as connection:
            cancelled = await store.request_cancel(connection, tenant, job_id, self.clock())
        if cancelled:
            self.metrics.count(cancelled)
            return cancelled
        job = await self.job(caller, job_id)
        if job.state != "cancelled":
            raise JobIsOver(f"The job is {job.state} already.")
        return job

    async def check_connector(self, caller: Principal, connector_id: UUID) -> list[Step]:
        """What mining needs of the connector's warehouse, tried step by step."""
        connector = await self._warehouse_connector(caller, connector_id)
        try:
            settings = connector.open_settings(self.keys)
        except (CannotOpen, ValueError):
            raise Unprocessable("The connector's settings cannot be opened; save them again.") from None
        warehouse = WAREHOUSES[connector.type](settings, self.resolve)
        return [step async for step in warehouse.check()]

    async def close_job(self, connection: Connection, stored: BiQueryStored) -> None:
        """Note the aggregator's outcome and wish for fresh statistics; nothing for jobs of others."""
        job = await store.record_outcome(connection, stored, self.clock())
        if job is None:
            return
        wish = UsageRecompute(tenant=job.tenant, connector_id=job.connector_id)
        key = record_key(job.tenant, job.connector_id)
        await enqueue_event(connection, USAGE_RECOMPUTE, wish, key=key, at=self.clock())
        if job.state in ("completed", "partial"):
            self.metrics.count(job)
            await self.schedules.job_over(connection, job.tenant, job.connector_id, job.id, failed=False)

    async def forget_connector(self, connection: Connection, change: ConnectorChanged) -> None:
        """A connector was deleted: stop its job, drop where reading stood."""
        await store.cancel_job_of_connector(connection, change.tenant, change.id, self.clock())
        await store.forget_source(connection, change.tenant, change.id)

    async def send_closings(self) -> None:
        """Send closing records that are due: the first of each job, and repetitions until its outcome comes."""
        now = self.clock()
        async with self.database.work() as connection:
            due = await store.take_due_closings(connection, now, now + self.closing_repeat, _CLOSINGS_AT_A_TIME)
        for job in due:
            await self.sender.close(job)

    async def requeue_lost(self) -> None:
        """Queue again what no worker could find any more, and count what is active."""
        async with self.database.work() as connection:
            for ref in await store.jobs_to_read(connection):
                await enqueue(connection, SERVICE, MINE, ref)
            counts = await store.count_jobs(connection)
        for state in ("pending", "running"):
            self.metrics.active.labels(state).set(counts.get(state, 0))
