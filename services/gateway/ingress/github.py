"""GitHub's events `deployment` and `deployment_status`. Pure."""

from collections.abc import Mapping
from typing import Final

from libs.common.events import MAX_COUNT
from services.gateway.ingress.reported import (
    Ignored,
    Json,
    Malformed,
    Reading,
    Reported,
    Status,
    address_at,
    ended,
    moment_at,
    named,
    needed_text,
    text_at,
    told,
    value_at,
)

_STATES: Final[Mapping[str, Status]] = {
    "success": "SUCCEEDED",
    "failure": "FAILED",
    "error": "FAILED",
    "in_progress": "IN_PROGRESS",
    "queued": "PENDING",
    "pending": "PENDING",
    "waiting": "PENDING",
}


def deployments(event: str, payload: Json) -> Reading:
    """What a delivery tells. Raises Malformed."""
    if event == "ping":
        return Ignored("ping: the webhook works")
    if event == "deployment":
        return [_reported(payload, "PENDING", "deployment", "created_at")]
    if event != "deployment_status":
        return Ignored(f"the event {event[:50]!r} tells nothing of a deployment's state")
    state = needed_text(payload, "deployment_status.state").lower()
    if state == "inactive":
        return Ignored("inactive: superseded by another deployment, or taken down")
    if state not in _STATES:
        return Ignored(f"the state {state[:50]!r} is not known")
    return [_reported(payload, _STATES[state], "deployment_status", "updated_at")]


def _reported(payload: Json, status: Status, told_by: str, moment: str) -> Reported:
    repository = needed_text(payload, "repository.full_name")
    at = moment_at(payload, f"{told_by}.{moment}") or moment_at(payload, f"{told_by}.created_at")
    if at is None:
        raise Malformed(f"{told_by}.created_at: is missing")
    sha, ref = text_at(payload, "deployment.sha"), text_at(payload, "deployment.ref")
    sequence = value_at(payload, "deployment_status.id")
    environment = text_at(payload, "deployment_status.environment") or needed_text(payload, "deployment.environment")
    return Reported(
        external_id=f"{needed_text(payload, 'repository.id')}/{needed_text(payload, 'deployment.id')}",
        component=named(repository, repository.rpartition("/")[2]),
        environment=named(environment, text_at(payload, "deployment.original_environment")),
        status=status,
        recorded_at=at,
        started_at=moment_at(payload, "deployment.created_at"),
        finished_at=ended(status, at),
        version=ref.removeprefix("refs/tags/").removeprefix("refs/heads/") if ref and ref != sha else None,
        commit_sha=sha,
        deployed_by=_person(payload),
        # The ids of statuses rise, and their times have whole seconds only.
        sequence=sequence if isinstance(sequence, int) and 0 <= sequence <= MAX_COUNT else 0,
        metadata=_metadata(payload),
    )


def _person(payload: Json) -> str | None:
    """Who ran the workflow; a deployment that a workflow makes is its bot's."""
    paths = ("workflow_run.actor.login", "deployment.creator.login", "sender.login")
    return next(filter(None, (text_at(payload, path) for path in paths)), None)


def _metadata(payload: Json) -> dict[str, object]:
    return told(
        repository=text_at(payload, "repository.full_name"),
        task=text_at(payload, "deployment.task"),
        productionEnvironment=_flag(value_at(payload, "deployment.production_environment")),
        transientEnvironment=_flag(value_at(payload, "deployment.transient_environment")),
        url=address_at(payload, "deployment_status.target_url"),
    )


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
