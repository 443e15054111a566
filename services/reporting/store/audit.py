"""Audit events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

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
