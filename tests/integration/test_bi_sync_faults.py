"""kill -9 of each process while a BI tool is synced, and a replica that takes over: nothing lost, nothing twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import psutil
import pytest
from aiohttp import web

from deploy.local.process import ManagedProcess
from tests.stubs.superset.content import ADA, BOB, run
from tests.stubs.superset.server import Answer, SupersetStub, running
from tests.support.platform import Platform, fresh_platform
from tests.support.processes import SHORT_LEASE, Running, eventually, running_services
from tests.support.servers import Servers
from tests.support.syncing import Synced, recent_content, synced

CHARTS, EXECUTIONS = 500, 1_500
BEFORE_THE_KILL = 100


class Unhurried:
    """A fault: charts take their time, and the last ones much of it until somebody was killed, however late that is."""

    def __init__(self) -> None:
        self.killed = asyncio.Event()
        self.before_the_kill = CHARTS - 100

    async def __call__(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        if request.path.rstrip("/").endswith("/data"):
            await asyncio.sleep(0.02)
            self.before_the_kill -= 1
            if self.before_the_kill < 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.killed.wait(), 5.0)  # less than a client waits for an answer
        return await answer(request)


def _stub(pace: Unhurried) -> SupersetStub:
    content = recent_content(CHARTS)
    began = (time.time() - 7200) * 1000
    content.query = [
        run(number, (ADA, BOB)[number % 2], f"SELECT id FROM customers WHERE id = {number}")
        | {"start_time": began + number * 1000.0}
        for number in range(1, EXECUTIONS + 1)
    ]
    return SupersetStub(content, fault=pace, with_context=True)


@pytest.fixture
def pace() -> Unhurried:
    return Unhurried()


@pytest.fixture
async def stub(pace: Unhurried) -> AsyncIterator[SupersetStub]:
    async with running(_stub(pace)) as superset:
        yield superset


@pytest.fixture(scope="module")
async def services(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    logs, names = Path(tmp_path_factory.mktemp("logs")), ("scraper", "aggregator")
    async with running_services(platform, logs, names, **SHORT_LEASE) as started:
        yield started


async def _far_enough(shop: Synced, job: dict[str, Any]) -> None:
    """Some rows are sent, not all."""

    async def sent() -> bool:
        state = await shop.gateway.get(f"/sync-jobs/{job['id']}")
        assert state["status"] in ("pending", "running"), state
        return bool(state["rows_published"] >= BEFORE_THE_KILL)

    await eventually(sent, pause=0.02)


async def _assert_as_in_the_tool(shop: Synced, stub: SupersetStub, label: str, job: dict[str, Any]) -> None:
    found, usage = await shop.resources(), await shop.usage()
    wanted = {("chart", str(row["id"])) for row in stub.content.chart}
    charts = {resource for resource in found if resource[0] == "chart"}
    double = len(charts - wanted) + max(0, usage["customers"][0] - EXECUTIONS)
    lost = len(wanted - charts) + max(0, EXECUTIONS - usage["customers"][0])
    print(f"{label} rows={job['rows_published']} lost={lost} double={double} status={job['status']}")
    assert (job["status"], job["rows_rejected"]) == ("completed", 0)
    assert job["rows_upserted"] == job["rows_published"]
    assert (lost, double) == (0, 0)
    assert len([resource for resource in found if resource[0] == "query_log"]) == EXECUTIONS


@pytest.mark.parametrize("victim", ["scraper", "aggregator", "gateway", "broker"])
async def test_a_kill_loses_nothing_and_counts_nothing_twice(
    victim: str, services: Running, stub: SupersetStub, pace: Unhurried, servers: Servers
) -> None:
    if victim == "broker" and servers.broker is None:
        pytest.skip("the broker is not this run's own, so it may not be killed")
    tenant = await services.new_tenant()
    async with services.client(tenant, "staff") as gateway:
        shop = await synced(gateway, tenant, stub)
        job = await shop.start()
        await _far_enough(shop, job)
        started = time.monotonic()
        await _kill_and_restart(victim, services, servers, pace)
        over = await shop.finished(job)
        seconds = time.monotonic() - started
        await _assert_as_in_the_tool(shop, stub, f"KILL_SYNC victim={victim} seconds={seconds:.1f}", over)
        del stub.content.chart[:5]
        # After a kill of the broker its clients may need a while to find back: the job goes on meanwhile.
        again = await shop.finished(await shop.start())
        assert again["references_retired"] >= 5
        await _assert_as_in_the_tool(shop, stub, f"KILL_SYNC victim={victim} then=sync", again)


async def _kill_and_restart(victim: str, services: Running, servers: Servers, pace: Unhurried) -> None:
    process: ManagedProcess | None = servers.broker if victim == "broker" else services.processes[victim]
    assert process is not None
    await process.kill()
    pace.killed.set()
    await process.start()


async def _who_reads(services: Running, stub: SupersetStub) -> str:
    """The scraper that has the job: only that one is connected with the stub."""

    async def connected() -> str | None:
        for name in ("scraper", "scraper-2"):
            connections = psutil.Process(services.processes[name].pid).net_connections("tcp")
            if any(each.raddr and each.raddr.port == stub.port for each in connections):
                return name
        return None

    name: str = await eventually(connected, pause=0.01)
    return name


async def _is_over(platform: Platform, job: dict[str, Any]) -> bool:
    admin = await asyncpg.connect(platform.admin_url)
    try:
        return bool(await admin.fetchval("SELECT phase = 'done' FROM scraper.sync_job WHERE id = $1", UUID(job["id"])))
    finally:
        await admin.close()


@pytest.fixture
async def installation(servers: Servers, template: str) -> AsyncIterator[Platform]:
    """Of one test alone: the scraper of the others does not take its jobs."""
    async with fresh_platform(servers, template) as fresh:
        yield fresh


async def test_a_replica_takes_over_from_one_that_stays_dead(
    installation: Platform, stub: SupersetStub, pace: Unhurried, tmp_path: Path
) -> None:
    names = ("scraper", "scraper-2", "aggregator")
    async with running_services(installation, tmp_path, names, **SHORT_LEASE) as services:
        tenant = await services.new_tenant()
        async with services.client(tenant, "staff") as gateway:
            shop = await synced(gateway, tenant, stub)
            job = await shop.start()
            await _far_enough(shop, job)
            holder = await _who_reads(services, stub)
            await services.kill(holder)
            pace.killed.set()
            await eventually(partial(_is_over, installation, job), seconds=300)
            assert services.processes[holder].pid is None
            await services.restart(holder)  # the gateway asks but one of the two how a job stands
            over = await shop.finished(job)
            await _assert_as_in_the_tool(shop, stub, f"TAKE_OVER dead={holder}", over)
