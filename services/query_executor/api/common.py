"""What the routes share: parameters, answers, ids of what a request creates."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from libs.common.auth import Principal
from libs.common.http import creation_id, json_response
from services.query_executor.envelope import RETRIEVED, success

AppSlug = Annotated[str, Path(max_length=63, description="The app's slug.")]
QuerySlug = Annotated[str, Path(max_length=63, description="The query's slug.")]
KeyInPath = Annotated[str, Path(max_length=128, description="The secret's key.")]
Out = TypeVar("Out", bound=BaseModel)


def new_id(caller: Principal, request: Request, key: str | None) -> UUID:
    """The same for both spellings of a path."""
    return creation_id(caller, request.url.path.rstrip("/"), key)


def one(shown: BaseModel, message: str = RETRIEVED, status: int = 200) -> Response:
    return json_response(success(message, data=shown.model_dump(mode="json")), status)


def many(shown: Sequence[BaseModel]) -> Response:
    return json_response(success(RETRIEVED, data=[each.model_dump(mode="json") for each in shown], total=len(shown)))


def done(message: str) -> Response:
    return json_response(success(message))


def named(body: BaseModel) -> dict[str, Any]:
    """The fields that a request names, as they are written."""
    return {name: getattr(body, name) for name in body.model_fields_set}


def without_nulls(changes: Mapping[str, Any], *nullable: str) -> dict[str, Any]:
    """Null means absent where it is no value."""
    return {name: value for name, value in changes.items() if value is not None or name in nullable}
