"""What the routes share: positions of pages, refused values."""

from datetime import datetime
from uuid import UUID

from pydantic.alias_generators import to_camel

from libs.common.errors import Unprocessable
from libs.common.event_rules import Refused
from libs.common.paging import decode_cursor


def position(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Behind which moment and id a page begins. 422 for a foreign cursor."""
    values = decode_cursor(cursor, datetime.fromisoformat, UUID)
    return (values[0], values[1]) if values else None


def unprocessable(error: Refused) -> Unprocessable:
    """422 that names the field as the API does."""
    field = to_camel(error.field)
    return Unprocessable(f"{field}: {error.rule}", errors=[{"field": field, "message": error.rule}])
