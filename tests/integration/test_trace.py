"""One trace, from the POST at the gateway through Kafka to the aggregator's SQL."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.aggregator.app import build as build_aggregator
from services.aggregator.settings import Settings as AggregatorSettings
from services.gateway.app import build as build_gateway
from services.gateway.settings import Settings as GatewaySettings
from services.log_miner.app import build as build_log_miner
from services.log_miner.settings import Settings as LogMinerSettings
from tests.support.in_process import free_ports, served
from tests.support.loaded_warehouse import loaded_warehouse
from tests.support.platform import Platform, values_of
from tests.support.processes import Running, eventually
from tests.support.servers import Servers
from tests.support.spans import recorded_spans, trace_of

STATEMENTS = 40


@pytest.fixture
async def running(platform: Platform) -> AsyncIterator[Running]:
    ports = free_ports("gateway", "log_miner", "aggregator")
    inward = {name: port for name, port in ports.items() if name != "gateway"}
    log_miner = LogMinerSettings.model_validate(values_of(platform.environment("log_miner", ports["log_miner"])))
    aggregator = AggregatorSettings.model_validate(values_of(platform.environment("aggregator", ports["aggregator"])))
    gateway = GatewaySettings.model_validate(values_of(platform.gateway_environment(ports["gateway"], inward)))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(build_aggregator(aggregator), ports["aggregator"]))
        await stack.enter_async_context(served(build_log_miner(log_miner), ports["log_miner"]))
        await stack.enter_async_context(served(build_gateway(gateway), ports["gateway"]))
        yield Running(f"http://127.0.0.1:{ports['gateway']}", {})


def _statement(span: ReadableSpan) -> str:
    return str((span.attributes or {}).get("db.query.text", ""))


def _of_one_trace(memory: InMemorySpanExporter) -> list[ReadableSpan]:
    """The spans of the trace in which the connector was mined, once those that are looked for have ended."""
    spans = memory.get_finished_spans()
    mined = [trace_of(span) for span in spans if span.name == "mine connector"]
    assert len(mined) <= 1
    found = [span for span in spans if trace_of(span) in mined]
    return found if {"bi_query.scraped publish", "bi_query.scraped process"} <= {each.name for each in found} else []


async def test_one_trace_from_the_request_to_the_sql(running: Running, servers: Servers) -> None:
    warehouse = await loaded_warehouse(servers.warehouse, STATEMENTS)
    async with running.client(await running.new_tenant(), "staff") as gateway:
        connector = await gateway.post("/connectors", warehouse.connector("traced"))
        with recorded_spans() as memory:
            mined = await gateway.post(f"/connectors/{connector['id']}/query-log-mining")
            assert mined == {"rows_upserted": STATEMENTS}

            async def told() -> list[ReadableSpan]:
                return _of_one_trace(memory)

            spans: list[ReadableSpan] = await eventually(told)
    requests = [span.name for span in spans if "query-log-mining" in span.name]
    stored = [span for span in spans if "INSERT INTO query_log" in _statement(span)]
    names = {span.name for span in spans}
    print(f"TRACE spans={len(spans)} requests={len(requests)} sql={sum(map(bool, map(_statement, spans)))}")
    assert len(requests) >= 2  # the gateway's and log_miner's
    assert {"bi_query.scraped publish", "bi_query.scraped process"} <= names
    assert stored
    assert all("secret" not in str(span.attributes) for span in spans)
