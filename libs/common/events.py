"""Every event, one frozen model each: the JSON value of a message. The envelope travels in headers (CloudEvents)."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from libs.common.settings import Environment

ResourceType = Literal["saved_query", "chart", "dashboard_chart", "query_log"]
MAX_COUNT = 2**53
SafeCount = Annotated[int, Field(ge=1, le=MAX_COUNT)]


class Event(BaseModel):
    """Unknown fields are ignored, so that a newer producer does not break an older consumer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: UUID


class ConnectorRef(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    type: str
    name: str


class TableRef(BaseModel):
    """A table as its completed, folded name parts (1 to 3: catalog, schema, table) and its quoted display."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[tuple[str, ...], Field(min_length=1, max_length=3)]
    display: str


class ColumnUse(BaseModel):
    """A column of one of the record's tables, the table by its name parts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    table: Annotated[tuple[str, ...], Field(min_length=1, max_length=3)]
    column: str


class BiQueryScraped(Event):
    """A query or chart reference seen by a collector. Its job, sync and job sequence place it in a ledger."""

    kind: Literal["bi_query"] = "bi_query"
    id: UUID
    environment: Environment = "production"
    connector: ConnectorRef
    dialect: str
    job_id: UUID | None = None
    sync_seq: NonNegativeInt | None = None
    job_seq: PositiveInt | None = None
    resource_type: ResourceType
    resource_id: Annotated[str, Field(min_length=1, max_length=1024)]
    title: str | None = None
    sql_text: str | None = None
    sql_truncated: bool = False
    executed_by: str | None = None
    executed_at: AwareDatetime | None = None
    execution_count: SafeCount = 1
    dashboard_id: str | None = None
    dashboard_title: str | None = None
    dashboard_url: str | None = None
    tables: tuple[TableRef, ...] = ()
    columns: tuple[ColumnUse, ...] = ()


class SyncCompleted(Event):
    """The closing record of a job: `count` records were sent under (`job_id`, `sync_seq`)."""

    kind: Literal["sync_completed"] = "sync_completed"
    environment: Environment = "production"
    connector: ConnectorRef
    job_id: UUID
    sync_seq: NonNegativeInt
    count: NonNegativeInt
    complete: bool


BiQueryRecord = Annotated[BiQueryScraped | SyncCompleted, Field(discriminator="kind")]


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


class AuditRecorded(Event):
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


class DeploymentRecorded(Event):
    """One state of one deployment; component and environment by id or by the sender's own reference."""

    deployment_id: UUID
    component_id: UUID | None = None
    component_ref: str | None = None
    environment_id: UUID | None = None
    environment_ref: str | None = None
    version: str | None = None
    status: Literal["PENDING", "IN_PROGRESS", "SUCCEEDED", "FAILED", "ROLLED_BACK"]
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    recorded_at: AwareDatetime
    commit_sha: str | None = None
    commit_at: AwareDatetime | None = None
    deployed_by: str | None = None
    source: str
    sequence: NonNegativeInt = 0
    is_rework: bool = False
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
