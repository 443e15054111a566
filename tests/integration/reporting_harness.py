"""Reporting's use cases on a real database, with a clock that the test moves."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from pydantic import SecretStr

from libs.common.db import Connection, Database
from libs.common.erasure import ErasedNames
from libs.common.events import DeploymentRecorded
from libs.common.sealed import KeyRing
from services.reporting.arrivals import digest_id, event_id, state_of
from services.reporting.rows import State
from services.reporting.service.recording import Recording
from services.reporting.settings import Settings
from tests.support.platform import SEALING_KEY, Platform

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
# All that a fold decides.
DEPLOYMENT = """id, component_id, environment_id, version, status, started_at, finished_at, recorded_at, sequence,
    moment, commit_sha, commit_at, deployed_by, source, is_rework, metadata"""


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


@dataclass
class Harness:
    """One replica's use cases."""

    database: Database
    clock: MovedClock
    recording: Recording
    erased: ErasedNames
    admin: Connection = field(repr=False)

    async def named(self, kind: str, tenant: UUID, *names: str) -> UUID:
        """A component or an environment of these names, made past the API."""
        made = uuid4()
        more = (
            ("lifecycle, metadata, kind", "'production', '{}', 'service'")
            if kind == "component"
            else ("tier", "'other'")
        )
        await self.admin.execute(
            f"""INSERT INTO reporting.{kind} (tenant_id, id, name, refs, version, created_at, updated_at, {more[0]})
                VALUES ($1, $2, $3, '{{}}', 1, $4, $4, {more[1]})""",
            tenant,
            made,
            names[0],
            NOON,
        )
        await self.admin.executemany(
            f"INSERT INTO reporting.{kind}_ref (tenant_id, ref, {kind}_id) VALUES ($1, $2, $3)",
            [(tenant, ref, made) for ref in (*names, str(made))],
        )
        return made

    async def take(self, *events: DeploymentRecorded) -> None:
        """As the consumer takes a batch: events without ids."""
        await self.recording.take(states(events, self.clock()))

    async def deployments(self, tenant: UUID) -> list[dict[str, Any]]:
        rows = await self.admin.fetch(
            f"SELECT {DEPLOYMENT} FROM reporting.deployment WHERE tenant_id = $1 ORDER BY id", tenant
        )
        return [dict(row) for row in rows]

    async def count(self, table: str, tenant: UUID) -> int:
        found = await self.admin.fetchval(f"SELECT count(*) FROM reporting.{table} WHERE tenant_id = $1", tenant)
        return int(found)


def states(events: Iterable[DeploymentRecorded], now: datetime) -> Sequence[State]:
    return [state_of(event, digest_id(event), now) for event in events]


def sent(event: DeploymentRecorded, sent_id: str, now: datetime = NOON) -> State:
    """An event that came with an id."""
    return state_of(event, event_id(event.tenant, "test", sent_id), now)


def deployed(tenant: UUID, deployment: UUID | int, status: str, minute: float = 0, **more: Any) -> DeploymentRecorded:
    """A state told so many minutes after ten o'clock."""
    known = UUID(int=deployment) if isinstance(deployment, int) else deployment
    values = {
        "component_ref": "shop",
        "environment_ref": "live",
        "source": "ci",
        "recorded_at": NOON - timedelta(hours=2) + timedelta(minutes=minute),
    }
    return DeploymentRecorded.model_validate(
        {"tenant": tenant, "deployment_id": known, "status": status, **values, **more}
    )


@asynccontextmanager
async def replicas(platform: Platform, count: int = 1) -> AsyncIterator[list[Harness]]:
    """Replicas with pools of their own and one clock."""
    settings = Settings.model_validate(platform.settings_values("reporting", database_pool_size=4))
    clock, erased = MovedClock(), ErasedNames(KeyRing.of({"k1": SecretStr(SEALING_KEY)}))
    admin = await asyncpg.connect(platform.admin_url)
    databases = [await Database.open(settings, "reporting") for _ in range(count)]
    try:
        yield [
            Harness(each, clock, Recording(each, clock, erased, timedelta(days=90)), erased, admin)
            for each in databases
        ]
    finally:
        for each in databases:
            await each.close()
        await admin.close()
