"""Every event, one frozen model each: the JSON value of a message. The envelope travels in headers (CloudEvents)."""

from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.alias_generators import to_camel

from libs.common.scraped import (
    MAX_COUNT,
    BiQueryRecord,
    BiQueryScraped,
    ColumnUse,
    ConnectorRef,
    ResourceType,
    ScrapedEvent,
    SyncCompleted,
    TableRef,
)
from libs.common.settings import Environment

__all__ = [
    "MAX_COUNT",
    "AnyEvent",
    "AuditRecorded",
    "BiQueryRecord",
    "BiQueryScraped",
    "BiQueryStored",
    "Changed",
    "ColumnUse",
    "ConnectorChanged",
    "ConnectorRef",
    "DeploymentRecorded",
    "Event",
    "OpenEvent",
    "ResourceType",
    "ScheduleRef",
    "SyncCompleted",
    "TableRef",
    "TenantChanged",
    "TrackedEventCollected",
    "UsageRecompute",
    "UserErased",
]


class Event(BaseModel):
    """Unknown fields are ignored, so that a newer producer does not break an older consumer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: UUID

    def to_json(self) -> bytes:
        """Its JSON in UTF-8, the value of a message."""
        return self.model_dump_json().encode()


AnyEvent: TypeAlias = Event | ScrapedEvent


class BiQueryStored(Event):
    """What became of a job's records at the aggregator.

    `not_retired`: a complete job would have retired references, but it held none itself, or not all of its own.
    """

    connector_id: UUID
    job_id: UUID
    sync_seq: NonNegativeInt
    state: Literal["completed", "partial"]
    received: NonNegativeInt
    upserted: NonNegativeInt
    rejected: NonNegativeInt
    retired: NonNegativeInt
    not_retired: Literal["empty", "rejected"] | None = None


class UsageRecompute(Event):
    """Refresh a space, or whatever a connector's rows touched. Exactly one of the two is set."""

    space_id: UUID | None = None
    connector_id: UUID | None = None


class Changed(Event):
    """A copy of configuration; an older version never overwrites a newer one."""

    id: UUID
    version: PositiveInt
    deleted: bool = False


class TenantChanged(Changed):
    name: str | None = None
    slug: str | None = None


class ScheduleRef(BaseModel):
    """When the collector of a connector starts by itself: five fields of cron, and an IANA time zone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cron: str
    timezone: str


class ConnectorChanged(Changed):
    """A connector with its settings sealed for (tenant, connector id); a deletion carries no settings."""

    name: str | None = None
    type: str | None = None
    environment: Environment = "production"
    counts_executions: bool = True
    sealed_settings: str | None = None
    schedule: ScheduleRef | None = None


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class OpenEvent(Event):
    """An event that the outside publishes too: its fields are read in snake case and in camel case."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class AuditRecorded(OpenEvent):
    """Who did what to which resource. `current_resource` is never present on a deletion; no field holds a secret."""

    event_id: UUID
    occurred_at: AwareDatetime
    environment: Environment = "production"
    action: str
    event_type: str
    resource_type: str
    resource_id: str
    component_id: UUID | None = None
    actor_id: str | None = None
    actor_type: Literal["user", "api_key", "recipient", "service", "unknown"] = "unknown"
    actor_username: str | None = None
    previous_resource: dict[str, Any] | None = None
    current_resource: dict[str, Any] | None = None


class DeploymentRecorded(OpenEvent):
    """One state of one deployment; component and environment by id or by the sender's own reference.

    `rolls_back_current`: the sender knows no deployment, only that the one that was current in that place is undone.
    """

    deployment_id: UUID
    component_id: UUID | None = None
    component_ref: str | None = None
    environment_id: UUID | None = None
    environment_ref: str | None = None
    version: str | None = None
    status: Annotated[Literal["PENDING", "IN_PROGRESS", "SUCCEEDED", "FAILED", "ROLLED_BACK"], BeforeValidator(_upper)]
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    recorded_at: AwareDatetime
    commit_sha: str | None = None
    commit_at: AwareDatetime | None = None
    deployed_by: str | None = None
    source: str
    sequence: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    is_rework: bool = False
    rolls_back_current: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict)


class TrackedEventCollected(Event):
    """One product-analytics event of a project's users."""

    event_id: UUID
    project_id: UUID
    device_id: str
    user_id: str | None = None
    name: str
    occurred_at: AwareDatetime
    properties: dict[str, Any] = Field(default_factory=dict)


class UserErased(Event):
    """A person to be forgotten: a recorded name, sealed for the tenant, and what stands for it from now on."""

    sealed_name: str
    pseudonym: Annotated[str, Field(pattern=r"^erased:[0-9a-f]{8,64}$")]
