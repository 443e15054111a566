"""Types of ClickHouse: what its JSON holds for them becomes what every driver makes; values become its parameters."""

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.query_executor.drivers.values import integer, interval, jsonable, number, real
from services.query_executor.errors import QueryExecutionError
from services.query_executor.statement import Bind

Convert = Callable[[Any], Any]
_LARGE: Final = re.compile(r"U?Int(?:64|128|256)")
_SMALL: Final = re.compile(r"U?Int(?:8|16|32)")
_WRAPPED: Final = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)", re.DOTALL)
_ZONE: Final = re.compile(r"DateTime(?:64)?\((?:.*?)'([^']+)'\)")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b"})
_MONTHS: Final = {"Month": 1, "Quarter": 3, "Year": 12}
_DAYS: Final = {"Day": 1, "Week": 7}
_MICROSECONDS: Final = {
    "Nanosecond": 0.001,
    "Microsecond": 1,
    "Millisecond": 1000,
    "Second": 1_000_000,
    "Minute": 60_000_000,
    "Hour": 3_600_000_000,
}


def inner_types(text: str) -> list[str]:
    """The types between the commas of `Map(String, Tuple(a Int8, b Int8))`."""
    found, depth, start, quoted = list[str](), 0, 0, False
    for place, letter in enumerate(text):
        if letter == "'":
            quoted = not quoted
        elif not quoted and letter in "()":
            depth += 1 if letter == "(" else -1
        elif not quoted and letter == "," and depth == 0:
            found.append(text[start:place].strip())
            start = place + 1
    return [*found, text[start:].strip()]


def _zone(kind: str, server: str | None) -> ZoneInfo | None:
    """A column's own time zone, else the server's."""
    named = _ZONE.fullmatch(kind)
    name = named[1] if named else server
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _moment(zone: ZoneInfo | None, value: Any) -> Any:
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo is not None or zone is None else moment.replace(tzinfo=zone)


def _interval(unit: str, value: Any) -> Any:
    amount = int(value)
    if unit in _MONTHS:
        return interval(amount * _MONTHS[unit], 0, 0)
    if unit in _DAYS:
        return interval(0, amount * _DAYS[unit], 0)
    return interval(0, 0, int(amount * _MICROSECONDS[unit])) if unit in _MICROSECONDS else amount


def _float(value: Any) -> Any:
    """Quoted where the server's profile says so."""
    return real(float(value))


def _decimal(value: Any) -> Any:
    return number(value if isinstance(value, Decimal) else Decimal(str(value)))


def _list(convert: Convert, value: Any) -> Any:
    return [None if each is None else convert(each) for each in value]


def _map(convert: Convert, value: Any) -> Any:
    return {name: None if each is None else convert(each) for name, each in value.items()}


def _optional(convert: Convert, value: Any) -> Any:
    return None if value is None else convert(value)


_PLAIN: Final[tuple[tuple[str, Convert], ...]] = (
    ("Decimal", _decimal),
    ("Float", _float),
    ("BFloat", _float),
    ("Date32", lambda value: date.fromisoformat(str(value))),
)


def converter(kind: str, server_zone: str | None) -> Convert:
    """How values of a column are converted; null never gets here."""
    wrapped = _WRAPPED.fullmatch(kind)
    if wrapped:
        return converter(wrapped[1], server_zone)
    if _SMALL.fullmatch(kind) or kind == "Bool" or kind == "String":
        return _same
    if _LARGE.fullmatch(kind):
        return lambda value: integer(int(value))
    if kind.startswith("DateTime"):
        return partial(_moment, _zone(kind, server_zone))
    if kind == "Date":
        return _PLAIN[-1][1]
    if kind.startswith("Interval"):
        return partial(_interval, kind.removeprefix("Interval"))
    return _composite(kind, server_zone) or next((make for name, make in _PLAIN if kind.startswith(name)), jsonable)


def _composite(kind: str, server_zone: str | None) -> Convert | None:
    name, opened, rest = kind.partition("(")
    if not opened:
        return None
    types = inner_types(rest.removesuffix(")"))
    if name == "Array":
        return partial(_list, converter(types[0], server_zone))
    if name == "Map" and len(types) == 2:
        return partial(_map, converter(types[1], server_zone))
    if name == "SimpleAggregateFunction" and len(types) == 2:
        return converter(types[1], server_zone)
    return None


def _same(value: Any) -> Any:
    return value


def parameter_type(bind: Bind) -> str:
    """Of the placeholder: text where the author wrote quotes, else what the value is."""
    value = bind.value
    if bind.quoted or isinstance(value, str) or value is None:
        return "String"
    if isinstance(value, bool):
        return "Bool"
    if isinstance(value, int):
        return _integer_type(value)
    return f"Decimal({_precision(value)})" if isinstance(value, Decimal) else "Float64"


def _integer_type(value: int) -> str:
    for name, bits in (("Int64", 63), ("Int128", 127), ("Int256", 255)):
        if -(2**bits) <= value < 2**bits:
            return name
    raise QueryExecutionError("A number is larger than the server knows.")


def _precision(value: Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent)) if isinstance(exponent, int) else 0
    return f"{min(76, max(len(digits), scale) + max(0, int(exponent or 0)))}, {scale}"


def parameter_text(bind: Bind) -> str:
    """As the server reads a parameter: its own escapes in text."""
    value = bind.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value).translate(_ESCAPES)
