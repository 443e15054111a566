"""Who calls one of the gateway's own routes, and pages of what it lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol
from uuid import UUID

from fastapi import Depends, Header, Request

from libs.common.auth import Principal
from libs.common.paging import decode_cursor, encode_cursor
from services.gateway.domain import Position
from services.gateway.identity import Identity


async def caller_of(
    request: Request, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> Principal:
    """By a token or an API key."""
    identity: Identity = request.app.state.identity
    return await identity.principal(authorization)


async def tenant_caller_of(caller: Annotated[Principal, Depends(caller_of)]) -> Principal:
    """As caller_of; 403 where the token names no tenant."""
    caller.require_tenant()
    return caller


Anyone = Annotated[Principal, Depends(caller_of)]
Caller = Annotated[Principal, Depends(tenant_caller_of)]


class Listed(Protocol):
    """What is listed in the order of its creation."""

    @property
    def id(self) -> UUID: ...

    @property
    def created_at(self) -> datetime: ...


def next_cursor(found: Sequence[Listed], limit: int) -> str | None:
    """The cursor behind a page; one row more than the page was asked for."""
    return encode_cursor(found[limit - 1].created_at, found[limit - 1].id) if len(found) > limit else None


def position_of(cursor: str | None) -> Position | None:
    """Where a page begins; 422 for a cursor that is none."""
    values = decode_cursor(cursor, datetime.fromisoformat, UUID)
    return Position(*values) if values else None
