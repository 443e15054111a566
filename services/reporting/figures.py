"""Numbers as reports show them: half-up on exact ratios. Pure."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, TypeAlias

# An int where the value is whole, else the float whose shortest decimal form is the value.
Number: TypeAlias = int | float

MICROSECOND: Final = timedelta(microseconds=1)
_HOUR: Final = timedelta(hours=1) // MICROSECOND
_DAY: Final = timedelta(days=1) // MICROSECOND


def half_up(value: Fraction, places: int) -> Number:
    """A ratio with so many decimals; a half goes up."""
    scale: int = 10**places
    units: int = (2 * scale * value.numerator + value.denominator) // (2 * value.denominator)
    return units // scale if units % scale == 0 else units / scale


def percent(part: int, whole: int) -> Number:
    """Share in percent with 1 decimal; 0 of nothing."""
    return half_up(Fraction(100 * part, whole), 1) if whole else 0


def mean_hours(micros: int, count: int) -> Fraction:
    """Exact, in hours, of a sum in microseconds."""
    return Fraction(micros, _HOUR * count)


def hours(micros: int, count: int) -> Number:
    """Mean of a sum in microseconds, in hours with 1 decimal; 0 of nothing."""
    return half_up(mean_hours(micros, count), 1) if count else 0


def seconds(length: timedelta) -> Number:
    """Exact to the microsecond."""
    return half_up(Fraction(length // MICROSECOND, 1_000_000), 6)


def days(length: timedelta) -> Fraction:
    """A length in days, exact."""
    return Fraction(length // MICROSECOND, _DAY)


def per_day(count: int, length: timedelta) -> Number:
    """How many a day, with 2 decimals."""
    return half_up(count / days(length), 2)


def difference(now: Number, before: Number) -> Number:
    """Of two shown numbers, so that a reader can check it."""
    exact = Decimal(str(now)) - Decimal(str(before))
    return int(exact) if exact == exact.to_integral_value() else float(exact)
