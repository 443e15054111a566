"""Scorecards: ordered levels, each with rules that a component meets or not. Pure; levels and rules are data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.reporting.domain import Tier
from services.reporting.dora import Report
from services.reporting.figures import Number


@dataclass(frozen=True, slots=True)
class Component:
    """What rules look at."""

    id: UUID
    name: str
    kind: str
    lifecycle: str
    owner: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`actual`: what the rule found; null where there is nothing to judge, which such a rule does not hold against."""

    passed: bool
    actual: Number | str | None


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Named(_Data):
    id: Annotated[str, Field(min_length=1)]


class Has(_Named):
    """A field that is not empty."""

    rule: Literal["has"]
    field: Literal["owner", "description"]

    def judge(self, component: Component, found: Report) -> Outcome:
        value: str | None = getattr(component, self.field)
        return Outcome(bool(value), value)


class LifecycleIn(_Named):
    rule: Literal["lifecycle_in"]
    values: tuple[str, ...]

    def judge(self, component: Component, found: Report) -> Outcome:
        return Outcome(component.lifecycle in self.values, component.lifecycle)


class DeploymentsAtLeast(_Named):
    """Succeeded ones."""

    rule: Literal["deployments_at_least"]
    limit: Annotated[int, Field(ge=1)]

    def judge(self, component: Component, found: Report) -> Outcome:
        return Outcome(found.frequency.total >= self.limit, found.frequency.total)


class FailureRateAtMost(_Named):
    """In percent, as shown."""

    rule: Literal["failure_rate_at_most"]
    limit: Annotated[float, Field(ge=0, le=100)]

    def judge(self, component: Component, found: Report) -> Outcome:
        if not found.totals.decided:
            return Outcome(True, None)
        return Outcome(found.failure.rate <= self.limit, found.failure.rate)


class _HoursAtMost(_Named):
    limit: Annotated[float, Field(ge=0)]


class RecoveryHoursAtMost(_HoursAtMost):
    """The mean, as shown."""

    rule: Literal["recovery_hours_at_most"]

    def judge(self, component: Component, found: Report) -> Outcome:
        if not found.recovery.samples:
            return Outcome(True, None)
        return Outcome(found.recovery.avg_hours <= self.limit, found.recovery.avg_hours)


class LeadTimeHoursAtMost(_HoursAtMost):
    """The mean, as shown."""

    rule: Literal["lead_time_hours_at_most"]

    def judge(self, component: Component, found: Report) -> Outcome:
        if not found.lead.samples:
            return Outcome(True, None)
        return Outcome(found.lead.avg_hours <= self.limit, found.lead.avg_hours)


Rule: TypeAlias = Annotated[
    Has | LifecycleIn | DeploymentsAtLeast | FailureRateAtMost | RecoveryHoursAtMost | LeadTimeHoursAtMost,
    Field(discriminator="rule"),
]


class Level(_Data):
    name: Annotated[str, Field(min_length=1)]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]


class Scheme(_Data):
    """Levels in ascending order, and which deployments rules look at."""

    days: Annotated[int, Field(ge=1, le=3650)]
    tiers: tuple[Tier, ...]
    levels: Annotated[tuple[Level, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for names in ([each.name for each in self.levels], [rule.id for each in self.levels for rule in each.rules]):
            if len(set(names)) < len(names):
                raise ValueError("levels and rules need distinct names")
        return self


@dataclass(frozen=True, slots=True)
class Checked:
    """A rule of a level and what became of it."""

    level: str
    rule: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Scorecard:
    """`level`: the highest whose rules and all below hold; None below the first."""

    component: Component
    level: str | None
    checked: Sequence[Checked]


def scorecard(scheme: Scheme, component: Component, found: Report) -> Scorecard:
    """Of one component, by the figures of its deployments."""
    checked = [
        Checked(level.name, rule.id, rule.judge(component, found)) for level in scheme.levels for rule in level.rules
    ]
    failed = {each.level for each in checked if not each.outcome.passed}
    reached: str | None = None
    for level in scheme.levels:
        if level.name in failed:
            break
        reached = level.name
    return Scorecard(component, reached, checked)
