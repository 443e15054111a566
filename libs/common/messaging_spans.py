"""Spans of publishing and processing. A batch of one trace continues it; a mixed batch is one span with links."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from libs.common.telemetry import context_of

_tracer = trace.get_tracer("tidemark.messaging")
_MAX_LINKS = 128


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
def process_span(topic: str, group: str, traceparents: Sequence[str | None]) -> Iterator[Span]:
    """`<topic> process` over a batch, whose records came with these `traceparent`s."""
    parent, links = _origin(traceparents)
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": len(traceparents),
    }
    with _tracer.start_as_current_span(
        f"{topic} process", context=parent, kind=SpanKind.CONSUMER, attributes=attributes, links=links
    ) as span:
        yield span


def _origin(traceparents: Sequence[str | None]) -> tuple[context.Context, list[Link]]:
    distinct = list(dict.fromkeys(traceparents))
    contexts = [context_of(traceparent) for traceparent in distinct]
    spans: list[SpanContext] = [trace.get_current_span(each).get_span_context() for each in contexts]
    one_trace = len({span.trace_id for span in spans}) == 1 and spans[0].is_valid
    linked = spans[1:] if one_trace else [span for span in spans if span.is_valid]
    return (contexts[0] if one_trace else context.Context()), [Link(span) for span in linked[:_MAX_LINKS]]
