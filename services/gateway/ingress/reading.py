"""From a CloudEvent to the event that is published: what its sender may leave out is completed. Pure."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import ValidationError
from pydantic.alias_generators import to_camel, to_snake

from libs.common.envelope import event_type
from libs.common.errors import Forbidden
from libs.common.event_docs import event_types
from libs.common.event_rules import Refused, check_audit, check_deployment, check_time
from libs.common.events import AuditRecorded, DeploymentRecorded, OpenEvent
from libs.common.ids import audit_event_id, deployment_id
from libs.common.settings import Environment
from libs.common.topics import ALL_TOPICS, AUDIT_RECORDED, DEPLOYMENT_RECORDED, Topic
from services.gateway.ingress import cdevents, quick
from services.gateway.ingress.cloudevents import CloudEvent, Invalid, Problem
from services.gateway.ingress.reported import Ignored

M = TypeVar("M", bound=OpenEvent)
_TOPICS: Final[Mapping[str, Topic]] = {name: topic for topic in ALL_TOPICS for name in event_types(topic)}
_DEPLOYMENT: Final = event_type(DeploymentRecorded)
_AUDIT: Final = event_type(AuditRecorded)
_ROLES: Final = ", ".join(dict.fromkeys(role for topic in ALL_TOPICS for role in topic.outside.roles))
OPEN_TYPES: Final = ", ".join(name for name, topic in _TOPICS.items() if "events" in topic.outside.ways)


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom an event belongs to: what the token says, whatever the event says."""

    tenant: UUID
    environment: Environment
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reading:
    """An event to be published: the message's key and value, and the `type` of its envelope."""

    topic: Topic
    key: str
    type: str
    value: bytes


def admitted(roles: frozenset[str]) -> None:
    """Raises Forbidden for somebody who may publish nothing."""
    if not any(topic.outside.admits("events", roles) for topic in ALL_TOPICS):
        raise Forbidden(f"To publish events, use a token or an API key with one of the roles {_ROLES}.")


def read(event: CloudEvent, sender: Sender, now: datetime) -> Reading | Ignored:
    """What is published of an event. Raises Invalid."""
    try:
        check_time("time", event.time, now)
    except Refused as refused:
        raise Invalid([Problem("time", refused.rule)], event.id) from None
    try:
        return _read(event, sender, now)
    except Refused as refused:
        raise Invalid([Problem(_place(refused.field, event.data), refused.rule)], event.id) from None
    except ValidationError as error:
        raise Invalid(_problems(error, event.data), event.id) from None


def _read(event: CloudEvent, sender: Sender, now: datetime) -> Reading | Ignored:
    if event.type.startswith(cdevents.PREFIX):
        _admit(DEPLOYMENT_RECORDED, sender, event)
        told = cdevents.deployment(event, sender.tenant)
        return told if isinstance(told, Ignored) else _deployment(told, now)
    topic = _TOPICS.get(event.type)
    if topic is None:
        raise Invalid([Problem("type", f"must be one of {OPEN_TYPES}, or of CDEvents")], event.id)
    _admit(topic, sender, event)
    if topic is DEPLOYMENT_RECORDED and (found := quick.deployment(event, sender.tenant, now)) is not None:
        return Reading(topic, found[0], _DEPLOYMENT, found[1])
    if topic is AUDIT_RECORDED:
        return _audit(_audit_of(event, sender, now), now)
    return _deployment(_deployment_of(event, sender, now), now)


def _admit(topic: Topic, sender: Sender, event: CloudEvent) -> None:
    if not topic.outside.admits("events", sender.roles):
        roles = " or ".join(topic.outside.roles)
        needs = f"needs a token with the role {roles}" if roles else "cannot be published from outside"
        raise Invalid([Problem("type", needs)], event.id)


def _deployment(event: DeploymentRecorded, now: datetime) -> Reading:
    check_deployment(event, now)
    key = f"{event.component_id or event.component_ref}:{event.environment_id or event.environment_ref}"
    return Reading(DEPLOYMENT_RECORDED, key, _DEPLOYMENT, event.to_json())


def _audit(event: AuditRecorded, now: datetime) -> Reading:
    check_audit(event, now)
    return Reading(AUDIT_RECORDED, event.resource_id, _AUDIT, event.to_json())


def _deployment_of(event: CloudEvent, sender: Sender, now: datetime) -> DeploymentRecorded:
    given = _fields(DeploymentRecorded, event, sender)
    if given.get("source") in (None, ""):
        given["source"] = event.source
    given.setdefault("recorded_at", event.time or now)
    if given.get("deployment_id") is None:
        given["deployment_id"] = _told_id(event, sender.tenant, str(given["source"]))
    return DeploymentRecorded.model_validate(given)


def _told_id(event: CloudEvent, tenant: UUID, source: str) -> UUID:
    """By the sender's own id; the attribute `subject` may hold either that or ours."""
    external = event.data.get("externalId", event.data.get("external_id"))
    if external is not None and not isinstance(external, (str, int)):
        raise Refused("external_id", "must be a text")
    if external is None:
        if event.subject is None:
            raise Refused("deployment_id", "give a UUID, or `externalId` or the attribute `subject`")
        with suppress(ValueError):
            return UUID(event.subject)
    return deployment_id(tenant, source, str(external if external is not None else event.subject))


def _audit_of(event: CloudEvent, sender: Sender, now: datetime) -> AuditRecorded:
    given = _fields(AuditRecorded, event, sender)
    if given.setdefault("environment", sender.environment) != sender.environment:
        raise Refused("environment", "belongs to the token: leave it out")
    given.setdefault("occurred_at", event.time or now)
    given.setdefault("event_id", audit_event_id(sender.tenant, event.source, event.id))
    given.setdefault("event_type", f"{given.get('resource_type')}_{given.get('action')}".upper())
    if given.get("action") == "DELETE":
        given.pop("current_resource", None)
    return AuditRecorded.model_validate(given)


def _fields(model: type[M], event: CloudEvent, sender: Sender) -> dict[str, Any]:
    """The fields of a model that the data names in either spelling, and the tenant of the token."""
    names, given = _spellings(model), dict[str, Any]()
    for spelling, value in event.data.items():
        name = names.get(spelling)
        if name in given:
            raise Refused(name, "is given in two spellings")
        if name is not None and value is not None:
            given[name] = value
    if str(given.get("tenant", sender.tenant)).lower() != str(sender.tenant):
        raise Refused("tenant", "belongs to the token: leave it out")
    return given | {"tenant": sender.tenant}


@cache
def _spellings(model: type[OpenEvent]) -> Mapping[str, str]:
    return {spelling: name for name in model.model_fields for spelling in (name, to_camel(name))}


def _problems(error: ValidationError, data: Mapping[str, Any]) -> list[Problem]:
    """Field by field, without any value."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [Problem(_place(str(each["loc"][0]), data, each["loc"][1:]), str(each["msg"])) for each in found[:20]]


def _place(field: str, data: Mapping[str, Any], inside: tuple[int | str, ...] = ()) -> str:
    """A field as its sender spells it."""
    snake = to_snake(field)
    spelled = snake if snake in data or any("_" in name for name in data) else to_camel(snake)
    return ".".join(["data", spelled, *map(str, inside)])
