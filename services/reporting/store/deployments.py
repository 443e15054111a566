"""Deployments as they are read: one, a page, with their states."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from libs.common.db import Connection
from libs.common.errors import NotFound
from services.reporting.domain import Status
from services.reporting.store.states import NEWEST

MOST_STATES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Told:
    """What a state and a deployment have in common."""

    status: Status
    recorded_at: datetime
    sequence: int
    version: str | None
    started_at: datetime | None
    finished_at: datetime | None
    commit_sha: str | None
    commit_at: datetime | None
    deployed_by: str | None
    source: str
    is_rework: bool
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment(Told):
    """What became of a deployment so far."""

    id: UUID
    component_id: UUID
    component_name: str | None
    environment_id: UUID
    environment_name: str | None
    moment: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoredState(Told):
    """One state that was told."""

    event_id: UUID
    rolls_back_current: bool
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deployments are wanted; None is any. Moments from `since`, before `until`."""

    component_id: UUID | None = None
    environment_id: UUID | None = None
    status: Status | None = None
    since: datetime | None = None
    until: datetime | None = None


_CONDITIONS: Final = {
    "component_id": "d.component_id = {}",
    "environment_id": "d.environment_id = {}",
    "status": "d.status = {}",
    "since": "d.moment >= {}",
    "until": "d.moment < {}",
}
_SELECT: Final = """
SELECT d.id, d.component_id, c.name AS component_name, d.environment_id, e.name AS environment_name, d.version,
    d.status, d.started_at, d.finished_at, d.recorded_at, d.moment, d.sequence, d.commit_sha, d.commit_at,
    d.deployed_by, d.source, d.is_rework, d.metadata, d.updated_at
FROM deployment d
LEFT JOIN component c ON c.tenant_id = d.tenant_id AND c.id = d.component_id
LEFT JOIN environment e ON e.tenant_id = d.tenant_id AND e.id = d.environment_id
WHERE d.tenant_id = $1"""


def _values(row: asyncpg.Record) -> dict[str, Any]:
    return dict(row) | {"metadata": orjson.loads(row["metadata"])}


async def find(connection: Connection, tenant: UUID, deployment: UUID) -> Deployment | None:
    row = await connection.fetchrow(f"{_SELECT} AND d.id = $2", tenant, deployment)
    return Deployment(**_values(row)) if row else None


async def get(connection: Connection, tenant: UUID, deployment: UUID) -> Deployment:
    """404 where the tenant has none of this id."""
    found = await find(connection, tenant, deployment)
    if found is None:
        raise NotFound("No deployment with this id.")
    return found


async def page(
    connection: Connection, tenant: UUID, only: Filter, after: tuple[datetime, UUID] | None, limit: int
) -> list[Deployment]:
    """The newest first, from behind `after`."""
    wanted = [(text, value) for field, text in _CONDITIONS.items() if (value := getattr(only, field)) is not None]
    fitting = "".join(f" AND {text.format(f'${number}')}" for number, (text, _) in enumerate(wanted, 5))
    rows = await connection.fetch(
        f"""{_SELECT} AND ($2::timestamptz IS NULL OR (d.moment, d.id) < ($2, $3::uuid)){fitting}
            ORDER BY d.moment DESC, d.id DESC LIMIT $4""",
        tenant,
        *(after or (None, None)),
        limit,
        *(value for _, value in wanted),
    )
    return [Deployment(**_values(row)) for row in rows]


async def states(connection: Connection, tenant: UUID, deployment: UUID) -> list[StoredState]:
    """All that was told of it, the newest first."""
    rows = await connection.fetch(
        f"""SELECT event_id, status, recorded_at, sequence, version, started_at, finished_at, commit_sha, commit_at,
                deployed_by, source, is_rework, rolls_back_current, metadata, received_at
            FROM deployment_state s WHERE s.tenant_id = $1 AND s.deployment_id = $2
            ORDER BY {NEWEST} LIMIT {MOST_STATES}""",  # noqa: S608
        tenant,
        deployment,
    )
    return [StoredState(**_values(row)) for row in rows]
