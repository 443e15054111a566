"""Postgres csvlog: from bytes that may end anywhere to whole lines of the log. Pure."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

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


def _may_be_sole(piece: bytes) -> bool:
    """All that is quoted ends in it, and it has one line end: the reader takes several."""
    return piece.count(b'"') % 2 == 0 and piece[-2:-1] not in (b"\r", b"\n")


def _sole_lines(pieces: Sequence[bytes]) -> Iterator[LogLine | None]:
    """The line of each piece that is one sound record; None for others. One reader for all is many times faster."""
    # A piece is given as one line, in which a second record is an error; an empty one gives an empty row.
    texts = [piece.decode(errors="replace") if _may_be_sole(piece) else "" for piece in pieces]
    reader = csv.reader(texts, strict=True)
    for number in range(1, len(texts) + 1):
        try:
            row = next(reader)
        except csv.Error:
            row = []
        if reader.line_num != number:
            raise csv.Error("a piece ran into the next one")
        yield _line(row)


def _pieces(data: bytes, ends: Sequence[int]) -> Records:
    """Pieces that end where another record certainly starts, and the rest, which may go on."""
    pieces = [data[start:end] for start, end in pairwise([0, *ends])]
    lines: list[LogLine] = []
    unreadable = 0
    for piece, line in zip(pieces, _sole_lines(pieces), strict=True):
        if line is not None:
            lines.append(line)
            continue
        found = _one_by_one(piece)
        lines += found.lines
        unreadable += found.unreadable + (found.consumed < len(piece))
    rest = _one_by_one(data[ends[-1] :])
    return Records((*lines, *rest.lines), ends[-1] + rest.consumed, unreadable + rest.unreadable)


def parse_records(data: bytes) -> Records:
    """The whole records at the start of `data`, however it was cut; quoted fields may hold line breaks."""
    ends = [found.end() for found in _NEXT_START.finditer(data)]
    try:
        return _pieces(data, ends) if ends else _one_by_one(data)
    except csv.Error:
        return _one_by_one(data)


def certain_start(data: bytes) -> int | None:
    """Where in `data` a line certainly begins a record; None where none does."""
    if _CERTAIN_START.match(data):
        return 0
    found = _NEXT_START.search(data)
    return found.end() if found else None
