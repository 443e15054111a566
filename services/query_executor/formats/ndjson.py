"""Newline-delimited JSON: an object for each row; the last line says that it was all, or what went wrong."""

from collections.abc import Sequence
from typing import Final

import orjson

from services.query_executor.drivers import Column
from services.query_executor.drivers.frames import Frame
from services.query_executor.envelope import OPTIONS, distinct_names
from services.query_executor.formats import Batch, Facts
from services.query_executor.redact import Redactor

MEDIA_TYPE: Final = "application/x-ndjson"
# A line of neither is a row. Whoever reads no END at the end has not read all.
END, ERROR = "@end", "@error"
_LINE: Final = OPTIONS | orjson.OPT_APPEND_NEWLINE


class NdjsonWriter:
    """Values are those of the JSON envelope."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._redactor = Redactor(None, ())

    def takes_frames(self, redactor: Redactor) -> bool:
        return False

    def begin(self, columns: Sequence[Column], redactor: Redactor) -> bytes:
        """Nothing: names stand in each row."""
        self._names, self._redactor = distinct_names([column.name for column in columns]), redactor
        return b""

    def chunk(self, rows: Batch) -> bytes:
        """A line each."""
        assert not isinstance(rows, Frame)
        names = self._names
        dumps = orjson.dumps
        dumped = b"".join([dumps(dict(zip(names, row)), None, _LINE) for row in rows])  # noqa: B905 - costs a tenth
        if not self._redactor.shows(dumped):
            return dumped
        clean = [self._redactor.value(dict(zip(names, row, strict=True))) for row in rows]
        return b"".join([orjson.dumps(row, option=_LINE) for row in clean])

    def end(self, facts: Facts) -> bytes:
        return orjson.dumps({END: {"status": "success", **facts}}, option=_LINE)

    def broken(self, failure: Facts) -> bytes:
        return orjson.dumps({ERROR: failure}, option=_LINE)
