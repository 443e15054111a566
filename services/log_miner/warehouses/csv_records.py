"""Postgres csvlog: from bytes that may end anywhere to whole lines of the log. Pure."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Postgres 13 writes 24 columns, 14 and newer 26; older ones 23.
_COLUMNS = range(23, 27)
_TIME, _USER, _DATABASE, _SESSION, _LINE, _TAG, _SEVERITY, _MESSAGE, _DETAIL, _APPLICATION = (
    0, 1, 2, 5, 6, 7, 11, 13, 14, 22,
)  # fmt: skip
# A field cannot hold `,"name",` with single quotes, so such a line starts a record even inside a torn one.
_CERTAIN_START = re.compile(rb'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,\s]{1,8},"[^"\n]+","[^"\n]+",\d+,')
# The detail of an EXECUTE is the prepared statement's text; any other detail may hold bind values.
PREPARED = "prepare: "

csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True, slots=True)
class LogLine:
    """The columns of a csvlog line that mining reads. `prepared` is the PREPARE behind an EXECUTE."""

    log_time: str
    user: str
    database: str
    session_id: str
    line_num: int
    command_tag: str
    severity: str
    message: str = field(repr=False)
    prepared: str | None = field(repr=False, default=None)
    application: str = ""

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
        log_time=record[_TIME],
        user=record[_USER],
        database=record[_DATABASE],
        session_id=record[_SESSION],
        line_num=int(record[_LINE]),
        command_tag=record[_TAG],
        severity=record[_SEVERITY],
        message=record[_MESSAGE],
        prepared=detail.removeprefix(PREPARED) if detail.startswith(PREPARED) else None,
        application=record[_APPLICATION],
    )


def _parse(record: bytes) -> LogLine | None:
    try:
        fields = next(csv.reader(io.StringIO(record.decode(errors="replace"), newline="")))
    except (csv.Error, StopIteration):
        return None
    return _line(fields)


def parse_records(data: bytes) -> Records:
    """The whole records at the start of `data`, however it was cut; quoted fields may hold line breaks."""
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


def certain_start(data: bytes) -> int | None:
    """Where in `data` a line certainly begins a record; None where none does."""
    found = re.search(rb"(?:\A|\n)(?=" + _CERTAIN_START.pattern + rb")", data)
    return found.end() if found else None
