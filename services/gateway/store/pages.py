"""Keyset pages: every list is in the order of (created_at, id)."""

from datetime import datetime
from uuid import UUID

from services.gateway.domain import Position


def behind(after: Position | None) -> tuple[datetime | None, UUID | None]:
    """Parameters of a page's start."""
    return (after.created_at, after.id) if after else (None, None)
