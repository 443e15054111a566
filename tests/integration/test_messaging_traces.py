"""Traces through the broker, seen by an in-memory exporter."""

from collections.abc import Iterator, Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.common.consume import Record
from libs.common.events import UsageRecompute
from tests.support.messaging import Bench, fresh_bench, until
from tests.support.servers import Servers

tracer = trace.get_tracer("test")


@pytest.fixture(scope="module")
def exporter() -> Iterator[InMemorySpanExporter]:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    yield memory
    memory.shutdown()


@pytest.fixture
async def bench(servers: Servers, exporter: InMemorySpanExporter) -> Bench:
    exporter.clear()
    return await fresh_bench(servers.kafka, partitions=1)


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.trace_id
    return found


async def consume(bench: Bench, count: int) -> None:
    """One batch; the handler works in a span of its own."""
    taken = 0

    async def handler(batch: Sequence[Record[UsageRecompute]]) -> None:
        nonlocal taken
        with tracer.start_as_current_span("work"):
            taken += len(batch)

    async with bench.consumers(handler):
        await until(lambda: taken == count)


async def test_a_batch_of_one_trace_continues_it(bench: Bench, exporter: InMemorySpanExporter) -> None:
    with tracer.start_as_current_span("request"):
        await bench.publish(range(5))
    await consume(bench, 5)
    [request], [publish] = named(exporter, "request"), named(exporter, f"{bench.topic.name} publish")
    [process], [work] = named(exporter, f"{bench.topic.name} process"), named(exporter, "work")
    assert {trace_of(span) for span in (publish, process, work)} == {trace_of(request)}
    assert process.parent is not None
    assert publish.context is not None
    assert process.parent.span_id == publish.context.span_id
    assert process.links == ()
    assert publish.attributes is not None
    assert process.attributes is not None
    assert publish.attributes["messaging.batch.message_count"] == 5
    assert process.attributes["messaging.batch.message_count"] == 5


async def test_two_sends_of_one_trace_continue_it_and_link_the_second(
    bench: Bench, exporter: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("request"):
        await bench.publish([1])
        await bench.publish([2])
    await consume(bench, 2)
    [request], [process] = named(exporter, "request"), named(exporter, f"{bench.topic.name} process")
    assert trace_of(process) == trace_of(request)
    assert len(process.links) == 1


async def test_a_mixed_batch_is_one_span_with_links(bench: Bench, exporter: InMemorySpanExporter) -> None:
    for number in range(3):
        with tracer.start_as_current_span("request"):
            await bench.publish([number])
    await bench.write(f'{{"tenant": "{bench.tenant}"}}'.encode())
    await consume(bench, 4)
    requests = {trace_of(span) for span in named(exporter, "request")}
    [process] = named(exporter, f"{bench.topic.name} process")
    assert process.parent is None
    assert trace_of(process) not in requests
    assert {link.context.trace_id for link in process.links} == requests


async def test_a_stored_traceparent_is_continued(bench: Bench, exporter: InMemorySpanExporter) -> None:
    stored = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with bench.publisher() as publisher:
        await publisher.send(bench.topic, bench.event(1), key="k", extensions={"traceparent": stored})
    await consume(bench, 1)
    [process] = named(exporter, f"{bench.topic.name} process")
    assert trace_of(process) == int(stored.split("-")[1], 16)


async def test_bodies_are_in_no_span(bench: Bench, exporter: InMemorySpanExporter) -> None:
    await bench.publish([424242])
    await bench.write(b'{"space_id": "s3cret"}')
    await consume(bench, 1)
    shown = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert "s3cret" not in shown
    assert str(bench.event(424242).space_id) not in shown
