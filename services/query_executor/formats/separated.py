"""CSV as RFC 4180 has it, lines ended by LF. A cell that a spreadsheet would take for a formula gets a `'` in front.

Null is an empty cell, the empty text is `""`.
"""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import orjson

from libs.common.csv_cells import text_cell
from services.query_executor.drivers import Column
from services.query_executor.drivers.frames import Frame
from services.query_executor.envelope import OPTIONS, distinct_names
from services.query_executor.formats import Batch, Facts, frames
from services.query_executor.redact import Redactor

MEDIA_TYPE: Final = "text/csv"
_CELL: Final = re.compile(r'"((?:[^"]|"")*)"|([^,"\n]+)')


def cell(value: Any) -> str:
    """A value of a driver as it stands between commas."""
    if value is None:
        return ""
    if isinstance(value, str):
        return text_cell(value)
    dumped = orjson.dumps(value, option=OPTIONS).decode("utf-8", "replace")
    if isinstance(value, date):
        return dumped[1:-1]
    if isinstance(value, float):
        return "" if dumped == "null" else dumped
    return text_cell(dumped) if isinstance(value, (list, dict)) else dumped


def line(cells: Sequence[Any]) -> str:
    """A row with its LF."""
    return ",".join(map(cell, cells)) + "\n"


def header(columns: Sequence[Column], redactor: Redactor) -> bytes:
    """The names, distinct."""
    return line([redactor.in_text(name) for name in distinct_names([each.name for each in columns])]).encode()


def without_secrets(lines: bytes, redactor: Redactor) -> bytes:
    """Whole lines, their cells scanned."""
    if not redactor.shows(lines):
        return lines

    def clean(found: re.Match[str]) -> str:
        quoted, bare = found.groups()
        if quoted is None:
            return redactor.in_text(bare)
        return '"' + redactor.in_text(quoted.replace('""', '"')).replace('"', '""') + '"'

    return _CELL.sub(clean, lines.decode()).encode()


class CsvWriter:
    """Has no room behind the rows: what is broken off is no whole answer, and the execution's record says the rest."""

    def __init__(self) -> None:
        self._redactor = Redactor(None, ())

    def takes_frames(self, redactor: Redactor) -> bool:
        return frames.AVAILABLE

    def begin(self, columns: Sequence[Column], redactor: Redactor) -> bytes:
        self._redactor = redactor
        return header(columns, redactor)

    def chunk(self, rows: Batch) -> bytes:
        if isinstance(rows, Frame):
            return self._frame(rows.batch)
        dumped = "".join(map(line, rows)).encode("utf-8", "replace")
        if not self._redactor.shows(dumped):
            return dumped
        return "".join(line(self._redactor.value(row)) for row in rows).encode("utf-8", "replace")

    def _frame(self, batch: Any) -> bytes:
        columns = [frames.cells(column) for column in batch.columns]
        if not frames.shows(columns, batch, self._redactor):
            return frames.lines(columns)
        pairs = zip(columns, batch.columns, strict=True)
        columns = [frames.without_shown(shown, column, self._redactor) for shown, column in pairs]
        return without_secrets(frames.lines(columns), self._redactor)

    def end(self, facts: Facts) -> bytes:
        return b""

    def broken(self, failure: Facts) -> bytes:
        return b""
