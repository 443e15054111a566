"""Columns of Postgres results: which types JSON takes as they are, and how the others become what it takes."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Final

import asyncpg
from asyncpg.types import BitString, Range

from libs.common.db import Connection
from services.query_executor.drivers import Row
from services.query_executor.drivers.values import binary, document, integer, interval, jsonable, number

Convert = Callable[[Any], Any]
# orjson writes NaN and infinite floats as null.
_NATIVE: Final = frozenset(
    {"bool", "int2", "int4", "float4", "float8", "text", "varchar", "bpchar", "name", "oid", "xml", "money"}
)
# What the client library gives for `infinity`.
_END, _BEGINNING = datetime.max, datetime.min  # noqa: DTZ901 - the library's own marks


def _moment(value: datetime) -> Any:
    if value.year in (1, 9999) and value.replace(tzinfo=None) in (_END, _BEGINNING):
        return "infinity" if value.year == 9999 else "-infinity"
    return value


def _day(value: date) -> Any:
    if value == date.max:
        return "infinity"
    return "-infinity" if value == date.min else value


def _interval(value: tuple[int, int, int]) -> str:
    return interval(*value)


def _lsn(value: int) -> str:
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


_SCALARS: Final[dict[str, Convert]] = {
    "int8": integer,
    "numeric": number,
    "timestamptz": _moment,
    "timestamp": _moment,
    "date": _day,
    "uuid": str,
    "bytea": binary,
    "json": document,
    "jsonb": document,
    "interval": _interval,
    "pg_lsn": _lsn,
    "char": lambda value: value.decode("utf-8", "replace"),
}


def _nested(convert: Convert) -> Convert:
    """The same for each element of an array, however many dimensions it has."""

    def each(value: Any) -> Any:
        if isinstance(value, list):
            return [each(inner) for inner in value]
        return None if value is None else convert(value)

    return each


def _bound(value: Any) -> str:
    text = "" if value is None else str(jsonable(value))
    return f'"{text}"' if any(character in text for character in ' ,[]()"\\') else text


def _range(value: Range[Any]) -> str:
    if value.isempty:
        return "empty"
    brackets = ("[" if value.lower_inc else "(", "]" if value.upper_inc else ")")
    return f"{brackets[0]}{_bound(value.lower)},{_bound(value.upper)}{brackets[1]}"


def _other(value: Any) -> Any:
    if isinstance(value, Range):
        return _range(value)
    if isinstance(value, BitString):
        return value.as_string()
    if isinstance(value, asyncpg.Record):
        return {name: _other(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_other(inner) for inner in value]
    return jsonable(value)


def converter(kind: asyncpg.Type) -> Convert | None:
    """How values of a column are converted; None where they are taken as they are."""
    if kind.name in _NATIVE and kind.schema == "pg_catalog":
        return None
    if kind.schema != "pg_catalog":
        return _nested(_other)
    element = kind.name.removesuffix("[]")
    convert = _SCALARS.get(element, _same if element in _NATIVE else _other)
    return _nested(convert) if kind.name.endswith("[]") else convert


def _same(value: Any) -> Any:
    return value


class Conversion:
    """Of the rows of one result; columns that need none cost nothing."""

    def __init__(self, kinds: Sequence[asyncpg.Type]) -> None:
        found = [(place, converter(kind)) for place, kind in enumerate(kinds)]
        self._converters = [(place, convert) for place, convert in found if convert is not None]

    def __call__(self, records: Sequence[asyncpg.Record]) -> Sequence[Row]:
        """Rows that JSON can be written from."""
        if not self._converters:
            return list(map(tuple, records))
        rows = [list(record) for record in records]
        for place, convert in self._converters:
            for row in rows:
                value = row[place]
                if value is not None:
                    row[place] = convert(value)
        return rows


async def prepare_types(connection: Connection) -> None:
    """An interval's months are no days: take it in its three parts."""
    await connection.set_type_codec("interval", schema="pg_catalog", encoder=tuple, decoder=tuple, format="tuple")
