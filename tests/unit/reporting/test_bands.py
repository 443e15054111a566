"""Bands at their edges, by edition, and DORA's score."""

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reporting.bands import (
    EDITIONS,
    Band,
    Edition,
    Judged,
    judged,
    score_of_frequency,
    score_of_hours,
    score_of_rate,
)
from services.reporting.dora import Durations, Totals, report
from services.reporting.figures import MICROSECOND
from services.reporting.windows import Window
from tests.unit.reporting.test_windows import NOON

TINY = Fraction(1, 10**9)
ORDER: tuple[Band, ...] = ("elite", "high", "medium", "low")


@pytest.mark.parametrize(
    ("edition", "metric", "figure", "band"),
    [
        ("2021", "deploymentFrequency", Fraction(1) + TINY, "elite"),
        ("2021", "deploymentFrequency", Fraction(1), "high"),
        ("2021", "deploymentFrequency", Fraction(1, 30), "high"),
        ("2021", "deploymentFrequency", Fraction(1, 182), "medium"),
        ("2021", "deploymentFrequency", Fraction(1, 183), "low"),
        ("2021", "leadTimeForChanges", Fraction(1) - TINY, "elite"),
        ("2021", "leadTimeForChanges", Fraction(1), "high"),
        ("2021", "leadTimeForChanges", Fraction(7 * 24), "medium"),
        ("2021", "changeFailureRate", Fraction(15), "elite"),
        ("2021", "changeFailureRate", Fraction(16), "high"),
        ("2021", "changeFailureRate", Fraction(30), "medium"),
        ("2021", "changeFailureRate", Fraction(31), "low"),
        ("2021", "meanTimeToRecovery", Fraction(24), "medium"),
        ("2021", "meanTimeToRecovery", Fraction(168), "low"),
        ("2023", "deploymentFrequency", Fraction(1, 7), "high"),
        ("2023", "deploymentFrequency", Fraction(1, 8), "medium"),
        ("2023", "deploymentFrequency", Fraction(1, 31), "low"),
        ("2023", "leadTimeForChanges", Fraction(23), "elite"),
        ("2023", "leadTimeForChanges", Fraction(24), "high"),
        ("2023", "leadTimeForChanges", Fraction(720), "low"),
        ("2023", "changeFailureRate", Fraction(5), "elite"),
        ("2023", "changeFailureRate", Fraction(10), "high"),
        ("2023", "changeFailureRate", Fraction(15), "medium"),
        ("2023", "changeFailureRate", Fraction(15) + TINY, "low"),
        ("2023", "meanTimeToRecovery", Fraction(1), "high"),
    ],
)
def test_a_band_at_its_edge(edition: Edition, metric: Judged, figure: Fraction, band: Band) -> None:
    assert EDITIONS[edition][metric].band(figure) == band


@given(
    st.sampled_from([(edition, metric) for edition, scales in EDITIONS.items() for metric in scales]),
    st.fractions(0, 10_000),
    st.fractions(0, 10_000),
)
def test_better_figures_have_no_worse_bands(which: tuple[Edition, Judged], one: Fraction, other: Fraction) -> None:
    scale = EDITIONS[which[0]][which[1]]
    better, worse = sorted((one, other), reverse=which[1] == "deploymentFrequency")
    assert ORDER.index(scale.band(better)) <= ORDER.index(scale.band(worse))


@pytest.mark.parametrize(
    ("hours", "score"),
    [(0, 10), (1, 8), (23, 8), (24, 6), (167, 6), (168, 4), (719, 4), (720, 2), (4367, 2), (4368, 0)],
)
def test_the_score_of_hours(hours: int, score: int) -> None:
    assert score_of_hours(Fraction(hours)) == score


@pytest.mark.parametrize(
    ("per_day", "score"),
    [
        (Fraction(25), 10),
        (Fraction(24), 8),
        (Fraction(1), 8),
        (Fraction(1, 2), 6),
        (Fraction(1, 7), 6),
        (Fraction(1, 30), 4),
        (Fraction(1, 182), 2),
        (Fraction(1, 200), 0),
        (Fraction(0), 0),
    ],
)
def test_the_score_of_frequency(per_day: Fraction, score: int) -> None:
    assert score_of_frequency(per_day) == score


def test_the_score_of_a_rate() -> None:
    assert [score_of_rate(part, 20) for part in (0, 1, 3, 10, 20)] == [10, 9.5, 8.5, 5, 0]


def test_bands_go_by_exact_figures() -> None:
    """5.04 % is shown as 5 and is beyond the limit of 5 all the same."""
    found = report(Window(NOON - timedelta(days=30), NOON), Totals(succeeded=942, failed=50))
    assert found.failure.rate == 5
    assert judged(found, "2023")["changeFailureRate"].band == "high"


def test_what_is_missing_is_said() -> None:
    nothing = judged(report(Window(NOON - timedelta(days=1), NOON), Totals()), "2023")
    assert all((each.band, each.score) == (None, None) and each.missing for each in nothing.values())
    failures = judged(report(Window(NOON - timedelta(days=1), NOON), Totals(failed=1)), "2023")
    assert (failures["deploymentFrequency"].band, failures["changeFailureRate"].band) == ("low", "low")


def test_lead_time_is_judged_from_the_commit() -> None:
    lead = Totals(succeeded=1, lead=Durations(1, timedelta(minutes=1) // MICROSECOND))
    assert judged(report(Window(NOON - timedelta(days=1), NOON), lead), "2023")["leadTimeForChanges"].missing
