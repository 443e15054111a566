"""Pages of lists: `limit`, and an opaque `cursor` that says behind which row the next page begins."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

import orjson
from fastapi import Query

from libs.common.errors import Unprocessable

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500

Row = TypeVar("Row")

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items in one page.")]
Cursor = Annotated[
    str | None, Query(max_length=2048, description="`next_cursor` of the page before; opaque, without it the first.")
]


def encode_cursor(*position: object) -> str:
    """A cursor from the sort values of a page's last row (what orjson writes: text, numbers, UUIDs, datetimes)."""
    return base64.urlsafe_b64encode(orjson.dumps(position, default=str)).rstrip(b"=").decode()


def decode_cursor(cursor: str | None, *kinds: Any) -> list[Any] | None:
    """The values back, each made by its function (`UUID`, `datetime.fromisoformat` …). 422 for a foreign cursor."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        return [kind(value) for kind, value in zip(kinds, values, strict=True)]
    except (ValueError, TypeError, AttributeError, binascii.Error):
        raise Unprocessable("cursor: is none of ours; take `next_cursor` of the page before.") from None


def cut(found: Sequence[Row], limit: int) -> tuple[Sequence[Row], Row | None]:
    """A page of rows that were asked for with one more than `limit`; its last row where another page follows."""
    return (found[:limit], found[limit - 1]) if len(found) > limit else (found, None)
