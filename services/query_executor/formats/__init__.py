"""How a result is written: one module per format, one Protocol for all. Rows become bytes batch by batch."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from services.query_executor.drivers import Column, Row
from services.query_executor.drivers.frames import Frame
from services.query_executor.redact import Redactor

Facts = Mapping[str, object]
Batch: TypeAlias = Sequence[Row] | Frame


class Writer(Protocol):
    """Writes one result. `chunk` changes nothing, so that it may be asked how long some rows would be."""

    def takes_frames(self, redactor: Redactor) -> bool:
        """Whether `chunk` takes frames, and would find these secrets in them."""

    def begin(self, columns: Sequence[Column], redactor: Redactor) -> bytes:
        """What stands before the rows."""

    def chunk(self, rows: Batch) -> bytes:
        """Rows, without secrets."""

    def end(self, facts: Facts) -> bytes:
        """What stands behind the last row: `execution_key`, `total`, `truncated`, where the format has room for it."""

    def broken(self, failure: Facts) -> bytes:
        """The last words of a result that fails in the middle; the connection is broken off behind them."""
