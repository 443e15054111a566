"""From an event to what is stored of it: its ids, folded references, clamped times. Pure."""

from datetime import datetime
from hashlib import blake2b
from uuid import UUID

from libs.common.event_rules import check_audit, check_deployment
from libs.common.events import AuditRecorded, DeploymentRecorded
from libs.common.ids import named_uuid
from services.reporting.domain import clamped, folded, without_secrets
from services.reporting.rows import AuditEvent, State


def event_id(tenant: UUID, source: str, sent_id: str) -> UUID:
    """What one event of one sender is known by."""
    return named_uuid(tenant.bytes + f"event\n{source}\n{sent_id}".encode())


def digest_id(event: DeploymentRecorded) -> UUID:
    """The same for an event that came without an id: what it says is all that it is known by."""
    return event_id(event.tenant, "", blake2b(event.to_json(), digest_size=16).hexdigest())


def _place(given: UUID | None, ref: str | None) -> str:
    return str(given) if given else folded(ref or "")


def state_of(event: DeploymentRecorded, known_by: UUID, now: datetime) -> State:
    """What is stored of an event. Raises Refused."""
    check_deployment(event, now)
    recorded_at = clamped(event.recorded_at, now)
    assert recorded_at is not None
    return State(
        tenant_id=event.tenant,
        event_id=known_by,
        deployment_id=None if event.rolls_back_current else event.deployment_id,
        component_ref=_place(event.component_id, event.component_ref),
        environment_ref=_place(event.environment_id, event.environment_ref),
        status=event.status,
        recorded_at=recorded_at,
        sequence=event.sequence,
        version=event.version or None,
        started_at=clamped(event.started_at, now),
        finished_at=clamped(event.finished_at, now),
        commit_sha=event.commit_sha or None,
        commit_at=clamped(event.commit_at, now),
        deployed_by=event.deployed_by or None,
        source=event.source,
        is_rework=event.is_rework,
        rolls_back_current=event.rolls_back_current,
        metadata=event.metadata,
    )


def audit_event_of(event: AuditRecorded, now: datetime) -> AuditEvent:
    """What is stored of an event: without secrets, and without a resource that is no more. Raises Refused."""
    check_audit(event, now)
    occurred_at = clamped(event.occurred_at, now)
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
        component_id=event.component_id or _component(event),
        actor_id=event.actor_id or None,
        actor_type=event.actor_type,
        actor_username=event.actor_username or None,
        previous_resource=without_secrets(event.previous_resource),
        current_resource=without_secrets(current),
    )


def _component(event: AuditRecorded) -> UUID | None:
    """A change of a component is about that component."""
    try:
        return UUID(event.resource_id) if event.resource_type == "component" else None
    except ValueError:
        return None
