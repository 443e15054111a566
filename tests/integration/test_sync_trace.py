"""One trace from the request for a sync to the aggregator's SQL, and what the scraper's metrics count meanwhile."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest

from services.aggregator.app import build as build_aggregator
from services.aggregator.settings import Settings as AggregatorSettings
from services.gateway.app import build as build_gateway
from services.gateway.settings import Settings as GatewaySettings
from services.scraper.app import build as build_scraper
from services.scraper.settings import Settings as ScraperSettings
from tests.stubs.superset.content import LITERAL
from tests.stubs.superset.server import PASSWORD, SupersetStub
from tests.stubs.superset.server import running as running_stub
from tests.support.in_process import free_ports, served
from tests.support.platform import Platform, values_of
from tests.support.processes import Running, eventually
from tests.support.spans import recorded_spans, trace_of
from tests.support.syncing import REFERENCES, RUNS, recent_content, synced


@dataclass(frozen=True)
class InProcess:
    services: Running
    ports: Mapping[str, int]


@pytest.fixture
async def in_process(platform: Platform) -> AsyncIterator[InProcess]:
    ports = free_ports("gateway", "scraper", "aggregator")
    inward = {name: port for name, port in ports.items() if name != "gateway"}
    scraper = ScraperSettings.model_validate(values_of(platform.environment("scraper", ports["scraper"])))
    aggregator = AggregatorSettings.model_validate(values_of(platform.environment("aggregator", ports["aggregator"])))
    gateway = GatewaySettings.model_validate(values_of(platform.gateway_environment(ports["gateway"], inward)))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(build_aggregator(aggregator), ports["aggregator"]))
        await stack.enter_async_context(served(build_scraper(scraper), ports["scraper"]))
        await stack.enter_async_context(served(build_gateway(gateway), ports["gateway"]))
        yield InProcess(Running(f"http://127.0.0.1:{ports['gateway']}", {}), ports)


async def test_one_trace_from_the_request_to_the_sql(in_process: InProcess) -> None:
    tenant = await in_process.services.new_tenant()
    async with (
        running_stub(SupersetStub(recent_content())) as stub,
        in_process.services.client(tenant, "staff") as gateway,
    ):
        shop = await synced(gateway, tenant, stub)
        with recorded_spans() as memory:
            assert (await shop.sync())["status"] == "completed"

            async def processed() -> bool:
                """What begins last in the trace has ended."""
                return "bi_query.scraped process" in {span.name for span in memory.get_finished_spans()}

            await eventually(processed)
            spans = memory.get_finished_spans()
    (run,) = [span for span in spans if span.name == "sync connector"]
    of_trace = [span for span in spans if trace_of(span) == trace_of(run)]
    statements = [str((span.attributes or {}).get("db.query.text", "")) for span in of_trace]
    requests = [span.name for span in of_trace if "bi-sync" in span.name]
    print(f"TRACE_SYNC spans={len(of_trace)} requests={len(requests)} sql={sum(map(bool, statements))}")
    assert len(requests) >= 2  # the gateway's and scraper's
    assert {"bi_query.scraped publish", "bi_query.scraped process"} <= {span.name for span in of_trace}
    assert any("INSERT INTO bi_reference" in statement for statement in statements)
    told = " ".join(f"{span.name} {dict(span.attributes or {})}" for span in spans)
    assert LITERAL not in told
    assert PASSWORD not in told


async def test_metrics_count_what_was_read_and_sent(in_process: InProcess) -> None:
    tenant = await in_process.services.new_tenant()
    async with (
        running_stub(SupersetStub(recent_content(), denied=frozenset({"saved_query"}))) as stub,
        in_process.services.client(tenant, "staff") as gateway,
    ):
        assert (await (await synced(gateway, tenant, stub)).sync())["status"] == "partial"

    async def metrics() -> dict[str, str] | None:
        """Once the end of the job is counted."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{in_process.ports['scraper']}/metrics") as response,
        ):
            shown = dict(line.rsplit(" ", 1) for line in (await response.text()).splitlines() if line[0] != "#")
        return shown if 'tidemark_sync_jobs_finished_total{state="partial"}' in shown else None

    found: dict[str, str] = await eventually(metrics)
    rows = float(REFERENCES - 1 + RUNS)
    assert float(found["tidemark_sync_resources_read_total"]) == rows
    assert float(found["tidemark_sync_rows_sent_total"]) == rows
    assert float(found["tidemark_sync_warnings_total"]) == 1
    assert float(found["tidemark_sync_runs_total"]) == 1
    assert float(found['tidemark_sync_jobs_finished_total{state="partial"}']) == 1
