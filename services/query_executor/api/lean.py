"""The route of executions reads what most requests are by itself; FastAPI takes several times as long for that."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from libs.common.http import IDEMPOTENCY_HEADER, principal
from services.query_executor.api.common import LONGEST_SLUG
from services.query_executor.schemas import Execute

_SMALL: Final = 64 * 1024
_SELDOM: Final = (IDEMPOTENCY_HEADER, "Prefer", "Transfer-Encoding")


class Lean(APIRoute):
    """Whatever is seldom, and whatever is wrong, is left to FastAPI: both come to the same."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI asks for it."""
        careful = super().get_route_handler()

        async def handler(request: Request) -> Response:
            arguments = await _arguments(request)
            if arguments is None:
                return await careful(request)
            answer: Response = await self.endpoint(**arguments)
            return answer

        return handler


async def _arguments(request: Request) -> dict[str, Any] | None:
    """What the route's function takes; None for requests that are not plain. Raises 401."""
    headers = request.headers
    if headers.get("content-type") != "application/json" or any(name in headers for name in _SELDOM):
        return None
    length = headers.get("content-length", "")
    if not length.isdigit() or int(length) > _SMALL or any(len(slug) > LONGEST_SLUG for slug in _slugs(request)):
        return None
    try:
        body = Execute.model_validate(json.loads(await request.body()))
    except (ClientDisconnect, ValidationError, ValueError, RecursionError):
        return None
    caller, accept = await principal(request), headers.get("accept")
    return {**request.path_params, "caller": caller, "request": request, "body": body, "accept": accept}


def _slugs(request: Request) -> list[str]:
    return [str(value) for value in request.path_params.values()]
