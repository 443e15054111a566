"""Performance bands by edition of DORA's report, and DORA's 0-10 score. Pure; thresholds are data."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, TypeAlias

from services.reporting.dora import Durations, Report
from services.reporting.figures import Number, days, half_up, mean_hours

Edition: TypeAlias = Literal["2021", "2023"]
Band: TypeAlias = Literal["elite", "high", "medium", "low"]
Judged: TypeAlias = Literal["deploymentFrequency", "changeFailureRate", "meanTimeToRecovery", "leadTimeForChanges"]


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure must be to have a band."""

    band: Band
    sign: Literal[">", ">=", "<", "<="]
    value: Fraction

    def holds(self, figure: Fraction) -> bool:
        above = self.sign.startswith(">")
        beyond = figure > self.value if above else figure < self.value
        return beyond or (self.sign.endswith("=") and figure == self.value)


@dataclass(frozen=True, slots=True)
class Scale:
    """A figure has the band of the first limit that holds, else low."""

    unit: str
    limits: tuple[Limit, ...]

    def band(self, figure: Fraction) -> Band:
        return next((limit.band for limit in self.limits if limit.holds(figure)), "low")

    @property
    def shown(self) -> dict[Band, str]:
        """By band, such as `< 24`."""
        return {limit.band: f"{limit.sign} {half_up(limit.value, 4)}" for limit in self.limits}


# Hours. A month is 30 days, half a year 182.
_DAY, _WEEK, _MONTH, _HALF_YEAR = 24, 7 * 24, 30 * 24, 182 * 24
# Deployments a day.
_A_WEEK, _A_MONTH, _A_HALF_YEAR = Fraction(1, 7), Fraction(1, 30), Fraction(1, 182)


def _frequency(high: Fraction, medium: Fraction) -> Scale:
    """ "On demand" is more than once a day."""
    limits = Limit("elite", ">", Fraction(1)), Limit("high", ">=", high), Limit("medium", ">=", medium)
    return Scale("deployments per day", limits)


def _rising(unit: str, sign: Literal["<", "<="], elite: int, high: int, medium: int) -> Scale:
    values: dict[Band, int] = {"elite": elite, "high": high, "medium": medium}
    return Scale(unit, tuple(Limit(band, sign, Fraction(value)) for band, value in values.items()))


# 2024 has no such table: its clusters are not ordered (high fails more often than medium).
EDITIONS: Final[Mapping[Edition, Mapping[Judged, Scale]]] = {
    "2021": {
        "deploymentFrequency": _frequency(_A_MONTH, _A_HALF_YEAR),
        "changeFailureRate": _rising("percent", "<=", 15, 20, 30),
        "meanTimeToRecovery": _rising("hours", "<", 1, _DAY, _WEEK),
        "leadTimeForChanges": _rising("hours", "<", 1, _WEEK, _HALF_YEAR),
    },
    "2023": {
        "deploymentFrequency": _frequency(_A_WEEK, _A_MONTH),
        "changeFailureRate": _rising("percent", "<=", 5, 10, 15),
        "meanTimeToRecovery": _rising("hours", "<", 1, _DAY, _WEEK),
        "leadTimeForChanges": _rising("hours", "<", _DAY, _WEEK, _MONTH),
    },
}

# The six answers of DORA's quick check, evenly from 10 down to 0.
_SCORED_HOURS: Final = (1, _DAY, _WEEK, _MONTH, _HALF_YEAR)
_SCORED_FREQUENCY: Final = (Fraction(1), _A_WEEK, _A_MONTH, _A_HALF_YEAR)
_ON_DEMAND: Final = 24


def score_of_hours(figure: Fraction) -> int:
    """10 below an hour, 8 below a day, … 0 from half a year."""
    return next((10 - 2 * place for place, limit in enumerate(_SCORED_HOURS) if figure < limit), 0)


def score_of_frequency(figure: Fraction) -> int:
    """10 above once an hour, 8 from once a day, … 0 below once in half a year."""
    if figure > _ON_DEMAND:
        return 10
    return next((8 - 2 * place for place, limit in enumerate(_SCORED_FREQUENCY) if figure >= limit), 0)


def score_of_rate(part: int, total: int) -> Number:
    """10 at 0 %, 0 at 100 %, with 1 decimal."""
    return half_up(10 - Fraction(10 * part, total), 1)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A figure's band and score; both None where `missing` says what they would need."""

    band: Band | None
    score: Number | None
    unit: str
    thresholds: Mapping[Band, str]
    missing: str | None


def _judgement(scale: Scale, figure: Fraction | None, score: Number | None, missing: str) -> Judgement:
    if figure is None:
        return Judgement(None, None, scale.unit, scale.shown, missing)
    return Judgement(scale.band(figure), score, scale.unit, scale.shown, None)


def _of_hours(scale: Scale, found: Durations, missing: str) -> Judgement:
    mean = mean_hours(found.micros, found.samples) if found.samples else None
    return _judgement(scale, mean, None if mean is None else score_of_hours(mean), missing)


def judged(found: Report, edition: Edition) -> dict[Judged, Judgement]:
    """Bands by the exact figures, not the rounded ones. Lead time is that from commit to production, DORA's own."""
    scales, totals = EDITIONS[edition], found.totals
    frequency = rate = score = None
    if totals.decided:
        frequency = totals.succeeded / days(found.window.length)
        rate = Fraction(100 * totals.unsuccessful, totals.decided)
        score = score_of_rate(totals.unsuccessful, totals.decided)
    needed = "a deployment that succeeded, failed or was rolled back"
    of_frequency = None if frequency is None else score_of_frequency(frequency)
    return {
        "deploymentFrequency": _judgement(scales["deploymentFrequency"], frequency, of_frequency, needed),
        "changeFailureRate": _judgement(scales["changeFailureRate"], rate, score, needed),
        "meanTimeToRecovery": _of_hours(
            scales["meanTimeToRecovery"], totals.recovery, "a failure and a later success in the same place"
        ),
        "leadTimeForChanges": _of_hours(
            scales["leadTimeForChanges"], totals.commit_lead, "a success whose commitAt is known"
        ),
    }
