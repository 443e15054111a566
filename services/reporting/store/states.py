"""States of deployments, and what follows from them: which deployment a rollback means, what each deployment is."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from libs.common.db import Connection
from services.reporting.rows import State


class Key(NamedTuple):
    """A row of a tenant."""

    tenant_id: UUID
    id: UUID


class Placed(NamedTuple):
    """A state whose component and environment are known."""

    state: State
    component_id: UUID
    environment_id: UUID


class Touched(NamedTuple):
    """A stored state: its deployment (None: whichever was current), and from when on it matters in its place."""

    tenant_id: UUID
    deployment_id: UUID | None
    component_id: UUID
    environment_id: UUID
    since: datetime


# Order of states: of several at one moment a rollback of the place is later, then the one with the higher sequence,
# then the one with the later status.
_RANK: Final = "array_position(ARRAY['PENDING', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'ROLLED_BACK'], s.status)"
NEWEST: Final = f"s.effective_at DESC, s.rolls_back_current DESC, s.sequence DESC, {_RANK} DESC, s.event_id DESC"

_INSERT: Final = """
INSERT INTO deployment_state (
    tenant_id, event_id, deployment_id, recorded_at, sequence, status, component_id, environment_id, version,
    started_at, finished_at, commit_sha, commit_at, deployed_by, source, is_rework, rolls_back_current, metadata,
    effective_at, received_at)
SELECT told.*, told.recorded_at, $19::timestamptz FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::bigint[], $6::text[], $7::uuid[], $8::uuid[], $9::text[],
    $10::timestamptz[], $11::timestamptz[], $12::text[], $13::timestamptz[], $14::text[], $15::text[], $16::boolean[],
    $17::boolean[], $18::jsonb[]) AS told (
    tenant_id, event_id, deployment_id, recorded_at, sequence, status, component_id, environment_id, version,
    started_at, finished_at, commit_sha, commit_at, deployed_by, source, is_rework, rolls_back_current, metadata)
ON CONFLICT (tenant_id, event_id) DO NOTHING
RETURNING tenant_id, deployment_id, component_id, environment_id,
    least(recorded_at, coalesce(finished_at, started_at)) AS since"""

_RESOLVE: Final = """
UPDATE deployment_state AS r SET deployment_id = t.target, effective_at = t.effective_at
FROM (
    SELECT b.tenant_id, b.event_id, undone.deployment_id AS target,
        greatest(b.recorded_at, undone.recorded_at) AS effective_at
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[])
        AS p (tenant_id, component_id, environment_id, since)
    JOIN deployment_state b ON b.tenant_id = p.tenant_id AND b.component_id = p.component_id
        AND b.environment_id = p.environment_id AND b.rolls_back_current AND b.recorded_at >= p.since
    LEFT JOIN LATERAL (
        SELECT s.deployment_id, s.recorded_at FROM deployment_state s
        WHERE s.tenant_id = b.tenant_id AND s.component_id = b.component_id AND s.environment_id = b.environment_id
          AND s.status = 'SUCCEEDED' AND NOT s.rolls_back_current
          AND coalesce(s.finished_at, s.started_at, s.recorded_at) <= b.recorded_at
        ORDER BY coalesce(s.finished_at, s.started_at, s.recorded_at) DESC, s.recorded_at DESC, s.sequence DESC,
            s.event_id DESC
        LIMIT 1) AS undone ON true
) AS t
WHERE r.tenant_id = t.tenant_id AND r.event_id = t.event_id
  AND (r.deployment_id, r.effective_at) IS DISTINCT FROM (t.target, t.effective_at)
RETURNING r.tenant_id, old.deployment_id AS before, new.deployment_id AS after"""

_TOLD: Final = "(array_agg(s.{0} ORDER BY {1}) FILTER (WHERE NOT s.rolls_back_current AND s.{0} IS NOT NULL))[1] AS {0}"


def _told(*columns: str) -> str:
    return ",\n        ".join(_TOLD.format(column, NEWEST) for column in columns)


_FOLD: Final = f"""
INSERT INTO deployment AS known (
    tenant_id, id, component_id, environment_id, version, status, started_at, finished_at, recorded_at, sequence,
    commit_sha, commit_at, deployed_by, source, is_rework, metadata, updated_at)
SELECT tenant_id, deployment_id, component_id, environment_id, version, status,
    CASE WHEN started_at > ended_at THEN NULL ELSE started_at END, ended_at, recorded_at, sequence, commit_sha,
    commit_at, deployed_by, source, is_rework, coalesce(metadata, '{{}}'), $3
