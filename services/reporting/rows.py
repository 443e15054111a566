"""What is written at once: states of deployments and audit events, checked and with their ids."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.reporting.domain import Status


@dataclass(frozen=True, slots=True)
class State:
    """One state of one deployment, as it is stored or parked. Refs are folded; an id is a ref too.

    `deployment_id` is None where the sender knows a place only: `rolls_back_current`.
    """

    tenant_id: UUID
    event_id: UUID
    deployment_id: UUID | None
    component_ref: str
    environment_ref: str
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
    rolls_back_current: bool
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what to which resource."""

    tenant_id: UUID
    id: UUID
    occurred_at: datetime
    environment: str
    action: str
    event_type: str
    resource_type: str
    resource_id: str
    component_id: UUID | None
    actor_id: str | None
    actor_type: str
    actor_username: str | None
    previous_resource: dict[str, Any] | None
    current_resource: dict[str, Any] | None
