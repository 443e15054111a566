"""States of deployments whose component or environment nobody has made yet."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from libs.common.db import Connection
from services.reporting.rows import State

_STATE: Final = TypeAdapter(State)


@dataclass(frozen=True, slots=True)
class Parked:
    """A parked state and which part of its place is known by now."""

    state: State
    parked_at: datetime
    has_component: bool
    has_environment: bool


async def park(connection: Connection, states: Sequence[State], now: datetime) -> None:
    """Keep them until their places are known."""
    await connection.execute(
        """INSERT INTO parked_deployment (tenant_id, event_id, component_ref, environment_ref, state, parked_at)
           SELECT *, $6::timestamptz FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::jsonb[])
           ON CONFLICT (tenant_id, event_id) DO NOTHING""",
        [each.tenant_id for each in states],
        [each.event_id for each in states],
        [each.component_ref for each in states],
        [each.environment_ref for each in states],
        [_STATE.dump_json(each).decode() for each in states],
        now,
    )


async def due_tenants(connection: Connection) -> list[UUID]:
    """Tenants with parked states whose places are known."""
    rows = await connection.fetch(
        """SELECT DISTINCT p.tenant_id FROM parked_deployment p
           JOIN component_ref c ON c.tenant_id = p.tenant_id AND c.ref = p.component_ref
           JOIN environment_ref e ON e.tenant_id = p.tenant_id AND e.ref = p.environment_ref"""
    )
    return [row["tenant_id"] for row in rows]


async def due(connection: Connection, tenant: UUID, limit: int) -> list[State]:
    """States of a tenant whose places are known, oldest first."""
    rows = await connection.fetch(
        """SELECT p.state FROM parked_deployment p
           JOIN component_ref c ON c.tenant_id = p.tenant_id AND c.ref = p.component_ref
           JOIN environment_ref e ON e.tenant_id = p.tenant_id AND e.ref = p.environment_ref
           WHERE p.tenant_id = $1 ORDER BY p.parked_at, p.event_id LIMIT $2""",
        tenant,
        limit,
    )
    return [_STATE.validate_json(row["state"]) for row in rows]


async def unpark(connection: Connection, tenant: UUID, events: Collection[UUID]) -> None:
    await connection.execute(
        "DELETE FROM parked_deployment WHERE tenant_id = $1 AND event_id = ANY($2::uuid[])", tenant, events
    )


async def forget(connection: Connection, parked_until: datetime, limit: int) -> int:
    """Give up states of all tenants that have waited for too long, some at a time; how many."""
    done: str = await connection.execute(
        """DELETE FROM parked_deployment WHERE ctid = ANY(ARRAY(
               SELECT ctid FROM parked_deployment WHERE parked_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))""",
        parked_until,
        limit,
    )
    return int(done.removeprefix("DELETE "))


async def page(connection: Connection, tenant: UUID, after: tuple[datetime, UUID] | None, limit: int) -> list[Parked]:
    """Oldest first, from behind `after`."""
    rows = await connection.fetch(
        """SELECT p.state, p.parked_at, c.ref IS NOT NULL AS has_component, e.ref IS NOT NULL AS has_environment
           FROM parked_deployment p
           LEFT JOIN component_ref c ON c.tenant_id = p.tenant_id AND c.ref = p.component_ref
           LEFT JOIN environment_ref e ON e.tenant_id = p.tenant_id AND e.ref = p.environment_ref
           WHERE p.tenant_id = $1 AND ($2::timestamptz IS NULL OR (p.parked_at, p.event_id) > ($2, $3::uuid))
           ORDER BY p.parked_at, p.event_id LIMIT $4""",
        tenant,
        *(after or (None, None)),
        limit,
    )
    return [
        Parked(_STATE.validate_json(row["state"]), row["parked_at"], row["has_component"], row["has_environment"])
        for row in rows
    ]
