"""GitLab's deployment events. Pure."""

import re
from collections.abc import Mapping
from typing import Final

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
)

_STATUSES: Final[Mapping[str, Status]] = {
    "created": "PENDING",
    "running": "IN_PROGRESS",
    "success": "SUCCEEDED",
    "failed": "FAILED",
}
# Nobody found out whether what was canceled would have worked; the others wait for an approval, or got one.
_UNDECIDED: Final = frozenset({"canceled", "skipped", "blocked", "approved", "rejected"})
_COMMIT: Final = re.compile(r"/commit/([0-9a-f]{40}|[0-9a-f]{64})$")


def deployments(payload: Json) -> Reading:
    """What a delivery tells. Raises Malformed."""
    kind = text_at(payload, "object_kind")
    if kind != "deployment":
        return Ignored(f"the event {(kind or 'without a kind')[:50]!r} tells nothing of a deployment's state")
    status = needed_text(payload, "status").lower()
    if status in _UNDECIDED:
        return Ignored(f"{status}: decides nothing about the deployment")
    if status not in _STATUSES:
        return Ignored(f"the status {status[:50]!r} is not known")
    return [_reported(payload, _STATUSES[status])]


def _reported(payload: Json, status: Status) -> Reported:
    at = moment_at(payload, "status_changed_at")
    if at is None:
        raise Malformed("status_changed_at: is missing")
    project = needed_text(payload, "project.path_with_namespace")
    return Reported(
        external_id=f"{needed_text(payload, 'project.id')}/{needed_text(payload, 'deployment_id')}",
        component=named(project, project.rpartition("/")[2]),
        environment=named(needed_text(payload, "environment"), text_at(payload, "environment_slug")),
        status=status,
        recorded_at=at,
        # Only the event `running` knows when it began; the receiver keeps that.
        started_at=at if status == "IN_PROGRESS" else None,
        finished_at=ended(status, at),
        version=text_at(payload, "ref"),
        commit_sha=_commit(payload),
        deployed_by=text_at(payload, "user.username"),
        metadata=told(
            project=project,
            environmentTier=text_at(payload, "environment_tier"),
            url=address_at(payload, "deployable_url"),
        ),
    )


def _commit(payload: Json) -> str | None:
    """The whole id stands in the address only."""
    found = _COMMIT.search(text_at(payload, "commit_url") or "")
    return found[1] if found else text_at(payload, "short_sha")
