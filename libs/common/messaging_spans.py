"""Spans of publishing and processing. A batch of one trace continues it; a mixed batch is one span with links."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from libs.common.telemetry import context_of

_tracer = trace.get_tracer("tidemark.messaging")
_MAX_LINKS = 128
_TRACE_ID = slice(3, 35)


@contextmanager
def publish_span(topic: str, count: int | None = None) -> Iterator[Span]:
    """`<topic> publish`, a child of the current span."""
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
    }
    if count is not None:
        attributes["messaging.batch.message_count"] = count
    with _tracer.start_as_current_span(f"{topic} publish", kind=SpanKind.PRODUCER, attributes=attributes) as span:
        yield span


@contextmanager
def process_span(topic: str, group: str, count: int, traceparents: Sequence[str | None]) -> Iterator[Span]:
    """`<topic> process` over a batch of `count` records, which came with these `traceparent`s, each named once."""
    parent, links = _origin(traceparents)
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": count,
    }
    with _tracer.start_as_current_span(
        f"{topic} process", context=parent, kind=SpanKind.CONSUMER, attributes=attributes, links=links
    ) as span:
        yield span


def _origin(traceparents: Sequence[str | None]) -> tuple[context.Context, list[Link]]:
    # Each record may have a trace of its own, and reading one costs more than handling a record.
    contexts = [context_of(traceparent) for traceparent in traceparents[: _MAX_LINKS + 1]]
    spans: list[SpanContext] = [trace.get_current_span(each).get_span_context() for each in contexts]
    one_trace = len({each and each[_TRACE_ID] for each in traceparents}) == 1 and spans[0].is_valid
    linked = spans[1:] if one_trace else spans
    links = [Link(span) for span in linked if span.is_valid][:_MAX_LINKS]
    return (contexts[0] if one_trace else context.Context()), links
