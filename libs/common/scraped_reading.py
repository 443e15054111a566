"""Reads the records of `bi_query.scraped`: by msgspec, and by the pydantic models where msgspec is in doubt.

Whatever msgspec takes, pydantic takes with the same values (but for unknown fields nested over 200 levels or numbers of
thousands of digits in them, which msgspec skips). What it refuses is given to pydantic, which may take it yet (`"5"`
for a number), or says what is wrong.
"""

from typing import Annotated, Any, Final

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder
from pydantic import BaseModel, Field, TypeAdapter

from libs.common import scraped, scraped_shapes
from libs.common.scraped import BiQueryRecord, BiQueryScraped

_Shape = Annotated[scraped_shapes.BiQueryScraped | scraped_shapes.SyncCompleted, Field(discriminator="kind")]
_shape: Final[TypeAdapter[Any]] = TypeAdapter(_Shape)
_record: Final[Decoder[BiQueryRecord]] = Decoder(BiQueryRecord)
_REFUSED: Final = (MsgspecError, UnicodeDecodeError, RecursionError)


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
