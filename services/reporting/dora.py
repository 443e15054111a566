"""The DORA figures from counts and durations. Pure; docs/dora.md says why each is as it is."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeAlias, get_args

from services.reporting.figures import MICROSECOND, Number, days, difference, half_up, hours, per_day, percent
from services.reporting.windows import Window

Metric: TypeAlias = Literal[
    "deploymentFrequency",
    "changeFailureRate",
    "meanTimeToRecovery",
    "leadTimeForChanges",
    "reworkRate",
    "commitToProduction",
]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
# In percent, as nearest ranks: each is the duration of a deployment that exists.
RANKS: Final = (50, 75, 90, 95)


@dataclass(frozen=True, slots=True)
class Durations:
    """How many, their sum in microseconds, and where they were asked for those at RANKS."""

    samples: int = 0
    micros: int = 0
    ranked: tuple[timedelta, ...] | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """What is counted and summed over the decided deployments of a window."""

    succeeded: int = 0
    failed: int = 0
    rolled_back: int = 0
    rework: int = 0
    recovery: Durations = Durations()
    lead: Durations = Durations()
    commit_lead: Durations = Durations()

    @property
    def unsuccessful(self) -> int:
        return self.failed + self.rolled_back

    @property
    def decided(self) -> int:
        return self.succeeded + self.unsuccessful


@dataclass(frozen=True, slots=True)
class Frequency:
    deployments_per_day: Number
    total: int
    period_days: Number


@dataclass(frozen=True, slots=True)
class Rate:
    """`part` of `total` in percent."""

    rate: Number
    part: int
    total: int


@dataclass(frozen=True, slots=True)
class Ranks:
    """Nearest ranks in hours; 0 where there is no sample."""

    median_hours: Number
    p75_hours: Number
    p90_hours: Number
    p95_hours: Number


@dataclass(frozen=True, slots=True)
class Hours:
    """Mean of the samples; no `ranks` where they were not asked for."""

    avg_hours: Number
    samples: int
    ranks: Ranks | None


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one window, and what they were taken from."""

    window: Window
    totals: Totals
    period_days: Number
    frequency: Frequency
    failure: Rate
    recovery: Hours
    lead: Hours
    rework: Rate
    commit_lead: Hours


@dataclass(frozen=True, slots=True)
class Change:
    """Shown figure minus the previous period's; None where either has no data."""

    deployments_per_day: Number | None
    failure_rate: Number | None
    recovery_hours: Number | None
    lead_hours: Number | None


def _hours(found: Durations) -> Hours:
    if not found.samples:
        return Hours(0, 0, Ranks(0, 0, 0, 0))
    ranks = None if found.ranked is None else Ranks(*(hours(each // MICROSECOND, 1) for each in found.ranked))
    return Hours(hours(found.micros, found.samples), found.samples, ranks)


def report(window: Window, totals: Totals) -> Report:
    """The one place where counts become figures: JSON, CSV, series and gauges all show these."""
    period = half_up(days(window.length), 2)
    decided = totals.decided
    return Report(
        window,
        totals,
        period,
        Frequency(per_day(totals.succeeded, window.length), totals.succeeded, period),
        Rate(percent(totals.unsuccessful, decided), totals.unsuccessful, decided),
        _hours(totals.recovery),
        _hours(totals.lead),
        Rate(percent(totals.rework, decided), totals.rework, decided),
        _hours(totals.commit_lead),
    )


def change(now: Report, before: Report) -> Change:
    """From the period before to this one."""
    both = now.totals.decided > 0 and before.totals.decided > 0
    return Change(
        difference(now.frequency.deployments_per_day, before.frequency.deployments_per_day) if both else None,
        difference(now.failure.rate, before.failure.rate) if both else None,
        _hours_apart(now.recovery, before.recovery),
        _hours_apart(now.lead, before.lead),
    )


def _hours_apart(now: Hours, before: Hours) -> Number | None:
    return difference(now.avg_hours, before.avg_hours) if now.samples and before.samples else None
