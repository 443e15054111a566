"""kill -9 of each process while a BI tool is synced, and a replica that takes over: nothing lost, nothing twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.stubs.superset.content import ADA, BOB, run
from tests.stubs.superset.server import Answer, SupersetStub, running
from tests.support.platform import Platform
from tests.support.processes import Running, eventually, running_services
from tests.support.servers import Servers
from tests.support.syncing import Synced, recent_content, synced

CHARTS, EXECUTIONS = 500, 1_500
BEFORE_THE_KILL = 100


async def _unhurried(request: web.Request, answer: Answer) -> web.StreamResponse:
    if request.path.rstrip("/").endswith("/data"):
        await asyncio.sleep(0.02)
    return await answer(request)


def _stub() -> SupersetStub:
    content = recent_content(CHARTS)
    began = (time.time() - 7200) * 1000
    content.query = [
        run(number, (ADA, BOB)[number % 2], f"SELECT id FROM customers WHERE id = {number}")
        | {"start_time": began + number * 1000.0}
        for number in range(1, EXECUTIONS + 1)
    ]
    return SupersetStub(content, fault=_unhurried, with_context=True)


@pytest.fixture
async def stub() -> AsyncIterator[SupersetStub]:
    async with running(_stub()) as superset:
        yield superset


@pytest.fixture(scope="module")
async def services(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running_services(platform, Path(tmp_path_factory.mktemp("logs")), ("scraper", "aggregator")) as started:
        yield started


async def _far_enough(shop: Synced, job: dict[str, Any]) -> None:
    """Some rows are sent, not all."""

    async def sent() -> bool:
        state = await shop.gateway.get(f"/sync-jobs/{job['id']}")
        assert state["status"] in ("pending", "running"), f"too quick for the kill: {state}"
        return bool(state["rows_published"] >= BEFORE_THE_KILL)

    await eventually(sent, seconds=60, pause=0.02)


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
    victim: str, services: Running, stub: SupersetStub, servers: Servers
) -> None:
    if victim == "broker" and servers.broker is None:
        pytest.skip("the broker is not this run's own, so it may not be killed")
    tenant = await services.new_tenant()
    async with services.client(tenant, "staff") as gateway:
        shop = await synced(gateway, tenant, stub)
        job = await shop.start()
        await _far_enough(shop, job)
        started = time.monotonic()
        await _kill_and_restart(victim, services, servers)
        over = await shop.finished(job, seconds=150)
        seconds = time.monotonic() - started
        await _assert_as_in_the_tool(shop, stub, f"KILL_SYNC victim={victim} seconds={seconds:.1f}", over)
        del stub.content.chart[:5]
        # After a kill of the broker its clients may need a while to find back: the job goes on meanwhile.
        again = await shop.finished(await shop.start(), seconds=150)
        assert again["references_retired"] >= 5
        await _assert_as_in_the_tool(shop, stub, f"KILL_SYNC victim={victim} then=sync", again)


async def _kill_and_restart(victim: str, services: Running, servers: Servers) -> None:
    if victim == "broker":
        assert servers.broker is not None
        await servers.broker.kill()
        await servers.broker.start()
    else:
        await services.kill(victim)
        await services.restart(victim)


async def test_a_replica_takes_over_from_one_that_stays_dead(
    platform: Platform, stub: SupersetStub, tmp_path: Path
) -> None:
    async with running_services(platform, tmp_path, ("scraper", "scraper-2", "aggregator")) as services:
        tenant = await services.new_tenant()
        async with services.client(tenant, "staff") as gateway:
            shop = await synced(gateway, tenant, stub)
            # Whichever has the job: one is killed with it or the other goes on; both orders must end the same.
            job = await shop.start()
            await _far_enough(shop, job)
            before = len(stub.requests)
            await services.kill("scraper-2")
            await asyncio.sleep(0.5)
            holder = "scraper" if len(stub.requests) > before + 5 else "scraper-2"
            if holder == "scraper":
                await services.restart("scraper-2")
                await services.kill("scraper")
            await asyncio.sleep(20)
            if holder == "scraper":
                await services.restart("scraper")
            over = await shop.finished(job, seconds=120)
            await _assert_as_in_the_tool(shop, stub, f"TAKE_OVER dead={holder}", over)
