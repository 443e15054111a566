"""What the routes share: positions of pages, filters, refused values."""

from datetime import UTC, datetime
from typing import Annotated, TypeAlias
from uuid import UUID

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime
from pydantic.alias_generators import to_camel

from libs.common.errors import Unprocessable
from libs.common.event_rules import Refused
from libs.common.paging import decode_cursor


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must hold no NUL character")
    return text


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


# A text, a moment as filters name them.
Wanted: TypeAlias = Annotated[str, AfterValidator(_storable)] | None
Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(_utc)] | None
Part = Annotated[Wanted, Query(max_length=255, description="Part of the name.")]
Since = Annotated[Moment, Query(alias="from", description="Moments from here on.")]
Until = Annotated[Moment, Query(alias="to", description="Moments before this.")]


def position(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Behind which moment and id a page begins. 422 for a foreign cursor."""
    values = decode_cursor(cursor, lambda written: _utc(datetime.fromisoformat(written)), UUID)
    return (values[0], values[1]) if values else None


def unprocessable(error: Refused) -> Unprocessable:
    """422 that names the field as the API does."""
    field = to_camel(error.field)
    return Unprocessable(f"{field}: {error.rule}", errors=[{"field": field, "message": error.rule}])
