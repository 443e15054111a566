"""Bodies of requests and answers of the catalogue, of deployments and of audit events."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from libs.common.event_rules import MAX_JSON_BYTES, MAX_TEXT, Refused, check_json
from services.reporting.domain import Lifecycle, Status, Tier

MAX_REFS = 50
Item = TypeVar("Item")


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must hold no NUL character")
    return text


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    try:
        check_json("value", value)
    except Refused as error:
        raise ValueError(error.rule) from None
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


_STRIPPED = StringConstraints(strip_whitespace=True, min_length=1, max_length=255)
Name = Annotated[str, _STRIPPED, AfterValidator(_storable)]
Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_storable)]
Word = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT), AfterValidator(_storable)
]
Prose = Annotated[str, Field(max_length=10_000), AfterValidator(_storable)]
Kind = Annotated[str, BeforeValidator(_lower), _STRIPPED, AfterValidator(_storable)]
Refs = Annotated[list[Name], Field(max_length=MAX_REFS)]
Json = Annotated[dict[str, Any], AfterValidator(_bounded), Field(description=f"At most {MAX_JSON_BYTES:,} bytes.")]
AnyCaseLifecycle = Annotated[Lifecycle, BeforeValidator(_lower)]
AnyCaseTier = Annotated[Tier, BeforeValidator(_lower)]
AnyCaseStatus = Annotated[Status, BeforeValidator(_upper)]
Sequence = Annotated[int, Field(ge=0, le=2**53)]


class Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    def named(self) -> dict[str, Any]:
        """The fields that the request names, as they are written."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class Page(Answer, Generic[Item]):
    """One page of a list; `nextCursor` is null on the last."""

    items: list[Item]
    next_cursor: str | None


# --- components and environments


class NewComponent(Body):
    name: Name
    kind: Annotated[Kind, Field(examples=["service", "library", "api"])] = "service"
    lifecycle: AnyCaseLifecycle = "production"
    owner: Text | None = None
    description: Prose | None = None
    refs: Annotated[Refs, Field(description="Other names under which events may speak of it.")] = Field(
        default_factory=list
    )
    metadata: Json = Field(default_factory=dict)


class Patch(Body):
    """Absent fields stay as they are; `version` is the one that was read: 409 where it is not the current one."""

    version: int | None = None

    def changes(self) -> dict[str, Any]:
        """The fields that the request names but `version`."""
        named = {name: value for name, value in self.named().items() if name != "version"}
        return {name: tuple(value) if name == "refs" else value for name, value in named.items()}


class ComponentPatch(Patch):
    name: Name = ""
    kind: Kind = ""
    lifecycle: AnyCaseLifecycle = "production"
    owner: Annotated[Text | None, Field(description="Null or empty: nobody owns it.")] = None
    description: Prose | None = None
    refs: Annotated[Refs, Field(description="All other names from now on.")] = Field(default_factory=list)
    metadata: Annotated[Json, Field(description="All metadata from now on.")] = Field(default_factory=dict)


class NewEnvironment(Body):
    name: Name
    tier: Annotated[AnyCaseTier | None, Field(description="Told from the name where it is absent.")] = None
    description: Prose | None = None
    refs: Annotated[Refs, Field(description="Other names under which events may speak of it.")] = Field(
        default_factory=list
    )


class EnvironmentPatch(Patch):
    name: Name = ""
    tier: AnyCaseTier = "other"
    description: Prose | None = None
    refs: Annotated[Refs, Field(description="All other names from now on.")] = Field(default_factory=list)


class _EntryOut(Answer):
    id: UUID
    name: str
    description: str | None
    refs: tuple[str, ...]
    version: int
    created_at: datetime
    updated_at: datetime


class ComponentOut(_EntryOut):
    kind: str
    lifecycle: Lifecycle
    owner: str | None
    metadata: dict[str, Any]


class EnvironmentOut(_EntryOut):
    tier: Tier


