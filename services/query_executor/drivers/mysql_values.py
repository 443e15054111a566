"""Rows of MySQL's binary protocol as JSON takes them, and values as the server takes them.

The client library's own reading of a row loses its place at a YEAR, loses the sign of a TIME's hours, and cuts a row
of more than 16 MiB in silence; so rows are read here.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from mysql.connector.aio.protocol import MySQLProtocol
from mysql.connector.constants import FieldFlag, FieldType

from services.query_executor.drivers import Column
from services.query_executor.drivers.values import binary, document, integer, number, real
from services.query_executor.errors import QueryExecutionError
from services.query_executor.statement import Bind

# A value at a place of a packet, and the place behind it.
Read = Callable[[bytes, int], tuple[Any, int]]

_BINARY_CHARSET: Final = 63
_LARGEST_PACKET: Final = 2**24 - 1
_INTEGERS: Final = {
    FieldType.TINY: ("tinyint", "<b"),
    FieldType.SHORT: ("smallint", "<h"),
    FieldType.YEAR: ("year", "<H"),
    FieldType.INT24: ("mediumint", "<i"),
    FieldType.LONG: ("int", "<i"),
    FieldType.LONGLONG: ("bigint", "<q"),
}
_TEXTS: Final = {
    FieldType.VAR_STRING: ("varchar", "varbinary"),
    FieldType.VARCHAR: ("varchar", "varbinary"),
    FieldType.STRING: ("char", "binary"),
    FieldType.TINY_BLOB: ("tinytext", "tinyblob"),
    FieldType.BLOB: ("text", "blob"),
    FieldType.MEDIUM_BLOB: ("mediumtext", "mediumblob"),
    FieldType.LONG_BLOB: ("longtext", "longblob"),
    FieldType.GEOMETRY: ("geometry", "geometry"),
}
_MOMENTS: Final = {FieldType.DATE: "date", FieldType.DATETIME: "datetime", FieldType.TIMESTAMP: "timestamp"}
_OTHERS: Final = {
    FieldType.DOUBLE: "double",
    FieldType.FLOAT: "float",
    FieldType.NEWDECIMAL: "decimal",
    FieldType.DECIMAL: "decimal",
    FieldType.TIME: "time",
    FieldType.JSON: "json",
    FieldType.BIT: "bit",
    FieldType.VECTOR: "vector",
    FieldType.NULL: "null",
}


def _lengthy(packet: bytes, at: int) -> tuple[bytes, int]:
    """Bytes that their length stands before."""
    first = packet[at]
    if first < 251:
        return packet[at + 1 : at + 1 + first], at + 1 + first
    size = {252: 2, 253: 3, 254: 8}[first]
    start = at + 1 + size
    end = start + int.from_bytes(packet[at + 1 : start], "little")
    return packet[start:end], end


def _whole(format_: str) -> Read:
    unpack, size = struct.Struct(format_).unpack_from, struct.calcsize(format_)
    large = size == 8

    def read(packet: bytes, at: int) -> tuple[Any, int]:
        value = unpack(packet, at)[0]
        return (integer(value) if large else value), at + size

    return read


def _double(packet: bytes, at: int) -> tuple[Any, int]:
    return real(struct.unpack_from("<d", packet, at)[0]), at + 8


def _single(packet: bytes, at: int) -> tuple[Any, int]:
    """As few digits as tell it from the next single-precision number."""
    return real(float(f"{struct.unpack_from('<f', packet, at)[0]:.7g}")), at + 4


def _of_bytes(convert: Callable[[bytes], Any]) -> Read:
    def read(packet: bytes, at: int) -> tuple[Any, int]:
        raw, behind = _lengthy(packet, at)
        return convert(raw), behind

    return read


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _moment(kind: int) -> Read:
    """`0000-00-00` and other days that no calendar has are null. TIMESTAMP is in UTC: the session's zone."""
    zone = UTC if kind == FieldType.TIMESTAMP else None

    def read(packet: bytes, at: int) -> tuple[Any, int]:
        size = packet[at]
        behind = at + 1 + size
        padded = packet[at + 1 : behind].ljust(11, b"\0")
        year, month, day, hour, minute, second, micros = struct.unpack("<HBBBBBI", padded)
        try:
            if kind == FieldType.DATE:
                return date(year, month, day), behind
            return datetime(year, month, day, hour, minute, second, micros, tzinfo=zone), behind
        except ValueError:
            return None, behind

    return read


