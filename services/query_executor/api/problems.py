"""Every failure in the one shape of this API: `{status, code, message, errors, details}`."""

from collections.abc import Mapping
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from libs.common.errors import TidemarkError, Unavailable
from libs.common.failures import describe, is_transient
from libs.common.http import current_trace_id, json_response
from services.query_executor.envelope import code_name, failure
from services.query_executor.errors import QueryError, QueryValidationError
from services.query_executor.schemas import Failure

_log = structlog.get_logger()
_CODES: Final = {404: "NotFound", 405: "MethodNotAllowed", 413: "TooLarge", 415: "UnsupportedMedia"}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of the errors that a route answers."""
    return {status: {"model": Failure} for status in statuses}


def _answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    return json_response(failure(code, message, **more), status, dict(headers or {}))


async def _on_known(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TidemarkError)
    errors, details = (error.errors, error.details) if isinstance(error, QueryError) else ({}, {})
    return _answer(error.status, code_name(error.code), error.detail, error.headers, errors=errors, details=details)


async def _on_invalid(_request: Request, error: Exception) -> Response:
    """400 that names each field. The offending input is left out: it may be a secret."""
    assert isinstance(error, RequestValidationError)
    fields: dict[str, list[str]] = {}
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
        fields.setdefault(place, []).append(str(problem["msg"]).removeprefix("Value error, "))
    message = "; ".join(f"{place}: {', '.join(texts)}" for place, texts in fields.items())
    return _answer(QueryValidationError.status, QueryValidationError.code, message, errors=fields)


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "HttpError")
    return _answer(error.status_code, code, str(error.detail), error.headers)


async def _on_unknown(_request: Request, error: Exception) -> Response:
    if is_transient(error):
        _log.warning("request failed for now", error=describe(error))
        away = Unavailable("Something that this needs does not answer; try again.")
        return _answer(away.status, "Unavailable", away.detail, away.headers)
    _log.error("request failed", error=describe(error))
    details = {"trace_id": current_trace_id()}
    return _answer(500, "InternalError", "Internal error; give the trace_id to the operator.", details=details)


def install_problems(app: FastAPI) -> None:
    """In the place of the shape that the other services share, in the OpenAPI document too."""
    app.add_exception_handler(TidemarkError, _on_known)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unknown)
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        return _without_foreign(generated())

    app.openapi = openapi  # type: ignore[method-assign]


def _without_foreign(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI describes a 422 of its own for each body; here a body that is not valid is a 400."""
    for item in document["paths"].values():
        for operation in item.values():
            described = str(operation["responses"].get("422"))
            if "HTTPValidationError" in described:
                del operation["responses"]["422"]
    return document
