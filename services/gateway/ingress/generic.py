"""Payloads of any other sender: the source says where they hold what. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from services.gateway.ingress.mapping import SourceMapping
from services.gateway.ingress.reported import (
    FINISHED,
    Ignored,
    Json,
    Reading,
    Reported,
    Status,
    moment_at,
    named,
    needed_text,
    text_at,
)

# Words that need no table of one's own.
_USUAL: Final[Mapping[str, Status]] = {
    "pending": "PENDING",
    "queued": "PENDING",
    "in_progress": "IN_PROGRESS",
    "running": "IN_PROGRESS",
    "started": "IN_PROGRESS",
    "succeeded": "SUCCEEDED",
    "success": "SUCCEEDED",
    "failed": "FAILED",
    "failure": "FAILED",
    "error": "FAILED",
    "rolled_back": "ROLLED_BACK",
}


def deployments(payload: Json, mapping: SourceMapping, now: datetime) -> Reading:
    """What a delivery tells; it was recorded `now` where it does not say when. Raises Malformed."""
    at = mapping.fields
    word = needed_text(payload, at.status).lower()
    words: dict[str, Status | None] = {**_USUAL, **{name.lower(): status for name, status in mapping.statuses.items()}}
    status = words.get(word)
    if status is None:
        known = "leaves out" if word in words else "does not know"
        return Ignored(f"the source {known} the status {word[:50]!r}")
    started, finished = moment_at(payload, at.started_at), moment_at(payload, at.finished_at)
    recorded = moment_at(payload, at.recorded_at) or (finished if status in FINISHED else started) or now
    return [
        Reported(
            external_id=needed_text(payload, at.id),
            component=named(text_at(payload, at.component)),
            environment=named(text_at(payload, at.environment)),
            status=status,
            recorded_at=recorded,
            started_at=started,
            finished_at=finished if status in FINISHED else None,
            version=text_at(payload, at.version),
            commit_sha=text_at(payload, at.commit_sha),
            commit_at=moment_at(payload, at.commit_at),
            deployed_by=text_at(payload, at.deployed_by),
        )
    ]
