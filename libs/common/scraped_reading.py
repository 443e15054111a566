"""Reads the records of `bi_query.scraped`: by msgspec, and by the pydantic models where msgspec is in doubt.

Whatever msgspec takes, pydantic takes with the same values (but for unknown fields nested over 200 levels or numbers of
thousands of digits in them, which msgspec skips). What it refuses is given to pydantic, which may take it yet (`"5"`
for a number), or says what is wrong.

Most of a record's bytes are those of another one: its statement, tables, columns, connector, job. A reader remembers
what they said. So they are not read again, and records of one statement share their parts.
"""

from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from msgspec import MsgspecError, Raw, Struct
from msgspec.json import Decoder
from pydantic import BaseModel, Field, TypeAdapter

from libs.common import scraped, scraped_shapes
from libs.common.recent import Recent
from libs.common.scraped import (
    BiQueryRecord,
    BiQueryScraped,
    ColumnUse,
    ConnectorRef,
    SyncCompleted,
    TableRef,
)

_Shape = Annotated[scraped_shapes.BiQueryScraped | scraped_shapes.SyncCompleted, Field(discriminator="kind")]
_shape: Final[TypeAdapter[Any]] = TypeAdapter(_Shape)
_record: Final[Decoder[BiQueryRecord]] = Decoder(BiQueryRecord)
_REFUSED: Final = (MsgspecError, UnicodeDecodeError, RecursionError)

_Said = TypeVar("_Said")
_ENTRIES: Final = 8192  # of each of two generations
_BYTES: Final = 16 * 1024 * 1024
_LONGEST: Final = 8192
_NULL: Final = Raw(b"null")
_EMPTY: Final = Raw(b"[]")


class _Unread(BiQueryScraped, frozen=False, kw_only=True, gc=False, tag="bi_query"):  # type: ignore[misc]
    """A record whose repeated parts are not read yet. It becomes the record itself when they are put in."""

    tenant: Raw  # type: ignore[assignment]
    connector: Raw  # type: ignore[assignment]
    job_id: Raw = _NULL  # type: ignore[assignment]
    sql_text: Raw = _NULL  # type: ignore[assignment]
    tables: Raw = _EMPTY  # type: ignore[assignment]
    columns: Raw = _EMPTY  # type: ignore[assignment]


_Parts = tuple[bytes, bytes, bytes]
_Source = tuple[UUID, ConnectorRef, UUID | None]
_Words = tuple[str | None, tuple[TableRef, ...], tuple[ColumnUse, ...]]
# As written, and as read.
_KnownSource = tuple[Raw, Raw, Raw, _Source]
_KnownWords = tuple[Raw, Raw, _Words]


class RecordReader:
    """`read_record` that remembers what it read.

    What is written as in the record before, or with a text as it was with it before, is compared, which is quicker than
    to make keys of it.
    """

    def __init__(self) -> None:
        self._record: Decoder[_Unread | SyncCompleted] = Decoder(_Unread | SyncCompleted)
        self._source: Decoder[_Source] = Decoder(_Source)
        self._words: Decoder[_Words] = Decoder(_Words)
        self._sources: Recent[_Parts, _Source] = Recent(_ENTRIES, _BYTES)
        self._said: Recent[_Parts, _Words] = Recent(_ENTRIES, _BYTES)
        self._texts: Recent[bytes, _KnownWords] = Recent(_ENTRIES, _BYTES)
        self._before: _KnownSource | None = None

    def __call__(self, body: bytes) -> BiQueryRecord:
        """A record of the topic. Raises pydantic.ValidationError."""
        try:
            body.isascii() or body.decode()
            head = self._record.decode(body)
            return self._completed(head) if isinstance(head, _Unread) else head
        except _REFUSED:
            return _slowly(body)

    def _completed(self, record: Any) -> BiQueryScraped:
        before, text = self._before, bytes(record.sql_text)
        if before is None or (record.tenant, record.connector, record.job_id) != before[:3]:
            before = self._before = self._known_source(record)
        words = self._texts.get(text)
        if words is None or record.columns != words[1] or record.tables != words[0]:
            words = self._known_words(record, text, words)
        record.tenant, record.connector, record.job_id = before[3]
        record.sql_text, record.tables, record.columns = words[2]
        # It has the very fields of one; to make another one and copy them takes a quarter of all the reading.
        record.__class__ = BiQueryScraped
        completed: BiQueryScraped = record
        return completed

    def _known_source(self, record: Any) -> _KnownSource:
        raw = (record.tenant.copy(), record.connector.copy(), record.job_id.copy())
        parts = (bytes(raw[0]), bytes(raw[1]), bytes(raw[2]))
        return (*raw, self._sources.get(parts) or _learn(self._sources, self._source, parts))

    def _known_words(self, record: Any, text: bytes, other: _KnownWords | None) -> _KnownWords:
        parts = (text, bytes(record.tables), bytes(record.columns))
        said = self._said.get(parts) or _learn(self._said, self._words, parts)
        known = (record.tables.copy(), record.columns.copy(), said)
        length = sum(map(len, parts))
        if other is None and length <= _LONGEST:
            self._texts.put(text, known, length)
        return known


def _learn(known: Recent[_Parts, _Said], decoder: Decoder[_Said], parts: _Parts) -> _Said:
    said = decoder.decode(b"[%b,%b,%b]" % parts)
    length = sum(map(len, parts))
    if length <= _LONGEST:
        known.put(parts, said, length)
    return said


def read_record(body: bytes) -> BiQueryRecord:
    """A record of the topic. Raises pydantic.ValidationError."""
    try:
        body.isascii() or body.decode()  # msgspec skips unknown fields without a look at their encoding
        return _record.decode(body)
    except _REFUSED:
        return _slowly(body)


def read_bi_query(text: str) -> BiQueryScraped:
    """A record that was stored by ourselves. Raises ValueError."""
    record = read_record(text.encode())
    if not isinstance(record, BiQueryScraped):
        raise ValueError("not a BiQuery record")
    return record


def _slowly(body: bytes) -> BiQueryRecord:
    found: BiQueryRecord = _struct(_shape.validate_json(body))
    return found


def _struct(shape: BaseModel) -> Any:
    struct: type[Struct] = getattr(scraped, type(shape).__name__)
    return struct(**{name: _plain(getattr(shape, name)) for name in struct.__struct_fields__})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _struct(value)
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value