def _time(packet: bytes, at: int) -> tuple[Any, int]:
    """As the server writes it: a TIME may be negative and longer than a day."""
    size = packet[at]
    behind = at + 1 + size
    padded = packet[at + 1 : behind].ljust(12, b"\0")
    negative, days, hours, minutes, seconds, micros = struct.unpack("<BIBBBI", padded)
    fraction = f".{micros:06}".rstrip("0") if micros else ""
    return f"{'-' if negative else ''}{days * 24 + hours:02}:{minutes:02}:{seconds:02}{fraction}", behind


_FIXED: Final[dict[int, Read]] = {
    FieldType.DOUBLE: _double,
    FieldType.FLOAT: _single,
    FieldType.TIME: _time,
    FieldType.NEWDECIMAL: _of_bytes(lambda raw: number(Decimal(raw.decode()))),
    FieldType.DECIMAL: _of_bytes(lambda raw: number(Decimal(raw.decode()))),
    FieldType.JSON: _of_bytes(lambda raw: document(raw.decode())),
    FieldType.BIT: _of_bytes(lambda raw: integer(int.from_bytes(raw, "big"))),
    FieldType.VECTOR: _of_bytes(lambda raw: [real(each) for (each,) in struct.iter_unpack("<f", raw)]),
}


def _is_binary(field: Sequence[Any]) -> bool:
    return bool(field[8] == _BINARY_CHARSET)


def _reader(field: Sequence[Any]) -> Read:
    kind, flags = field[1], field[7]
    if kind in _INTEGERS:
        format_ = _INTEGERS[kind][1]
        return _whole(format_.upper() if flags & FieldFlag.UNSIGNED else format_)
    if kind in _MOMENTS:
        return _moment(kind)
    return _FIXED.get(kind) or _of_bytes(binary if _is_binary(field) else _text)


def column(field: Sequence[Any]) -> Column:
    """A column as the server describes it."""
    kind, flags = field[1], field[7]
    if kind in _INTEGERS:
        unsigned = " unsigned" if flags & FieldFlag.UNSIGNED and kind != FieldType.YEAR else ""
        return Column(str(field[0]), _INTEGERS[kind][0] + unsigned)
    if kind in _TEXTS:
        return Column(str(field[0]), _TEXTS[kind][_is_binary(field)])
    return Column(str(field[0]), _MOMENTS.get(kind) or _OTHERS.get(kind, "text"))


class RowProtocol(MySQLProtocol):
    """The client library's protocol, which asks this object for each row of a prepared statement."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: list[tuple[int, int, Read]] = []
        self._start = 0

    def expect(self, fields: Sequence[Sequence[Any]]) -> None:
        """The columns of the rows that come next."""
        self._start = (len(fields) + 9) // 8
        places = ((number + 2, field) for number, field in enumerate(fields))
        self._readers = [(place // 8, 1 << place % 8, _reader(field)) for place, field in places]

    def _parse_binary_values(self, fields: Any, packet: bytes, charset: str = "utf-8") -> tuple[Any, ...]:
        if len(packet) >= _LARGEST_PACKET - 1:
            raise QueryExecutionError("A row of the result is larger than 16 MiB.")
        packet, at, values = bytes(packet), self._start, list[Any]()
        for byte, bit, read in self._readers:
            if packet[byte] & bit:
                values.append(None)
            else:
                value, at = read(packet, at)
                values.append(value)
        return tuple(values)


def argument(bind: Bind) -> Any:
    """Text where the author wrote quotes; else with its own type, as LIMIT and arithmetic need it."""
    value = bind.value
    if value is None or isinstance(value, str):
        return value
    if bind.quoted:
        return str(int(value)) if isinstance(value, bool) else str(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return Decimal(value)
    return value