class ImportedOut(Answer):
    """What became of one document of an imported file."""

    document: Annotated[int, Field(description="Its place in the file, from 1.")]
    kind: str | None
    name: str | None
    outcome: Literal["created", "updated", "unchanged", "skipped", "refused"]
    component_id: UUID | None
    reason: str | None


class ImportOut(Answer):
    created: int
    updated: int
    unchanged: int
    skipped: int
    refused: int
    documents: list[ImportedOut]


# --- deployments


class _Told(Body):
    version: Text | None = None
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    commit_sha: Text | None = None
    commit_at: Annotated[AwareDatetime | None, Field(description="When the oldest change in it was committed.")] = None
    deployed_by: Text | None = None
    is_rework: bool = False
    metadata: Json = Field(default_factory=dict)


class NewDeployment(_Told):
    """One state of a deployment: told again under the same id it is the deployment's next state."""

    id: Annotated[UUID | None, Field(description="Made when absent: from `source` and `externalId` where given.")] = (
        None
    )
    external_id: Annotated[Word | None, Field(description="The sender's own id.")] = None
    component_id: UUID | None = None
    component_ref: Annotated[Word | None, Field(description="A name of the component instead of its id.")] = None
    environment_id: UUID | None = None
    environment_ref: Annotated[Word | None, Field(description="A name of the environment instead of its id.")] = None
    status: AnyCaseStatus
    recorded_at: Annotated[AwareDatetime | None, Field(description="When it came to this state; now when absent.")] = (
        None
    )
    source: Word = "api"
    sequence: Sequence = 0


class DeploymentPatch(_Told):
    """Absent fields stay as they are."""

    status: AnyCaseStatus | None = None
    sequence: Annotated[Sequence | None, Field(description="The one that was read; 409 where it has moved on.")] = None


class DeploymentOut(Answer):
    id: UUID
    component_id: UUID
    component_name: str | None
    environment_id: UUID
    environment_name: str | None
    version: str | None
    status: Status
    started_at: datetime | None
    finished_at: datetime | None
    recorded_at: datetime
    moment: Annotated[datetime, Field(description="When it counts: finished, else started, else recorded.")]
    sequence: int
    commit_sha: str | None
    commit_at: datetime | None
    deployed_by: str | None
    source: str
    is_rework: bool
    metadata: dict[str, Any]
    updated_at: datetime


class StateOut(Answer):
    event_id: UUID
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
    received_at: datetime


class DeploymentWithStatesOut(DeploymentOut):
    allowed: Annotated[list[Status], Field(description="Statuses that a PATCH may set next.")]
    states: Annotated[list[StateOut], Field(description="All that was told of it, newest first.")]


class ParkedOut(Answer):
    event_id: UUID
    deployment_id: UUID | None
    component_ref: str
    environment_ref: str
    status: Status
    version: str | None
    recorded_at: datetime
    source: str
    reason: str
    parked_at: datetime


# --- audit events


class NewAuditEvent(Body):
    """Something that happened elsewhere. Texts whose names say that they are secrets are masked."""

    event_id: Annotated[UUID | None, Field(description="The same id again changes nothing.")] = None
    occurred_at: Annotated[AwareDatetime | None, Field(description="Now when absent.")] = None
    action: Annotated[Word, BeforeValidator(_upper), Field(examples=["CREATE", "UPDATE", "DELETE"])]
    event_type: Annotated[Word | None, Field(description="`<RESOURCE TYPE>_<ACTION>` when absent.")] = None
    resource_type: Word
    resource_id: Word
    component_id: UUID | None = None
    actor_id: Annotated[Text | None, Field(description="The caller when absent.")] = None
    actor_type: Literal["user", "api_key", "recipient", "service", "unknown"] = "unknown"
    actor_username: Text | None = None
    previous_resource: Json | None = None
    current_resource: Json | None = None


class AuditEventOut(Answer):
    event_id: UUID
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
    previous_resource: Mapping[str, Any] | None
    current_resource: Mapping[str, Any] | None
