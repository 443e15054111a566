"""Audit events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from libs.common.db import Connection
from services.reporting.rows import AuditEvent

_INSERT: Final = """
INSERT INTO audit_event (
    tenant_id, id, occurred_at, environment, action, event_type, resource_type, resource_id, component_id, actor_id,
    actor_type, actor_username, previous_resource, current_resource, received_at)
SELECT *, $15::timestamptz FROM unnest(
    $1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[],
    $10::text[], $11::text[], $12::text[], $13::jsonb[], $14::jsonb[])
ON CONFLICT (tenant_id, id) DO NOTHING"""


async def insert(connection: Connection, events: Sequence[AuditEvent], now: datetime) -> None:
    """Store events; one that is stored already changes nothing."""
    columns = zip(*(_columns(each) for each in events), strict=True)
    await connection.execute(_INSERT, *columns, now)


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _columns(event: AuditEvent) -> tuple[object, ...]:
    return (
        event.tenant_id,
        event.id,
        event.occurred_at,
        event.environment,
        event.action,
        event.event_type,
        event.resource_type,
        event.resource_id,
        event.component_id,
        event.actor_id,
        event.actor_type,
        event.actor_username,
        _json(event.previous_resource),
        _json(event.current_resource),
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted; None is any. From `since`, before `until`."""

    resource_type: str | None = None
    resource_id: str | None = None
    component_id: UUID | None = None
    actor_id: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_COLUMNS: Final = """tenant_id, id, occurred_at, environment, action, event_type, resource_type, resource_id,
    component_id, actor_id, actor_type, actor_username, previous_resource, current_resource"""


async def page(
    connection: Connection, tenant: UUID, only: Filter, after: tuple[datetime, UUID] | None, limit: int
) -> list[AuditEvent]:
    """The newest first, from behind `after`."""
    conditions = {
        **{name: f"{name} = {{}}" for name in ("resource_type", "resource_id", "component_id", "actor_id", "action")},
        "since": "occurred_at >= {}",
        "until": "occurred_at < {}",
    }
    wanted = [(text, value) for field, text in conditions.items() if (value := getattr(only, field)) is not None]
    fitting = "".join(f" AND {text.format(f'${number}')}" for number, (text, _) in enumerate(wanted, 5))
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM audit_event
            WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (occurred_at, id) < ($2, $3::uuid)){fitting}
            ORDER BY occurred_at DESC, id DESC LIMIT $4""",  # noqa: S608
        tenant,
        *(after or (None, None)),
        limit,
        *(value for _, value in wanted),
    )
    return [_event(row) for row in rows]


async def find(connection: Connection, tenant: UUID, event: UUID) -> AuditEvent | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM audit_event WHERE tenant_id = $1 AND id = $2",  # noqa: S608
        tenant,
        event,
    )
    return _event(row) if row else None


def _event(row: asyncpg.Record) -> AuditEvent:
    resources = {name: row[name] and orjson.loads(row[name]) for name in ("previous_resource", "current_resource")}
    return AuditEvent(**dict(row) | resources)
