"""Postgres csvlog: from bytes that may end anywhere to whole lines of the log. Pure."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from msgspec import Struct

# Postgres 13 writes 24 columns, 14 and newer 26; older ones 23.
_COLUMNS = range(23, 27)
_TIME, _USER, _DATABASE, _SESSION, _LINE, _TAG, _SEVERITY, _MESSAGE, _DETAIL, _APPLICATION = (
    0, 1, 2, 5, 6, 7, 11, 13, 14, 22,
)  # fmt: skip
# A field cannot hold `,"name",` with single quotes, so such a line starts a record even inside a torn one.
_CERTAIN_START = re.compile(rb'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,\s]{1,8},"[^"\n]+","[^"\n]+",\d+,')
# The line feed comes first: it is searched for at the speed of memory.
_NEXT_START = re.compile(rb"\n(?=" + _CERTAIN_START.pattern + rb")")
_QUOTED = r'"[^"]*+(?:""[^"]*+)*+"'
_PLAIN = r'([^",\r\n]*+)'
_FIELD = rf'({_QUOTED}|[^",\r\n]*+)'
_ANY = rf'(?:{_QUOTED}|[^",\r\n]*+)'
# A record as servers write it: it is what `csv` would read, and its end is the first line end outside of quotes.
_RECORD = re.compile(
    ",".join(
        [
            _PLAIN,
            _FIELD,
            _FIELD,
            _ANY,
            _ANY,
            _PLAIN,
            "([0-9]++)",
            _FIELD,
            _ANY,
            _ANY,
            _ANY,
            _PLAIN,
            _ANY,
            _FIELD,
            _FIELD,
        ]
        + [_ANY] * (_APPLICATION - _DETAIL - 1)
        + [_FIELD]
    )
    + rf"(?:,{_ANY}){{0,{max(_COLUMNS) - min(_COLUMNS)}}}\n"
)
# The detail of an EXECUTE is the prepared statement's text; any other detail may hold bind values.
PREPARED = "prepare: "

csv.field_size_limit(2**31 - 1)


class LogLine(Struct, frozen=True, gc=False):
    """The columns of a csvlog line that mining reads. `prepared` is the PREPARE behind an EXECUTE.

    A struct, because there are millions of them; texts do not show in its repr.
    """

    log_time: str
    user: str
    database: str
    session_id: str
    line_num: int
    command_tag: str
    severity: str
    message: str
    prepared: str | None = None
    application: str = ""

    def __repr__(self) -> str:
        return f"LogLine(id={self.id!r}, command_tag={self.command_tag!r})"

    @property
    def id(self) -> str:
        """Unique in the cluster: session and the line's number in it."""
        return f"{self.session_id}:{self.line_num}"


@dataclass(frozen=True, slots=True)
class Records:
    """Whole records of some bytes; `consumed` bytes are done with, the rest waits for more."""

    lines: tuple[LogLine, ...]
    consumed: int
    unreadable: int


def _boundaries(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whole) of each record that has ended; a torn one ends where the next certainly begins."""
    start = position = quotes = 0
    for line in io.BytesIO(data):
        if quotes % 2 and _CERTAIN_START.match(line):
            yield start, position, False
            start, quotes = position, 0
        position += len(line)
        quotes += line.count(b'"')
        if line.endswith(b"\n") and quotes % 2 == 0:
            yield start, position, True
            start, quotes = position, 0


def _line(record: list[str]) -> LogLine | None:
    if len(record) not in _COLUMNS or not record[_LINE].isdigit():
        return None
    detail = record[_DETAIL]
    return LogLine(
        record[_TIME],
        record[_USER],
        record[_DATABASE],
        record[_SESSION],
        int(record[_LINE]),
        record[_TAG],
        record[_SEVERITY],
        record[_MESSAGE],
        detail.removeprefix(PREPARED) if detail.startswith(PREPARED) else None,
        record[_APPLICATION],
    )


def _parse(record: bytes) -> LogLine | None:
    try:
        fields = next(csv.reader(io.StringIO(record.decode(errors="replace"), newline="")))
    except (csv.Error, StopIteration):
        return None
    return _line(fields)


def _one_by_one(data: bytes) -> Records:
    """The rule for any bytes."""
    lines: list[LogLine] = []
    consumed = unreadable = 0
    for start, end, whole in _boundaries(data):
        line = _parse(data[start:end]) if whole else None
        if line is None:
            unreadable += 1
        else:
            lines.append(line)
        consumed = end
    return Records(tuple(lines), consumed, unreadable)


def _sound(found: "re.Match[str]") -> LogLine:
    """The line of a record that the pattern takes."""
    time, user, database, session, number, tag, severity, message, detail, application = found.groups()
    prepared = _unquoted(detail) if detail else ""
    return LogLine(
        time,
        _unquoted(user),
        _unquoted(database),
        session,
        int(number),
        _unquoted(tag),
        severity,
        _unquoted(message),
        prepared.removeprefix(PREPARED) if prepared.startswith(PREPARED) else None,
        _unquoted(application),
    )


def _unquoted(field: str) -> str:
    """What a field of bytes, read as Latin-1, says."""
    if field[:1] == '"':
        field = field[1:-1]
        if '""' in field:
            field = field.replace('""', '"')
    return field if field.isascii() else field.encode("latin-1").decode(errors="replace")


def parse_records(data: bytes) -> Records:
    """The whole records at the start of `data`, however it was cut; quoted fields may hold line breaks.

    Sound ones are taken by one pattern, which is much faster; where it takes none, the rule goes on to where a record
    certainly starts.
    """
    lines: list[LogLine] = []
    unreadable = position = 0
    text, match = data.decode("latin-1"), _RECORD.match  # a character for each byte
    while True:
        while found := match(text, position):
            lines.append(_sound(found))
            position = found.end()
        start = _NEXT_START.search(data, position)
        some = _one_by_one(data[position : start.end() if start else len(data)])
        lines += some.lines
        unreadable += some.unreadable
        if start is None:
            return Records(tuple(lines), position + some.consumed, unreadable)
        unreadable += position + some.consumed < start.end()
        position = start.end()


def certain_start(data: bytes) -> int | None:
    """Where in `data` a line certainly begins a record; None where none does."""
    if _CERTAIN_START.match(data):
        return 0
    found = _NEXT_START.search(data)
    return found.end() if found else None
