"""The HTTP side that all services share: application, health, errors in one shape, identity, idempotent ids."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any
from uuid import UUID, uuid4, uuid5

import orjson
import structlog
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from opentelemetry import trace
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.auth import InternalVerifier, Principal
from libs.common.errors import TidemarkError, Unauthorized, Unavailable
from libs.common.failures import describe, is_transient
from libs.common.settings import ServiceSettings

IDEMPOTENCY_HEADER = "Idempotency-Key"
Readiness = Callable[[], Awaitable[str | None]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_log = structlog.get_logger()
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media"}


class ErrorBody(BaseModel):
    """Every error of every service. `errors` names fields where the request did not validate."""

    detail: str
    code: str
    trace_id: str | None = None
    errors: list[dict[str, str]] | None = None


def current_trace_id() -> str | None:
    """Trace id of the current span as 32 hex digits."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


def json_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON by orjson, for bodies that need no model."""
    return Response(orjson.dumps(body), status, headers, "application/json")


def error_response(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None, **extra: object
) -> Response:
    """An answer in the one error shape."""
    body = {"detail": detail, "code": code, "trace_id": current_trace_id(), **extra}
    return json_response(body, status, headers)


async def _on_known(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TidemarkError)
    return error_response(error.status, error.code, error.detail, error.headers, **error.extra)


def _field(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location[1:]) or str(location[0])


async def _on_invalid(_request: Request, error: Exception) -> Response:
    """422 that names each field. The offending input is left out: it may be a secret."""
    assert isinstance(error, RequestValidationError)
    problems = [{"field": _field(problem["loc"]), "message": str(problem["msg"])} for problem in error.errors()]
    detail = "; ".join(f"{problem['field']}: {problem['message']}" for problem in problems)
    return error_response(422, "validation", detail, errors=problems)


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "http_error")
    return error_response(error.status_code, code, str(error.detail), dict(error.headers or {}))


async def _on_unknown(_request: Request, error: Exception) -> Response:
    if is_transient(error):
        _log.warning("request failed for now", error=describe(error))
        away = Unavailable("Something that this needs does not answer; try again.")
        return error_response(away.status, away.code, away.detail, away.headers)
    _log.error("request failed", error=type(error).__name__, exc_info=error)
    return error_response(500, "internal", "Internal error; give the trace_id to the operator.")


def install_errors(app: FastAPI) -> None:
    """Give every failure the one error shape."""
    app.add_exception_handler(TidemarkError, _on_known)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unknown)


def _health(readiness: Readiness, registry: CollectorRegistry) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz() -> Response:
        reason = await readiness()
        if reason is None:
            return json_response({"status": "ready"})
        return error_response(503, "not_ready", reason, {"Retry-After": "1"})

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


async def always_ready() -> str | None:
    """Readiness of a service that depends on nothing."""
    return None


class _Service(FastAPI):
    """FastAPI answers a body that is announced as too large in plain text; every error here has the one shape."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self.max_body_size
        if scope["type"] == "http" and limit is not None and _announced(scope) > limit:
            await error_response(413, "too_large", f"The body is larger than {limit:,} bytes.")(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _announced(scope: Scope) -> int:
    length: bytes = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


def create_app(
    service: str,
    settings: ServiceSettings,
    *,
    registry: CollectorRegistry,
    lifespan: Lifespan | None = None,
    routers: Sequence[APIRouter] = (),
    readiness: Readiness = always_ready,
) -> FastAPI:
    """A service's application: its routers, health, metrics, errors; requests carry the gateway's internal token."""
    app = _Service(
        title=f"Tidemark {service.replace('_', ' ')}",
        telemetry={"operation_spans": False, "metrics": False, "logs": False},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        max_body_size=settings.max_body_bytes,
    )
    app.state.verifier = InternalVerifier.of(settings.internal_public_keys)
    install_errors(app)
    app.include_router(_health(readiness, registry))
    for router in routers:
        app.include_router(router)
    return app


# Coroutines, because FastAPI would send a plain function to a thread, which costs more than the check itself.
async def principal(request: Request) -> Principal:
    """The caller, from the internal token: 401 without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("Send an `Authorization: Bearer …` header.", headers={"WWW-Authenticate": "Bearer"})
    verifier: InternalVerifier = request.app.state.verifier
    return verifier.verify(token)


async def tenant_principal(request: Request) -> Principal:
    """The caller, who must belong to a tenant: 403 otherwise."""
    caller = await principal(request)
    caller.require_tenant()
    return caller


Caller = Annotated[Principal, Depends(tenant_principal)]
IdempotencyKey = Annotated[str | None, Header(alias=IDEMPOTENCY_HEADER, min_length=1, max_length=255)]


def creation_id(caller: Principal, route: str, key: str | None) -> UUID:
    """Id of what a request creates: the same for the same tenant, route and Idempotency-Key, else random."""
    return uuid5(caller.require_tenant(), f"{route}\n{key}") if key else uuid4()


def serve(app: ASGIApp, settings: ServiceSettings) -> None:
    """Run until SIGTERM or SIGINT, then finish what is in flight within the budget."""
    uvicorn.run(
        app,
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(settings.shutdown_seconds),
        timeout_keep_alive=75,
        ws="none",
        proxy_headers=False,
    )


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of the errors that a route answers."""
    return {status: {"model": ErrorBody} for status in statuses}