FROM (
    SELECT *, CASE WHEN status NOT IN ('PENDING', 'IN_PROGRESS') THEN finished_at END AS ended_at
    FROM (
        SELECT s.tenant_id, s.deployment_id,
        (array_agg(s.status ORDER BY {NEWEST}))[1] AS status,
        (array_agg(s.recorded_at ORDER BY {NEWEST}))[1] AS recorded_at,
        (array_agg(s.sequence ORDER BY {NEWEST}))[1] AS sequence,
        {_told("component_id", "environment_id", "version", "started_at", "finished_at")},
        {_told("commit_sha", "commit_at", "deployed_by", "source")},
        (array_agg(s.metadata ORDER BY {NEWEST}) FILTER (WHERE NOT s.rolls_back_current AND s.metadata <> '{{}}'))[1]
            AS metadata,
        bool_or(s.is_rework AND NOT s.rolls_back_current) AS is_rework
        FROM unnest($1::uuid[], $2::uuid[]) AS d (tenant_id, id)
        JOIN deployment_state s ON s.tenant_id = d.tenant_id AND s.deployment_id = d.id
        GROUP BY s.tenant_id, s.deployment_id
    ) AS latest
) AS folded
ON CONFLICT (tenant_id, id) DO UPDATE SET
    component_id = excluded.component_id, environment_id = excluded.environment_id, version = excluded.version,
    status = excluded.status, started_at = excluded.started_at, finished_at = excluded.finished_at,
    recorded_at = excluded.recorded_at, sequence = excluded.sequence, commit_sha = excluded.commit_sha,
    commit_at = excluded.commit_at, deployed_by = excluded.deployed_by, source = excluded.source,
    is_rework = excluded.is_rework, metadata = excluded.metadata, updated_at = excluded.updated_at
WHERE (known.component_id, known.environment_id, known.version, known.status, known.started_at, known.finished_at,
    known.recorded_at, known.sequence, known.commit_sha, known.commit_at, known.deployed_by, known.source,
    known.is_rework, known.metadata)
  IS DISTINCT FROM (excluded.component_id, excluded.environment_id, excluded.version, excluded.status,
    excluded.started_at, excluded.finished_at, excluded.recorded_at, excluded.sequence, excluded.commit_sha,
    excluded.commit_at, excluded.deployed_by, excluded.source, excluded.is_rework, excluded.metadata)"""  # noqa: S608


async def insert(connection: Connection, placed: Sequence[Placed], now: datetime) -> list[Touched]:
    """Store states; those that were not known yet. The caller holds the tenants."""
    columns = zip(*(_columns(each) for each in placed), strict=True)
    rows = await connection.fetch(_INSERT, *columns, now)
    return [Touched(*row) for row in rows]


def _columns(placed: Placed) -> tuple[object, ...]:
    state = placed.state
    return (
        state.tenant_id,
        state.event_id,
        state.deployment_id,
        state.recorded_at,
        state.sequence,
        state.status,
        placed.component_id,
        placed.environment_id,
        state.version,
        state.started_at,
        state.finished_at,
        state.commit_sha,
        state.commit_at,
        state.deployed_by,
        state.source,
        state.is_rework,
        state.rolls_back_current,
        orjson.dumps(state.metadata).decode(),
    )


async def resolve_rollbacks(connection: Connection, touched: Iterable[Touched]) -> set[Key]:
    """Find anew what was current when a place was rolled back; the deployments that were meant before or are now."""
    since: dict[tuple[UUID, UUID, UUID], datetime] = {}
    for each in touched:
        place = each.tenant_id, each.component_id, each.environment_id
        since[place] = min(each.since, since.get(place, each.since))
    columns = zip(*((*place, moment) for place, moment in since.items()), strict=True)
    rows: Sequence[asyncpg.Record] = await connection.fetch(_RESOLVE, *columns)
    meant = [(row["tenant_id"], found) for row in rows for found in (row["before"], row["after"])]
    return {Key(tenant, found) for tenant, found in meant if found is not None}


async def fold(connection: Connection, deployments: Collection[Key], now: datetime) -> None:
    """Make of each deployment what its states say. Nothing is written where nothing changes."""
    if deployments:
        tenants, ids = zip(*deployments, strict=True)
        await connection.execute(_FOLD, tenants, ids, now)


async def known(connection: Connection, states: Iterable[State]) -> set[UUID]:
    """Ids of those of these events that are stored already."""
    pairs = [(state.tenant_id, state.event_id) for state in states]
    if not pairs:
        return set()
    rows = await connection.fetch(
        """SELECT s.event_id FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant_id, event_id)
           JOIN deployment_state s ON s.tenant_id = w.tenant_id AND s.event_id = w.event_id""",
        *zip(*pairs, strict=True),
    )
    return {row["event_id"] for row in rows}
