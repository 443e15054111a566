"""Logs, traces and metrics: set up once per process, by `app.py`."""

import logging
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

import asyncpg
import structlog
from asyncpg.connection import LoggedQuery
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from libs.common.settings import CommonSettings

_tracer = trace.get_tracer("tidemark.db")


def _add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = format(span.trace_id, "032x")
    return event


def setup_logging(service: str, settings: CommonSettings) -> None:
    """One JSON object a line on standard output, with service and trace id; libraries' logs included."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            lambda _l, _m, event: {"service": service, **event},
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # In an outage aiokafka writes tens of lines a second that all say the same.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("mysql.connector").setLevel(logging.WARNING)  # below that it writes what it sends to log in
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def setup_tracing(service: str, settings: CommonSettings) -> None:
    """Sample at the root by ratio, follow the caller's decision otherwise; export by OTLP where an endpoint is set."""
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.namespace": "tidemark"}),
        sampler=ParentBasedTraceIdRatio(settings.trace_ratio),
    )
    if settings.otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_endpoint)))
    trace.set_tracer_provider(provider)


def current_traceparent() -> str | None:
    """W3C `traceparent` of the current span, to be stored beside work that is done later."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def context_of(traceparent: str | None) -> context.Context:
    """The context that a stored `traceparent` names; an empty one where there is none."""
    carrier: Mapping[str, str] = {"traceparent": traceparent} if traceparent else {}
    return propagate.extract(carrier, context=context.Context())


def _record_statement(query: LoggedQuery) -> None:
    """A span per SQL statement. Its text holds `$n`, never a value: of what a transaction begins with, only BEGIN."""
    parent = trace.get_current_span()
    if not parent.is_recording():
        return
    end = time.time_ns()
    text = "BEGIN" if query.query.startswith("BEGIN;") else query.query
    span = _tracer.start_span(
        f"sql {text.split(None, 1)[0].lower()}",
        kind=trace.SpanKind.CLIENT,
        start_time=end - int(query.elapsed * 1e9),
        attributes={"db.system.name": "postgresql", "db.query.text": text[:2000]},
    )
    if query.exception is not None:
        span.set_status(trace.StatusCode.ERROR, type(query.exception).__name__)
    span.end(end)


async def trace_statements(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Pool initialiser: each statement of the connection becomes a span of the request or message that ran it."""
    connection.add_query_logger(_record_statement)
