"""Reading JSON that may hold anything: a value of the wanted type, or None. Pure."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

Row = Mapping[str, Any]

_LARGEST_ID: Final = 2**63 - 1


def text(row: Row, name: str) -> str | None:
    """A text that is not blank."""
    value = row.get(name)
    return value if isinstance(value, str) and value.strip() else None


def whole(row: Row, name: str) -> int | None:
    """A whole number from 0 on, also where it is written as text."""
    return as_whole(row.get(name))


def as_whole(value: object) -> int | None:
    """See `whole`."""
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _LARGEST_ID else None


def real(row: Row, name: str) -> float | None:
    """A finite number, also where it is written as text."""
    value = row.get(name)
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def inner(row: Row, name: str) -> Row:
    """An object; an empty one where there is none."""
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def rows(row: Row, name: str) -> tuple[Row, ...]:
    """The objects of a list; whatever else it holds is left out."""
    return tuple(value for value in items(row, name) if isinstance(value, dict))


def items(row: Row, name: str) -> tuple[Any, ...]:
    """A list; an empty one where there is none."""
    value = row.get(name)
    return tuple(value) if isinstance(value, list) else ()


def moment(milliseconds: float) -> datetime | None:
    """A time in UTC from milliseconds since 1970; None where no calendar has it."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
