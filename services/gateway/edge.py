"""The outermost application: passes known routes on to services, gives all others to the gateway's own."""

import time
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final

import structlog
from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.auth import Principal
from libs.common.errors import TidemarkError, Unavailable
from libs.common.failures import describe, is_transient
from libs.common.http import error_response
from services.gateway.idempotency import key_of
from services.gateway.ingress.publishing import PATH, Gone, Publishing
from services.gateway.routes import Match, Needs, NotRouted, Route, RouteTable
from services.gateway.service import Gateway

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_ROUTE: Final = "tidemark.route"
# Some senders put their secret behind the address. It is nothing that is asked for, and spans would show it.
_WEBHOOKS: Final = "/webhooks/"
_tracer = trace.get_tracer("tidemark.gateway")
_trace_context = TraceContextTextMapPropagator()
_log = structlog.get_logger()


class Watched:
    """`send` that notes the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


class HttpMetrics:
    """Count and duration of requests, by the route's template and never by what stands in it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "tidemark_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("method", "route", "status"),
            registry=registry,
            buckets=_BUCKETS,
        )

    def observe(self, scope: Scope, route: str, status: int | None, seconds: float) -> None:
        """`status` None: the client left, or the answer broke off."""
        method = scope["method"] if route != "unknown" else "any"
        self._seconds.labels(method, route, str(status or "none")).observe(seconds)


def _header(scope: Scope, name: bytes) -> str | None:
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else None


async def answered(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application and answer its failures in the one error shape."""
    watched = Watched(send)
    try:
        await app(scope, receive, watched)
    except Gone:
        return
    except Exception as error:
        if watched.status is not None:
            raise
        await _error(error)(scope, receive, send)


def _error(error: Exception) -> ASGIApp:
    known = error
    if not isinstance(error, TidemarkError) and is_transient(error):
        known = Unavailable("Something that this needs does not answer; try again.")
    if isinstance(known, TidemarkError):
        return error_response(known.status, known.code, known.detail, known.headers, **known.extra)
    _log.error("request failed", error=describe(error))
    return error_response(500, "internal", "Internal error; give the trace_id to the operator.")


def _refusing(error: TidemarkError) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    return app


class Edge:
    """Plain ASGI: what is passed through, and events that are published, never meet the framework."""

    def __init__(
        self,
        own: ASGIApp,
        gateway: Callable[[], Gateway],
        publishing: Callable[[], Publishing],
        table: RouteTable,
        metrics: HttpMetrics,
    ) -> None:
        self._own = own
        self._gateway = gateway
        self._publishing = publishing
        self._table = table
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._own(scope, receive, send)
            return
        started, watched, route = time.perf_counter(), Watched(send), "unknown"
        if scope["path"].startswith(_WEBHOOKS):
            scope["query_string"] = b""
        try:
            match = self._table.match(scope["method"], scope["path"])
            if match is None and Publishing.takes(scope):
                route = PATH
                await _traced(f"POST {PATH}", PATH, self._publishing(), scope, receive, watched)
            elif match is None:
                await self._own(scope, receive, watched)
                route = str(scope.get(_ROUTE) or getattr(scope.get("route"), "path", route))
            else:
                route = match.route.pattern
                app = _Passing(self._gateway(), match)
                await _traced(match.route.template, route, app, scope, receive, watched)
        except NotRouted as error:
            await _traced(scope["method"], None, _refusing(error), scope, receive, watched)
        finally:
            self._metrics.observe(scope, route, watched.status, time.perf_counter() - started)


async def _traced(name: str, route: str | None, app: ASGIApp, scope: Scope, receive: Receive, send: Watched) -> None:
    """Answer in a span of the caller's trace, which goes on into the service."""
    given = {key: _header(scope, key.encode()) for key in ("traceparent", "tracestate")}
    carrier = {key: value for key, value in given.items() if value is not None}
    attributes = {"http.request.method": scope["method"], **({"http.route": route} if route else {})}
    with _tracer.start_as_current_span(
        name,
        context=_trace_context.extract(carrier, context=context.Context()),
        kind=trace.SpanKind.SERVER,
        attributes=attributes,
        record_exception=False,
    ) as span:
        await answered(app, scope, receive, send)
        if send.status is not None:
            span.set_attribute("http.response.status_code", send.status)


class _Passing:
    """One request to a service: who, under which key, where to."""

    def __init__(self, gateway: Gateway, match: Match) -> None:
        self._gateway = gateway
        self._match = match

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = await self._gateway.identity.principal(_header(scope, b"authorization"))
        key = key_of(scope)
        if key is None:
            await self._forward(caller, scope, receive, send)
            return
        if self._match.route.needs is not Needs.CALLER:
            caller.require_tenant()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answered(self._forwarding(caller), scope, receive, send)

        await self._gateway.calls.run(caller, self._match.route.template, key, app, scope, receive, send)

    def _forwarding(self, caller: Principal) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self._forward(caller, scope, receive, send)

        return app

    async def _forward(self, caller: Principal, scope: Scope, receive: Receive, send: Send) -> None:
        target = await self._gateway.admission.target(caller, self._match)
        await self._gateway.proxy(target, scope, receive, send)


class OwnKeyedCalls:
    """Middleware of the gateway's own application: Idempotency-Key on what it creates itself."""

    def __init__(self, app: ASGIApp, gateway: Callable[[], Gateway], paths: Iterable[str]) -> None:
        self._app = app
        self._gateway = gateway
        self._table = RouteTable(Route("POST", path, "gateway") for path in paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        posted = scope["type"] == "http" and scope["method"] == "POST"
        match = self._table.match("POST", scope["path"]) if posted else None
        if match is None:
            await self._app(scope, receive, send)
        else:
            scope[_ROUTE] = match.route.pattern  # an answer from the store meets no router
            await answered(self._keyed, scope, receive, send)

    async def _keyed(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        gateway, key = self._gateway(), key_of(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        caller = await gateway.identity.principal(_header(scope, b"authorization"))
        await gateway.calls.run(caller, f"POST {scope['path']}", key, self._app, scope, receive, send)
