"""The reports of a real database without the rest of the service: rows as a test wants them, a clock that it moves."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
from prometheus_client import CollectorRegistry

from libs.common.db import Connection, Database
from libs.common.http import create_app
from services.reporting.api.analytics import analytics
from services.reporting.domain import Status
from services.reporting.service.analytics import Analytics
from services.reporting.settings import Settings
from tests.support.platform import Platform

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Component:
    name: str
    kind: str = "service"
    lifecycle: str = "production"
    owner: str | None = "team"
    description: str | None = None
    deleted: bool = False
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True)
class Environment:
    name: str
    tier: str = "production"
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True)
class Deployment:
    """As the table `deployment` holds it."""

    component: UUID
    environment: UUID
    status: Status
    recorded_at: datetime = NOON
    started_at: datetime | None = None
    finished_at: datetime | None = None
    commit_at: datetime | None = None
    is_rework: bool = False
    version: str | None = None
    id: UUID = field(default_factory=uuid4)

    @property
    def moment(self) -> datetime:
        return self.finished_at or self.started_at or self.recorded_at


@dataclass(frozen=True)
class Event:
    """An audit event."""

    action: str = "UPDATE"
    occurred_at: datetime = NOON
    component: UUID | None = None
    actor: str | None = None
    username: str | None = None
    id: UUID = field(default_factory=uuid4)


@dataclass
class Reads:
    """One replica."""

    platform: Platform
    client: httpx.AsyncClient
    analytics: Analytics
    database: Database
    admin: Connection = field(repr=False)
    now: datetime = NOON

    async def add_components(self, tenant: UUID, *components: Component) -> None:
        rows: list[tuple[Any, ...]] = [
            (tenant, c.id, c.name, c.kind, c.lifecycle, c.owner, c.description, [], "{}", 1, NOON, NOON,
             NOON if c.deleted else None)
            for c in components
        ]  # fmt: skip
        columns = (
            "tenant_id id name kind lifecycle owner description refs metadata version created_at updated_at deleted_at"
        )
        await self._copy("component", columns, rows)

    async def add_environments(self, tenant: UUID, *environments: Environment) -> None:
        rows: list[tuple[Any, ...]] = [(tenant, e.id, e.name, e.tier, [], 1, NOON, NOON) for e in environments]
        await self._copy("environment", "tenant_id id name tier refs version created_at updated_at", rows)

    async def add_deployments(self, tenant: UUID, deployments: Iterable[Deployment]) -> None:
        rows: list[tuple[Any, ...]] = [
            (tenant, d.id, d.component, d.environment, d.version, d.status, d.started_at, d.finished_at, d.recorded_at,
             1, d.commit_at, d.is_rework, "test", "{}", NOON)
            for d in deployments
        ]  # fmt: skip
        columns = (
            "tenant_id id component_id environment_id version status started_at finished_at recorded_at sequence "
            "commit_at is_rework source metadata updated_at"
        )
        await self._copy("deployment", columns, rows)

    async def add_state(self, tenant: UUID, of: Deployment, sequence: int, **values: Any) -> None:
        """A state that was told of a deployment; what it is now is not touched."""
        state = replace(of, **values)
        columns = (
            "tenant_id event_id deployment_id recorded_at sequence status component_id environment_id version "
            "started_at finished_at source is_rework rolls_back_current metadata effective_at received_at"
        )
        row = (
            tenant, uuid4(), of.id, state.recorded_at, sequence, state.status, of.component, of.environment,
            state.version, state.started_at, state.finished_at, "test", state.is_rework, False, "{}",
            state.recorded_at, NOON,
        )  # fmt: skip
        await self._copy("deployment_state", columns, [row])

    async def add_events(self, tenant: UUID, events: Iterable[Event]) -> None:
        rows: list[tuple[Any, ...]] = [
            (tenant, e.id, e.occurred_at, "production", e.action, f"X_{e.action}", "x", "1", e.component, e.actor,
             "user", e.username, NOON)
            for e in events
        ]  # fmt: skip
        columns = (
            "tenant_id id occurred_at environment action event_type resource_type resource_id component_id actor_id "
            "actor_type actor_username received_at"
        )
        await self._copy("audit_event", columns, rows)

    async def _copy(self, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        await self.admin.copy_records_to_table(table, records=rows, columns=columns.split(), schema_name="reporting")

    async def forget(self) -> None:
        """Every tenant's rows."""
        await self.admin.execute(
            "TRUNCATE reporting.component, reporting.environment, reporting.component_ref, reporting.environment_ref, "
            "reporting.deployment, reporting.deployment_state, reporting.audit_event"
        )

    async def call(
        self, tenant: UUID | None, path: str, *parameters: tuple[str, object], **query: object
    ) -> httpx.Response:
        """A request as the gateway would send it inward; `parameters` may repeat; without a token for no tenant."""
        pairs = [(name, str(value)) for name, value in (*parameters, *query.items())]
        return await self.client.get(
            path, params=httpx.QueryParams(tuple(pairs)), headers=self.platform.bearer(tenant) if tenant else {}
        )

    async def get(self, tenant: UUID, path: str, *parameters: tuple[str, object], **query: object) -> Any:
        """The body of a 200."""
        answer = await self.call(tenant, path, *parameters, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()


def ago(**span: float) -> datetime:
    """So long before noon."""
    return NOON - timedelta(**span)


@asynccontextmanager
async def reads(platform: Platform, **settings: object) -> AsyncIterator[Reads]:
    """The routes of the reports over the module's database."""
    configured = Settings.model_validate(platform.settings_values("reporting", **settings))
    database = await Database.open(configured, "reporting")
    admin = await asyncpg.connect(platform.admin_url)
    try:
        running: list[Reads] = []
        service = Analytics(database, lambda: running[0].now, configured)
        app = create_app("reporting", configured, registry=CollectorRegistry(), routers=[analytics(service)])
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://reporting/api/v1/analytics/") as client:
            running.append(Reads(platform, client, service, database, admin))
            yield running[0]
    finally:
        await database.close()
        await admin.close()
