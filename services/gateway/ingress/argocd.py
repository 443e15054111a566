"""Argo CD's notifications, by the template in docs/webhooks.md: an application as Argo CD itself shapes it. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from services.gateway.ingress.reported import (
    Ignored,
    Json,
    Place,
    Reading,
    Reported,
    Status,
    ended,
    moment_at,
    needed_text,
    text_at,
    told,
    value_at,
)

_STATE: Final = "app.status.operationState"
_SYNC: Final = f"{_STATE}.operation.sync"
_PHASES: Final[Mapping[str, Status]] = {"running": "IN_PROGRESS", "failed": "FAILED", "error": "FAILED"}
# What breaks later is an incident, and not the failure of that deployment.
_BLAMED: Final = timedelta(hours=1)


def deployments(payload: Json, now: datetime) -> Reading:
    """What a notification tells; `now` stands for when it was written, where it does not say. Raises Malformed."""
    heals = value_at(payload, f"{_SYNC}.autoHealAttemptsCount")
    if isinstance(heals, int) and heals > 0:
        return Ignored("a self-heal: the same revision as before")
    phase = needed_text(payload, f"{_STATE}.phase").lower()
    if phase == "succeeded":
        return _rolled_out(payload, moment_at(payload, "notifiedAt") or now)
    if phase not in _PHASES:
        return Ignored(f"the phase {phase[:50]!r} decides nothing")
    began, ended_at = moment_at(payload, f"{_STATE}.startedAt"), moment_at(payload, f"{_STATE}.finishedAt")
    return [_reported(payload, _PHASES[phase], ended_at or began or now)]


def _rolled_out(payload: Json, written: datetime) -> Reading:
    """A sync that succeeded: what its health says decides whether the deployment did."""
    health = (text_at(payload, "app.status.health.status") or "").lower()
    synced = moment_at(payload, f"{_STATE}.finishedAt") or written
    changed = moment_at(payload, "app.status.health.lastTransitionTime")
    if health == "healthy":
        return [_reported(payload, "SUCCEEDED", max(synced, changed or written))]
    if health != "degraded":
        return [_reported(payload, "IN_PROGRESS", synced)]
    # Degraded since before the sync: whether it heals will show.
    at = changed if changed and changed > synced else max(synced, written)
    if at - synced > _BLAMED:
        return Ignored("degraded long after the deployment: an incident, not its failure")
    return [_reported(payload, "FAILED", at)]


def _reported(payload: Json, status: Status, at: datetime) -> Reported:
    name = needed_text(payload, "app.metadata.name")
    project = text_at(payload, "app.spec.project")
    began = moment_at(payload, f"{_STATE}.startedAt")
    revision = _revision(payload)
    one = began.isoformat() if began else revision or needed_text(payload, f"{_STATE}.startedAt")
    return Reported(
        external_id=f"{text_at(payload, 'app.metadata.namespace') or ''}/{name}/{one}",
        component=Place(name, (f"{project}/{name}", name) if project else (name,)),
        environment=_environment(payload),
        status=status,
        recorded_at=at,
        started_at=began,
        finished_at=ended(status, at),
        version=text_at(payload, "app.spec.source.targetRevision"),
        commit_sha=revision,
        deployed_by=text_at(payload, f"{_STATE}.operation.initiatedBy.username"),
        metadata=told(application=name, project=project, health=text_at(payload, "app.status.health.status")),
    )


def _revision(payload: Json) -> str | None:
    """What was deployed; what was asked for; what the application should be at."""
    deployed = (f"{_STATE}.syncResult.revision", f"{_STATE}.syncResult.revisions.0", f"{_SYNC}.revision")
    paths = (*deployed, "app.status.sync.revision", "app.status.sync.revisions.0")
    return next(filter(None, (text_at(payload, path) for path in paths)), None)


def _environment(payload: Json) -> Place:
    """The namespace it goes to; `cluster/namespace` and the cluster may be mapped as well."""
    target = "app.spec.destination"
    namespace = needed_text(payload, f"{target}.namespace")
    cluster = text_at(payload, f"{target}.name") or text_at(payload, f"{target}.server")
    return Place(namespace, (f"{cluster}/{namespace}", namespace, cluster) if cluster else (namespace,))
