"""Arrow IPC streams, where pyarrow is installed. A column's type follows from the server's name of its type alone."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from services.query_executor.drivers import Column
from services.query_executor.drivers.frames import Frame
from services.query_executor.drivers.values import real
from services.query_executor.envelope import OPTIONS, distinct_names
from services.query_executor.formats import Batch, Facts, frames
from services.query_executor.optional import optional
from services.query_executor.redact import REDACTED, Redactor

pyarrow = optional("pyarrow")

MEDIA_TYPE: Final = "application/vnd.apache.arrow.stream"
AVAILABLE: Final = pyarrow is not None
_END_OF_STREAM: Final = b"\xff\xff\xff\xff\0\0\0\0"


def _number(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        return None if value is None or value == REDACTED else convert(value)

    return read


def _moment(value: Any) -> Any:
    """Infinite ones have no place in the type, redacted ones neither."""
    return None if isinstance(value, str) else value


def _bytes(value: Any) -> Any:
    if value is None:
        return None
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:  # redacted
        return None


def _text(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    dumped = orjson.dumps(value, option=OPTIONS).decode()
    return dumped.strip('"') if not isinstance(value, (list, dict)) else dumped


_INTEGERS: Final = {"int2": "int16", "int4": "int32", "int8": "int64"}
_REALS: Final = {"float4": "float32", "float8": "float64"}


def arrow_type(column: Column) -> tuple[Any, Callable[[Any], Any]]:
    """The type, and how the driver's values become what pyarrow takes for it; text where nothing fits better."""
    if column.type in _INTEGERS:
        return pyarrow.type_for_alias(_INTEGERS[column.type]), _number(int)
    if column.type in _REALS:
        return pyarrow.type_for_alias(_REALS[column.type]), _number(real)
    others: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "bool": (pyarrow.bool_(), _moment),
        "date": (pyarrow.date32(), _moment),
        "timestamp": (pyarrow.timestamp("us"), _moment),
        "timestamptz": (pyarrow.timestamp("us", "UTC"), _moment),
        "bytea": (pyarrow.binary(), _bytes),
    }
    return others.get(column.type, (pyarrow.string(), _text))


def schema_of(columns: Sequence[Column], redactor: Redactor) -> Any:
    """Names distinct, without secrets."""
    names = distinct_names([redactor.in_text(column.name) for column in columns])
    return pyarrow.schema([(name, arrow_type(column)[0]) for name, column in zip(names, columns, strict=True)])


def last_batch(schema: Any, facts: Facts) -> bytes:
    """An empty batch whose metadata holds the facts, and the end of the stream."""
    metadata = {name: orjson.dumps(value).decode().strip('"') for name, value in facts.items()}
    written = io.BytesIO()
    with pyarrow.ipc.new_stream(written, schema) as stream:
        stream.write_batch(pyarrow.RecordBatch.from_pylist([], schema=schema), custom_metadata=metadata)
    return written.getvalue()[len(schema.serialize()) :]


class ArrowWriter:
    """From rows; a driver that has Arrow of its own is faster."""

    def __init__(self) -> None:
        self._redactor = Redactor(None, ())
        self._schema: Any = None
        self._reads: list[Callable[[Any], Any]] = []

    def takes_frames(self, redactor: Redactor) -> bool:
        return not redactor.numeric

    def begin(self, columns: Sequence[Column], redactor: Redactor) -> bytes:
        self._redactor, self._schema = redactor, schema_of(columns, redactor)
        self._reads = [arrow_type(column)[1] for column in columns]
        return bytes(self._schema.serialize())

    def chunk(self, rows: Batch) -> bytes:
        """One batch; values are scanned as they are, for in binary numbers no digits show."""
        if not len(rows):
            return b""
        if isinstance(rows, Frame):
            return self._frame(rows.batch)
        if self._redactor.text is not None and self._redactor.shows(
            orjson.dumps(list(map(list, rows)), option=OPTIONS)
        ):
            rows = [self._redactor.value(row) for row in rows]
        arrays = [
            pyarrow.array([read(value) for value in values], type=field.type)
            for values, read, field in zip(zip(*rows, strict=True), self._reads, self._schema, strict=True)
        ]
        return bytes(pyarrow.RecordBatch.from_arrays(arrays, schema=self._schema).serialize())

    def _frame(self, batch: Any) -> bytes:
        columns = [frames.finite(column) for column in batch.columns]
        written = pyarrow.RecordBatch.from_arrays(columns, schema=self._schema).serialize()
        if not self._redactor.shows(memoryview(written).tobytes()):
            return bytes(written)
        columns = [frames.without_secrets(column, self._redactor) for column in columns]
        return bytes(pyarrow.RecordBatch.from_arrays(columns, schema=self._schema).serialize())

    def end(self, facts: Facts) -> bytes:
        return last_batch(self._schema, facts)

    def broken(self, failure: Facts) -> bytes:
        return b""
