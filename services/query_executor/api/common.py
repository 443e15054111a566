"""What the routes share: parameters, answers, ids of what a request creates."""

from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from libs.common.auth import Principal
from libs.common.http import creation_id, json_response
from services.query_executor.envelope import RETRIEVED, success

LONGEST_SLUG: Final = 63
AppSlug = Annotated[str, Path(max_length=LONGEST_SLUG, description="The app's slug.")]
QuerySlug = Annotated[str, Path(max_length=LONGEST_SLUG, description="The query's slug.")]
KeyInPath = Annotated[str, Path(max_length=128, description="The secret's key.")]


def new_id(caller: Principal, request: Request, key: str | None) -> UUID:
    """The same for both spellings of a path."""
    return creation_id(caller, request.url.path.rstrip("/") if key else "", key)


def one(shown: BaseModel, message: str = RETRIEVED, status: int = 200) -> Response:
    return json_response(success(message, data=shown.model_dump(mode="json")), status)


def many(shown: Sequence[BaseModel], **facts: object) -> Response:
    """A list; `total` is its length unless `facts` say otherwise."""
    data = [each.model_dump(mode="json", by_alias=True) for each in shown]
    return json_response(success(RETRIEVED, **{"data": data, "total": len(shown), **facts}))


def done(message: str) -> Response:
    return json_response(success(message))


def named(body: BaseModel) -> dict[str, Any]:
    """The fields that a request names, as they are written."""
    return {name: getattr(body, name) for name in body.model_fields_set}
