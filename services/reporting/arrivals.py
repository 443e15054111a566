"""From an event to what is stored of it: ids, checked and clamped times, bounded texts. Pure."""

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

import orjson

from libs.common.events import AuditRecorded, DeploymentRecorded
from libs.common.ids import named_uuid
from services.reporting.domain import Refused, believed, check_order, folded, holds_nul, without_secrets
from services.reporting.rows import AuditEvent, State

MAX_TEXT: Final = 1024
MAX_JSON_BYTES: Final = 65_536
_MAX_SEQUENCE: Final = 2**63 - 1
# All that go into rows as they are.
_TEXTS: Final = ("component_ref", "environment_ref", "version", "commit_sha", "deployed_by", "source")
_AUDIT_TEXTS: Final = (
    "action",
    "event_type",
    "resource_type",
    "resource_id",
    "actor_id",
    "actor_username",
)


def event_id(tenant: UUID, source: str, sent_id: str) -> UUID:
    """What one event of one sender is known by."""
    return named_uuid(tenant.bytes + f"event\n{source}\n{sent_id}".encode())


def digest_id(event: DeploymentRecorded) -> UUID:
    """The same for an event that came without an id: what it says is all that it is known by."""
    return event_id(event.tenant, "", blake2b(event.to_json(), digest_size=16).hexdigest())


def _place(field: str, given: UUID | None, ref: str | None) -> str:
    named = str(given) if given else folded(ref or "")
    if not named:
        raise Refused(f"{field}_id", f"name it, or {field}_ref")
    return named


def check_texts(values: Iterable[tuple[str, str | None]]) -> None:
    """Raises Refused for a text that is too long or holds what the database cannot store."""
    for field, text in values:
        if text is not None and len(text) > MAX_TEXT:
            raise Refused(field, f"is longer than {MAX_TEXT:,} characters")
        if text is not None and "\0" in text:
            raise Refused(field, "holds a NUL character")


def check_json(field: str, value: dict[str, Any] | None) -> None:
    """Raises Refused for an object that is too large or holds what the database cannot store."""
    if not value:
        return
    if holds_nul(value):
        raise Refused(field, "holds a NUL character")
    try:
        size = len(orjson.dumps(value))
    except (TypeError, orjson.JSONEncodeError):
        raise Refused(field, "holds numbers beyond 64 bits or is nested too deeply") from None
    if size > MAX_JSON_BYTES:
        raise Refused(field, f"is larger than {MAX_JSON_BYTES:,} bytes")


def state_of(event: DeploymentRecorded, known_by: UUID, now: datetime) -> State:
    """What is stored of an event. Raises Refused."""
    check_texts((field, getattr(event, field)) for field in _TEXTS)
    check_json("metadata", event.metadata)
    if event.sequence > _MAX_SEQUENCE:
        raise Refused("sequence", "is beyond 64 bits")
    if event.rolls_back_current and event.status != "ROLLED_BACK":
        raise Refused("rolls_back_current", "its status is ROLLED_BACK")
    check_order(event.started_at, event.finished_at)
    recorded_at = believed("recorded_at", event.recorded_at, now)
    assert recorded_at is not None
    return State(
        tenant_id=event.tenant,
        event_id=known_by,
        deployment_id=None if event.rolls_back_current else event.deployment_id,
        component_ref=_place("component", event.component_id, event.component_ref),
        environment_ref=_place("environment", event.environment_id, event.environment_ref),
        status=event.status,
        recorded_at=recorded_at,
        sequence=event.sequence,
        version=event.version or None,
        started_at=believed("started_at", event.started_at, now),
        finished_at=believed("finished_at", event.finished_at, now),
        commit_sha=event.commit_sha or None,
        commit_at=believed("commit_at", event.commit_at, now),
        deployed_by=event.deployed_by or None,
        source=event.source,
        is_rework=event.is_rework,
        rolls_back_current=event.rolls_back_current,
        metadata=event.metadata,
    )


def audit_event_of(event: AuditRecorded, now: datetime) -> AuditEvent:
    """What is stored of an event: without secrets, and without a resource that is no more. Raises Refused."""
    check_texts((field, getattr(event, field)) for field in _AUDIT_TEXTS)
    check_json("previous_resource", event.previous_resource)
    check_json("current_resource", event.current_resource)
    occurred_at = believed("occurred_at", event.occurred_at, now)
    assert occurred_at is not None
    current = None if event.action == "DELETE" else event.current_resource
    return AuditEvent(
        tenant_id=event.tenant,
        id=event.event_id,
        occurred_at=occurred_at,
        environment=event.environment,
        action=event.action,
        event_type=event.event_type,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        component_id=event.component_id,
        actor_id=event.actor_id or None,
        actor_type=event.actor_type,
        actor_username=event.actor_username or None,
        previous_resource=without_secrets(event.previous_resource),
        current_resource=without_secrets(current),
    )
