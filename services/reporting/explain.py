"""What a deployment contributes to a figure. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from services.reporting.domain import Status
from services.reporting.dora import Metric

_SUCCEEDED: Final[tuple[Status, ...]] = ("SUCCEEDED",)
_DECIDED: Final[tuple[Status, ...]] = ("SUCCEEDED", "FAILED", "ROLLED_BACK")
# The deployments that a figure is about.
CANDIDATES: Final[Mapping[Metric, tuple[Status, ...]]] = {
    "deploymentFrequency": _SUCCEEDED,
    "changeFailureRate": _DECIDED,
    "meanTimeToRecovery": ("FAILED",),
    "leadTimeForChanges": _SUCCEEDED,
    "reworkRate": _DECIDED,
    "commitToProduction": _SUCCEEDED,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A decided deployment of a window. The three durations are null where it is no sample of theirs."""

    id: UUID
    component_id: UUID
    component_name: str | None
    environment_id: UUID
    environment_name: str | None
    version: str | None
    status: Status
    moment: datetime
    recorded_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    commit_sha: str | None
    commit_at: datetime | None
    is_rework: bool
    recovered_at: datetime | None
    recovered_by: UUID | None
    recovery: timedelta | None
    lead: timedelta | None
    commit_lead: timedelta | None


@dataclass(frozen=True, slots=True)
class State:
    """What was told of a deployment at one time."""

    status: Status
    recorded_at: datetime
    sequence: int
    started_at: datetime | None
    finished_at: datetime | None
    version: str | None
    source: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """`counted`: in the total, or a sample; `in_numerator`: for rates; `missing`: why it is no sample."""

    counted: bool
    in_numerator: bool | None = None
    duration: timedelta | None = None
    missing: str | None = None


def part(metric: Metric, row: Measured) -> Part:
    """Of one of the CANDIDATES."""
    if metric == "deploymentFrequency":
        return Part(counted=True)
    if metric == "changeFailureRate":
        return Part(counted=True, in_numerator=row.status != "SUCCEEDED")
    if metric == "reworkRate":
        return Part(counted=True, in_numerator=row.is_rework)
    duration, missing = _sample(metric, row)
    return Part(duration is not None, None, duration, None if duration is not None else missing)


def _sample(metric: Metric, row: Measured) -> tuple[timedelta | None, str]:
    if metric == "meanTimeToRecovery":
        return row.recovery, "no later success in the same place"
    if metric == "leadTimeForChanges":
        return row.lead, "startedAt" if row.started_at is None else "finishedAt"
    return row.commit_lead, "commitAt" if row.commit_at is None else "a commitAt that is not later than the deployment"
