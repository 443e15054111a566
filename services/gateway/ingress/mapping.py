"""What a webhook source's owner says of the sender's names, and how a report becomes an event. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

from libs.common.event_rules import Refused, check_deployment
from libs.common.events import DeploymentRecorded
from libs.common.ids import deployment_id
from services.gateway.ingress.reported import Ignored, Malformed, Place, Reported, Status

_MOST: Final = 1000
_ANY: Final = "*"

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")
]
_STEP = r"[^.\x00-\x1f\x7f]+"
Path = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=rf"^{_STEP}(\.{_STEP})*$")]
Names = Annotated[dict[Name, Name | None], Field(max_length=_MOST)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Fields(_Model):
    """Where a payload of the kind `generic` holds what: dotted paths, in which a number is a place in a list."""

    id: Path = "id"
    component: Path = "component"
    environment: Path = "environment"
    status: Path = "status"
    version: Path = "version"
    started_at: Annotated[Path, Field(validation_alias=AliasChoices("started_at", "startedAt"))] = "startedAt"
    finished_at: Annotated[Path, Field(validation_alias=AliasChoices("finished_at", "finishedAt"))] = "finishedAt"
    recorded_at: Annotated[Path, Field(validation_alias=AliasChoices("recorded_at", "recordedAt"))] = "recordedAt"
    commit_sha: Annotated[Path, Field(validation_alias=AliasChoices("commit_sha", "commitSha"))] = "commitSha"
    commit_at: Annotated[Path, Field(validation_alias=AliasChoices("commit_at", "commitAt"))] = "commitAt"
    deployed_by: Annotated[Path, Field(validation_alias=AliasChoices("deployed_by", "deployedBy"))] = "deployedBy"


class SourceMapping(_Model):
    """The sender's names and ours. Upper and lower case are the same.

    A name that ends with `*` stands for all that begin so; the longest one counts. A name that is mapped to null is
    left out. A name that is not mapped is taken as it is: a component or environment has names of its own.
    """

    components: Annotated[
        Names, Field(description="Repository, project, application or service → name or id of a component.")
    ] = {}
    environments: Annotated[Names, Field(description="Environment → name or id of an environment.")] = {}
    fields: Annotated[Fields, Field(description="For the kind `generic` only.")] = Fields()
    statuses: Annotated[
        dict[Name, Status | None],
        Field(max_length=100, description="For the kind `generic`: the sender's word → status; null: ignored."),
    ] = {}


def found_in(names: Mapping[str, str | None], place: Place, what: str) -> str | Ignored:
    """What a place is called here. Raises Malformed where it has no name at all."""
    folded = {name.strip().lower(): ours for name, ours in names.items()}
    wanted = [name.lower() for name in place.names]
    for name in wanted:
        if name in folded:
            return _or_left_out(folded[name], what, name)
    patterns = sorted((name for name in folded if name.endswith(_ANY)), key=len, reverse=True)
    for pattern in patterns:
        if pattern == _ANY or any(name.startswith(pattern[:-1]) for name in wanted):
            return _or_left_out(folded[pattern], what, pattern)
    if place.ref is None:
        raise Malformed(f"{what}: is missing, and the source's mapping has none for `*`")
    return place.ref


def _or_left_out(ours: str | None, what: str, name: str) -> str | Ignored:
    return ours if ours is not None else Ignored(f"the source's mapping leaves out the {what} {name!r}")


def event_of(
    tenant: UUID, source: str, mapping: SourceMapping, reported: Reported, now: datetime
) -> DeploymentRecorded | Ignored:
    """The event that a report becomes. Raises Malformed for what cannot be, such as times ahead of ours."""
    component = found_in(mapping.components, reported.component, "component")
    environment = found_in(mapping.environments, reported.environment, "environment")
    if isinstance(component, Ignored):
        return component
    if isinstance(environment, Ignored):
        return environment
    event = DeploymentRecorded(
        tenant=tenant,
        deployment_id=deployment_id(tenant, source, reported.external_id),
        component_id=_id_of(component),
        component_ref=None if _id_of(component) else component,
        environment_id=_id_of(environment),
        environment_ref=None if _id_of(environment) else environment,
        version=reported.version,
        status=reported.status,
        started_at=reported.started_at,
        finished_at=reported.finished_at,
        recorded_at=reported.recorded_at,
        commit_sha=reported.commit_sha,
        commit_at=reported.commit_at,
        deployed_by=reported.deployed_by,
        source=source,
        sequence=reported.sequence,
        metadata=reported.metadata,
    )
    try:
        check_deployment(event, now)
    except Refused as refused:
        raise Malformed(str(refused)) from None
    return event


def _id_of(name: str) -> UUID | None:
    try:
        return UUID(name) if len(name) == 36 else None
    except ValueError:
        return None


def key_of(event: DeploymentRecorded) -> str:
    """Of the message: what happens in one place stays in order."""
    return f"{event.component_id or event.component_ref}:{event.environment_id or event.environment_ref}"
