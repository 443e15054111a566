"""Use cases of log mining: start, list and close jobs, check a connector, forget one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.common.auth import Principal
from libs.common.collecting.service import SCHEDULE, JobService
from libs.common.connector_copy import Connector, await_connector
from libs.common.db import Connection
from libs.common.errors import BadRequest, Unprocessable
from libs.common.events import BiQueryStored, ConnectorChanged
from libs.common.schedules import Planned
from libs.common.sealed import CannotOpen, KeyRing
from services.log_miner.domain import MiningJob
from services.log_miner.store import JOBS, PLACES
from services.log_miner.warehouses import WAREHOUSES, Resolve, Step

SERVICE: Final = "log_miner"
MINE: Final = "mine"


class NotAWarehouse(BadRequest):
    code = "not_a_warehouse"

    def __init__(self, connector_type: str) -> None:
        known = ", ".join(sorted(WAREHOUSES))
        super().__init__(f"A connector of type {connector_type} has no query log; mining works for {known}.")


@dataclass(frozen=True, slots=True)
class Miner:
    """The use cases of one process; `jobs` has those that every collecting service has."""

    jobs: JobService[MiningJob]
    keys: KeyRing
    resolve: Resolve

    async def mine_connector(self, caller: Principal, connector_id: UUID, job_id: UUID) -> MiningJob:
        """Start a job, or give the one that this request started before. Raises JobActive, NotAWarehouse, 404."""
        connector = await self._warehouse_connector(caller, connector_id)
        return await self.jobs.start(
            MiningJob(**self.jobs.beginning(caller.username or caller.subject, connector, job_id))
        )

    async def mine_on_schedule(self, tenant: UUID, connector_id: UUID, job_id: UUID) -> bool:
        """Start the job that is due; False where another one of the connector is not over yet."""
        connector = await await_connector(self.jobs.database, tenant, connector_id, None)
        if connector.type not in WAREHOUSES:
            raise NotAWarehouse(connector.type)
        return await self.jobs.start_scheduled(MiningJob(**self.jobs.beginning(SCHEDULE, connector, job_id)))

    async def _warehouse_connector(self, caller: Principal, connector_id: UUID) -> Connector:
        version = caller.connector_version if caller.connector_id == connector_id else None
        connector = await await_connector(self.jobs.database, caller.require_tenant(), connector_id, version)
        if connector.type not in WAREHOUSES:
            raise NotAWarehouse(connector.type)
        return connector

    async def list_jobs(
        self, caller: Principal, connector_id: UUID, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[MiningJob]:
        """Jobs of a connector, newest first."""
        return await self.jobs.of_connector(await self._warehouse_connector(caller, connector_id), before, limit)

    async def schedule(self, caller: Principal, connector_id: UUID) -> tuple[Planned | None, MiningJob | None]:
        """When a connector is read next by itself, and its newest job."""
        return await self.jobs.schedule(await self._warehouse_connector(caller, connector_id))

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
        """Note the aggregator's outcome; nothing for jobs of others."""
        await self.jobs.record_outcome(connection, stored)

    async def forget_connector(self, connection: Connection, change: ConnectorChanged) -> None:
        """A connector was deleted: stop its job, drop where reading stood."""
        await JOBS.cancel_of_connector(connection, change.tenant, change.id, self.jobs.clock())
        await PLACES.forget(connection, change.tenant, change.id)
