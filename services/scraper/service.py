"""Use cases of BI syncs: start, list and close jobs, check a connector, forget one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.common.auth import Principal
from libs.common.collecting.service import SCHEDULE, JobService
from libs.common.connector_copy import Connector, await_connector
from libs.common.connectors import BI_TYPES
from libs.common.db import Connection
from libs.common.errors import BadRequest, Unprocessable
from libs.common.events import BiQueryStored, ConnectorChanged
from libs.common.schedules import Planned
from libs.common.sealed import CannotOpen, KeyRing
from services.scraper import store
from services.scraper.domain import SyncJob, not_retired, warned
from services.scraper.store import JOBS, PLACES
from services.scraper.tools import TOOLS, Resolve, Step

SERVICE: Final = "scraper"
SYNC: Final = "sync"


class NotABiTool(BadRequest):
    code = "not_a_bi_tool"

    def __init__(self, connector_type: str) -> None:
        super().__init__(f"Connector is not a BI type; syncing works for {', '.join(sorted(TOOLS))}.")
        if connector_type in BI_TYPES:
            self.detail = f"Connectors of type {connector_type} cannot be synced by this installation."


@dataclass(frozen=True, slots=True)
class Scraper:
    """The use cases of one process; `jobs` has those that every collecting service has."""

    jobs: JobService[SyncJob]
    keys: KeyRing
    resolve: Resolve

    async def sync_connector(self, caller: Principal, connector_id: UUID, job_id: UUID) -> SyncJob:
        """Start a sync, or give the one that this request started before. Raises JobActive, NotABiTool, 404."""
        connector = await self._bi_connector(caller, connector_id)
        return await self.jobs.start(
            SyncJob(**self.jobs.beginning(caller.username or caller.subject, connector, job_id))
        )

    async def sync_on_schedule(self, tenant: UUID, connector_id: UUID, job_id: UUID) -> bool:
        """Start the job that is due; False where another one of the connector is not over yet."""
        connector = await await_connector(self.jobs.database, tenant, connector_id, None)
        if connector.type not in TOOLS:
            raise NotABiTool(connector.type)
        return await self.jobs.start_scheduled(SyncJob(**self.jobs.beginning(SCHEDULE, connector, job_id)))

    async def _bi_connector(self, caller: Principal, connector_id: UUID) -> Connector:
        version = caller.connector_version if caller.connector_id == connector_id else None
        connector = await await_connector(self.jobs.database, caller.require_tenant(), connector_id, version)
        if connector.type not in TOOLS:
            raise NotABiTool(connector.type)
        return connector

    async def list_jobs(
        self, caller: Principal, connector_id: UUID, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[SyncJob]:
        """Syncs of a connector, newest first."""
        return await self.jobs.of_connector(await self._bi_connector(caller, connector_id), before, limit)

    async def schedule(self, caller: Principal, connector_id: UUID) -> tuple[Planned | None, SyncJob | None]:
        """When a connector is read next by itself, and its newest job."""
        return await self.jobs.schedule(await self._bi_connector(caller, connector_id))

    async def check_connector(self, caller: Principal, connector_id: UUID) -> list[Step]:
        """What a sync needs of the connector's tool, tried step by step."""
        connector = await self._bi_connector(caller, connector_id)
        try:
            settings = connector.open_settings(self.keys)
        except (CannotOpen, ValueError):
            raise Unprocessable("The connector's settings cannot be opened; save them again.") from None
        return [step async for step in TOOLS[connector.type](settings, self.resolve).check()]

    async def close_job(self, connection: Connection, stored: BiQueryStored) -> None:
        """Note the aggregator's outcome; nothing for jobs of others."""
        job = await self.jobs.record_outcome(connection, stored)
        if job is not None:
            job = warned(job, not_retired(stored))
            await store.note_retired(connection, job, stored.retired, job.warnings, job.warning_count)

    async def forget_connector(self, connection: Connection, change: ConnectorChanged) -> None:
        """A connector was deleted: stop its job, drop where reading stood."""
        await JOBS.cancel_of_connector(connection, change.tenant, change.id, self.jobs.clock())
        await PLACES.forget(connection, change.tenant, change.id)
