"""Rounding is that on paper, whatever the numbers."""

from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reporting.dora import Durations, Totals, report
from services.reporting.figures import MICROSECOND, difference, half_up, percent, seconds
from services.reporting.windows import Window
from tests.unit.reporting.test_windows import NOON


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        (Fraction(1, 4), 1, 0.3),
        (Fraction(5, 100), 1, 0.1),
        (Fraction(15, 1000), 2, 0.02),
        (Fraction(2675, 1000), 2, 2.68),  # 2.67 by binary floats
        (Fraction(1005, 1000), 2, 1.01),  # 1.0 by binary floats
        (Fraction(70, 30), 2, 2.33),
        (Fraction(1, 3), 1, 0.3),
        (Fraction(2, 3), 1, 0.7),
        (Fraction(0), 1, 0),
        (Fraction(999, 1000), 2, 1),
        (Fraction(7), 2, 7),
    ],
)
def test_a_half_goes_up(value: Fraction, places: int, shown: float) -> None:
    found = half_up(value, places)
    assert found == shown
    assert isinstance(found, int) == (shown == int(shown))


@given(st.integers(0, 10**12), st.integers(1, 10**9), st.integers(0, 4))
def test_rounding_is_that_of_decimal_arithmetic(part: int, whole: int, places: int) -> None:
    with localcontext() as context:
        context.prec = 60
        step = Decimal(1).scaleb(-places)
        scaled = Decimal(part * 10**places * 2 // whole) / 2  # to the half below: what decides
        expected = (scaled.quantize(Decimal(1), ROUND_HALF_UP) * step).normalize()
    assert Decimal(str(half_up(Fraction(part, whole), places))) == expected


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_percent_lies_between_0_and_100(part: int, more: int) -> None:
    whole = part + more
    found = percent(part, whole)
    assert 0 <= found <= 100
    assert percent(0, whole) == 0
    assert not whole or percent(whole, whole) == 100


@given(st.integers(0, 10**15))
def test_seconds_are_exact(micros: int) -> None:
    assert Fraction(str(seconds(timedelta(microseconds=micros)))) == Fraction(micros, 1_000_000)


def test_a_difference_is_that_of_the_shown_numbers() -> None:
    assert str(difference(2.33, 2.1)) == "0.23"
    assert str(difference(1, 3)) == "-2"
    assert str(difference(0.3, 0.1)) == "0.2"


def test_a_quarter_of_an_hour_is_shown_as_three_tenths() -> None:
    month = Window(NOON - timedelta(days=30), NOON)
    found = report(month, Totals(succeeded=2, lead=Durations(2, timedelta(minutes=30) // MICROSECOND)))
    assert found.lead.avg_hours == 0.3
    assert found.frequency.deployments_per_day == 0.07


def test_the_sample_of_the_specification() -> None:
    month = Window(NOON - timedelta(days=30), NOON)
    totals = Totals(
        64,
        6,
        0,
        0,
        Durations(6, timedelta(hours=7, minutes=12) // MICROSECOND),
        Durations(64, timedelta(hours=25, minutes=36) // MICROSECOND),
    )
    found = report(month, totals)
    assert (found.failure.rate, found.failure.part, found.failure.total) == (8.6, 6, 70)
    assert (found.recovery.avg_hours, found.recovery.samples) == (1.2, 6)
    assert (found.lead.avg_hours, found.lead.samples) == (0.4, 64)
