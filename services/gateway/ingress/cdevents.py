"""CDEvents inside CloudEvents: what they tell of deployments, by their type without its version. Pure.

The shapes are what versions 0.1 to 0.5 of the specification have in common; what came and went is not asked for.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import unquote
from uuid import UUID

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from libs.common.events import DeploymentRecorded
from libs.common.ids import deployment_id
from services.gateway.ingress.cloudevents import CloudEvent, Invalid, Problem, moment_of
from services.gateway.ingress.reported import Ignored

PREFIX: Final = "dev.cdevents."
_TEXT: Final = {"type": "string", "minLength": 1}
_REFERENCE: Final = {"type": "object", "properties": {"id": _TEXT, "source": _TEXT}, "required": ["id"]}
_CONTEXT: Final = {
    "type": "object",
    "properties": {"id": _TEXT, "source": _TEXT, "type": _TEXT, "timestamp": _TEXT},
    "required": ["id", "source", "type", "timestamp"],
}
_SERVICE: Final = {"environment": _REFERENCE, "artifactId": _TEXT}
_RUN: Final = {"pipelineName": _TEXT, "url": _TEXT, "outcome": _TEXT, "errors": {"type": "string"}}


def _shape(content: Mapping[str, Any], *required: str) -> Draft202012Validator:
    inside = {"type": "object", "properties": content, "required": list(required)}
    subject = {"type": "object", "properties": {"id": _TEXT, "content": inside}, "required": ["id", "content"]}
    shape = {"type": "object", "properties": {"context": _CONTEXT, "subject": subject}}
    return Draft202012Validator({**shape, "required": ["context", "subject"]})


_SHAPES: Final = {
    "service.deployed": _shape(_SERVICE, "environment", "artifactId"),
    "service.upgraded": _shape(_SERVICE, "environment", "artifactId"),
    "service.rolledback": _shape(_SERVICE, "environment", "artifactId"),
    "pipelinerun.finished": _shape(_RUN),
}
_OUTCOMES: Final = {"success": "SUCCEEDED", "failure": "FAILED", "error": "FAILED"}


def deployment(event: CloudEvent, tenant: UUID) -> DeploymentRecorded | Ignored:
    """The state of a deployment that a CDEvent tells. Raises Invalid."""
    kind = ".".join(event.type.removeprefix(PREFIX).split(".")[:2])
    shape = _SHAPES.get(kind)
    if shape is None:
        return Ignored(f"only {', '.join(_SHAPES)} tell of deployments")
    _check(shape, event)
    return _of_run(event, tenant) if kind == "pipelinerun.finished" else _of_service(kind, event, tenant)


def _check(shape: Draft202012Validator, event: CloudEvent) -> None:
    error = best_match(shape.iter_errors(event.data))
    if error is not None:
        raise Invalid([Problem(_path(error), _message(error))], event.id)
    if moment_of(event.data["context"]["timestamp"]) is None:
        raise Invalid([Problem("data.context.timestamp", "must be a time with its zone as in RFC 3339")], event.id)
    if event.data["context"]["type"].split(".")[:4] != event.type.split(".")[:4]:
        raise Invalid([Problem("data.context.type", "must be the attribute `type`")], event.id)


def _path(error: ValidationError) -> str:
    return ".".join(["data", *map(str, error.absolute_path)])


def _message(error: ValidationError) -> str:
    """jsonschema's own messages quote the value."""
    if error.validator == "required":
        wanted: Any = error.validator_value
        return f"must have {', '.join(name for name in wanted if name not in cast(Any, error.instance))}"
    return "must be a text that is not empty" if error.validator_value != "object" else "must be an object"


def _of_service(kind: str, event: CloudEvent, tenant: UUID) -> DeploymentRecorded:
    subject, at = event.data["subject"], _recorded_at(event)
    artifact, undone = subject["content"]["artifactId"], kind == "service.rolledback"
    return DeploymentRecorded(
        tenant=tenant,
        deployment_id=deployment_id(tenant, event.source, event.id),
        component_ref=subject["id"],
        environment_ref=subject["content"]["environment"]["id"],
        # That of a rollback is the one gone back to, not the one that is undone.
        version=None if undone else version_of(artifact),
        status="ROLLED_BACK" if undone else "SUCCEEDED",
        finished_at=None if undone else at,
        recorded_at=at,
        source=event.source,
        rolls_back_current=undone,
        metadata={"type": event.type, "artifactId": artifact},
    )


def _of_run(event: CloudEvent, tenant: UUID) -> DeploymentRecorded | Ignored:
    """CDEvents have no place for a run's environment: it stands in `customData`, or where a service has its own."""
    subject, custom = event.data["subject"], event.data.get("customData")
    content, custom = subject["content"], custom if isinstance(custom, dict) else {}
    status = _OUTCOMES.get(content.get("outcome", "").lower())
    environment = _named(content.get("environment")) or _named(custom.get("environment"))
    component = _named(content.get("service")) or _named(custom.get("service")) or content.get("pipelineName")
    if status is None or environment is None or component is None:
        return Ignored(
            "a run tells of a deployment with outcome success, failure or error, an environment and a service"
        )
    at = _recorded_at(event)
    return DeploymentRecorded.model_validate(
        {
            "tenant": tenant,
            "deployment_id": deployment_id(tenant, event.source, subject["id"]),
            "component_ref": component,
            "environment_ref": environment,
            "status": status,
            "finished_at": at,
            "recorded_at": at,
            "source": event.source,
            "metadata": {"type": event.type, "run": subject["id"]},
        }
    )


def _recorded_at(event: CloudEvent) -> datetime:
    at = moment_of(event.data["context"]["timestamp"])
    assert at is not None
    return at


def _named(value: object) -> str | None:
    """A thing by its name, or as the object with an `id` that CDEvents write."""
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) and found else None


def version_of(artifact: str) -> str | None:
    """The version in a package URL, `pkg:oci/shop@1.2.3?arch=amd64` → `1.2.3`; None where it names none."""
    path = artifact.partition("#")[0].partition("?")[0]
    name, _, version = path.rpartition("@")
    return unquote(version) if name and version else None
