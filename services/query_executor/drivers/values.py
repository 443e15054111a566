"""What a server's values become in JSON, the same for every driver.

Made here: None, bool, int within ±2^53, float (NaN and infinities are null), str, date, datetime, list, dict.
orjson writes the rest of the way: timestamps in ISO 8601, those with a zone in UTC with `Z`.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Final
from uuid import UUID

import orjson

_SAFE: Final = 2**53
_EXACT_DIGITS: Final = 15
_LARGEST_EXPONENT: Final = 300
_LONG_NUMBER: Final = re.compile(r"\d{16}")


def integer(value: int) -> int | str:
    """As a number while doubles hold it exactly, else as text."""
    return value if -_SAFE <= value <= _SAFE else str(value)


def number(value: Decimal) -> int | float | str | None:
    """As a number where it is exact within 15 significant digits, else as text."""
    if not value.is_finite():
        return None
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if exponent >= 0 and len(digits) + exponent <= _EXACT_DIGITS:
        return int(value)
    significant = len("".join(map(str, digits)).strip("0"))
    if significant <= _EXACT_DIGITS and abs(value.adjusted() if value else 0) <= _LARGEST_EXPONENT:
        return float(value)
    return str(value)


def real(value: float) -> float | None:
    return value if math.isfinite(value) else None


def binary(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode()


def interval(months: int, days: int, microseconds: int) -> str:
    """ISO 8601, each part with its own sign as Postgres writes it: `P1Y2M-3DT4H5M6.7S`."""
    years, months = _divided(months, 12)
    minutes, rest = _divided(microseconds, 60_000_000)
    hours, minutes = _divided(minutes, 60)
    days_part = "".join(f"{amount}{unit}" for amount, unit in ((years, "Y"), (months, "M"), (days, "D")) if amount)
    time_part = "".join(f"{amount}{unit}" for amount, unit in ((hours, "H"), (minutes, "M")) if amount)
    if rest:
        seconds = f"{abs(rest) // 1_000_000}.{abs(rest) % 1_000_000:06}".rstrip("0").rstrip(".")
        time_part += f"{'-' if rest < 0 else ''}{seconds}S"
    return "P" + days_part + (f"T{time_part}" if time_part else "") if days_part or time_part else "PT0S"


def _divided(amount: int, by: int) -> tuple[int, int]:
    """Towards zero, so that both parts have the sign of the whole."""
    sign = -1 if amount < 0 else 1
    whole, rest = divmod(abs(amount), by)
    return sign * whole, sign * rest


def document(text: str) -> Any:
    """JSON of the server as JSON; long integers in it as text."""
    if _LONG_NUMBER.search(text) is None:
        return orjson.loads(text)
    return json.loads(text, parse_int=lambda digits: integer(int(digits)), parse_constant=lambda _: None)


def _of_timedelta(value: timedelta) -> str:
    return interval(0, value.days, value.seconds * 1_000_000 + value.microseconds)


def _of_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): jsonable(inner) for name, inner in value.items()}


def _of_sequence(value: Any) -> list[Any]:
    return [jsonable(inner) for inner in value]


def _same(value: Any) -> Any:
    return value


_BY_TYPE: Final[dict[type, Callable[[Any], Any]]] = {
    type(None): _same,
    bool: _same,
    str: _same,
    int: integer,
    float: real,
    Decimal: number,
    datetime: _same,
    date: _same,
    time: time.isoformat,
    timedelta: _of_timedelta,
    bytes: binary,
    bytearray: binary,
    memoryview: binary,
    UUID: str,
    dict: _of_mapping,
    list: _of_sequence,
    tuple: _of_sequence,
    set: lambda value: sorted(_of_sequence(value), key=str),
    frozenset: lambda value: sorted(_of_sequence(value), key=str),
    **dict.fromkeys((IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network), str),
}


def jsonable(value: Any) -> Any:
    """A value of a driver in the form that JSON is written from; what is unknown becomes text."""
    convert = _BY_TYPE.get(type(value))
    if convert is None:
        convert = next((each for kind, each in _BY_TYPE.items() if isinstance(value, kind)), _by_shape)
    return convert(value)


def _by_shape(value: Any) -> Any:
    return jsonable(value.value) if isinstance(value, Enum) else str(value)
