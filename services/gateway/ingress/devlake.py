"""Deployments in the shape of Apache DevLake's incoming webhook. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from services.gateway.ingress.reported import (
    Ignored,
    Json,
    Malformed,
    Place,
    Reading,
    Reported,
    Status,
    ended,
    moment_at,
    named,
    needed_text,
    text_at,
    told,
    value_at,
)

_RESULTS: Final[Mapping[str, Status]] = {"success": "SUCCEEDED", "failure": "FAILED"}
_MOST_COMMITS: Final = 1000
# `https://user:token@host/path.git` and `git@host:path.git`: what stands before the host may be a secret.
_ADDRESS: Final = re.compile(r"(?:[a-z+]+://)?(?:[^/@]*@)?([^/:@]+)(?::\d+(?=/))?[:/]+(.+?)(?:\.git)?/*", re.IGNORECASE)


def deployments(payload: Json, now: datetime) -> Reading:
    """One deployment a repository, however many commits of it were deployed; the last one counts. Raises Malformed."""
    result = (text_at(payload, "result") or "success").lower()
    if result not in _RESULTS:
        return Ignored(f"the result {result[:50]!r} decides nothing")
    commits = value_at(payload, "deploymentCommits")
    if not isinstance(commits, list) or not commits or len(commits) > _MOST_COMMITS:
        raise Malformed(f"deploymentCommits: must be a list of 1 to {_MOST_COMMITS} commits")
    by_repository: dict[str, Reported] = {}
    for number in range(len(commits)):
        reported = _reported(payload, f"deploymentCommits.{number}", _RESULTS[result], now)
        by_repository[reported.external_id] = reported
    return list(by_repository.values())


def _reported(payload: Json, commit: str, status: Status, now: datetime) -> Reported:
    repository = _repository(needed_text(payload, f"{commit}.repoUrl"))
    tier = text_at(payload, "environment") or "PRODUCTION"
    finished = moment_at(payload, "finishedDate") or now
    assert repository.ref is not None
    return Reported(
        external_id=f"{needed_text(payload, 'id')}/{repository.ref}",
        component=repository,
        environment=Place(tier, named(text_at(payload, "originalEnvironment"), tier).names),
        status=status,
        recorded_at=finished,
        started_at=moment_at(payload, "startedDate"),
        finished_at=ended(status, finished),
        version=text_at(payload, f"{commit}.refName"),
        commit_sha=needed_text(payload, f"{commit}.commitSha"),
        metadata=told(
            id=text_at(payload, "id"),
            title=text_at(payload, "displayTitle") or text_at(payload, "name"),
            originalEnvironment=text_at(payload, "originalEnvironment"),
        ),
    )


def _repository(address: str) -> Place:
    """`owner/name` of an address; `host/owner/name` and `name` may be mapped as well."""
    found = _ADDRESS.fullmatch(address)
    if found is None or ("/" not in found[2] and "://" not in address and "@" not in address):
        bare = address.rpartition("@")[2]
        return named(bare, bare.rpartition("/")[2])
    host, path = found.groups()
    return Place(path, (f"{host}/{path}", path, path.rpartition("/")[2]))
