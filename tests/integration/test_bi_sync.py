"""BI sync through real processes: what a client sees of a sync, and what becomes of it at the aggregator."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web

from cli.client import Gateway, GatewayError
from tests.stubs.superset.content import LITERAL
from tests.stubs.superset.server import PASSWORD, Answer, SupersetStub, running
from tests.support.platform import Platform
from tests.support.processes import Running, eventually, running_services
from tests.support.syncing import REFERENCES, RUNS, Synced, further_run, recent_content, synced


@pytest.fixture(scope="module")
async def services(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    logs = Path(tmp_path_factory.mktemp("logs"))
    async with running_services(platform, logs, ("scraper", "aggregator")) as started:
        yield started
        told = "".join([process.log.read_text() for process in started.processes.values()])
    assert LITERAL not in told
    assert PASSWORD not in told


@pytest.fixture
async def stub() -> AsyncIterator[SupersetStub]:
    async with running(SupersetStub(recent_content())) as superset:
        yield superset


@pytest.fixture
async def shop(services: Running, stub: SupersetStub) -> AsyncIterator[Synced]:
    tenant = await services.new_tenant()
    async with services.client(tenant, "staff") as gateway:
        yield await synced(gateway, tenant, stub)


class Gate:
    """A fault that holds requests for charts' SQL until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        if request.path.rstrip("/").endswith("/data"):
            self.reached.set()
            await self.opened.wait()
        return await answer(request)


async def test_a_sync_brings_charts_dashboards_queries_and_runs(shop: Synced, stub: SupersetStub) -> None:
    job = await shop.sync()
    figures = {name: job[name] for name in ("resources_scraped", "rows_published", "rows_upserted", "rows_rejected")}
    print("SYNC " + " ".join(f"{name}={value}" for name, value in figures.items()))
    assert (job["status"], job["phase"], job["percentage"], job["error"]) == ("completed", "done", 100, None)
    assert figures == {
        "resources_scraped": REFERENCES + RUNS,
        "rows_published": REFERENCES + RUNS,
        "rows_upserted": REFERENCES + RUNS,
        "rows_rejected": 0,
    }
    assert job["started_at"] <= job["finished_at"]
    first = await shop.usage()
    assert first == {"orders": (0, 3), "payments": (0, 1), "customers": (1, 0), "inventory": (1, 0)}
    assert await shop.gateway.get(f"/sync-jobs/{job['id']}") == job
    further_run(stub.content, "customers")
    again = await shop.sync()
    assert again["status"] == "completed"
    assert await shop.usage() == first | {"customers": (2, 0)}
    assert (await shop.sync())["rows_published"] == REFERENCES + 1  # runs are read on from shortly before the newest
    assert await shop.usage() == first | {"customers": (2, 0)}


async def test_a_chart_deleted_in_the_tool_disappears(shop: Synced, stub: SupersetStub) -> None:
    await shop.sync()
    before = await shop.resources()
    stub.content.chart = [row for row in stub.content.chart if row["id"] != 1]
    job = await shop.sync()
    gone = before - await shop.resources()
    print(f"DELETED_CHART known={len(before)} retired={job['references_retired']} gone={len(gone)}")
    assert gone == {("chart", "1"), ("dashboard_chart", "1:1"), ("dashboard_chart", "2:1")}
    assert job["references_retired"] == 3
    assert (await shop.usage())["orders"] == (0, 2)
    stub.content.chart = recent_content().chart
    assert (await shop.sync())["references_retired"] == 0
    assert await shop.resources() == before


async def test_a_client_that_does_not_wait_follows_the_job(shop: Synced, stub: SupersetStub) -> None:
    stub.fault = gate = Gate()
    job = await shop.start()
    assert job["status"] in ("pending", "running")
    await gate.reached.wait()

    async def reading() -> bool:
        state = await shop.gateway.get(f"/sync-jobs/{job['id']}")
        return (state["status"], state["phase"], state["activity"]) == ("running", "reading", "reading names")

    await eventually(reading)
    with pytest.raises(GatewayError) as refused:
        await shop.sync()
    assert (refused.value.status, refused.value.body["code"]) == (409, "already_syncing")
    assert refused.value.body["job"]["id"] == job["id"]
    gate.opened.set()
    assert (await shop.finished(job))["status"] == "completed"


async def test_a_wait_that_is_too_short_ends_with_the_location(
    services: Running, shop: Synced, stub: SupersetStub
) -> None:
    stub.fault = gate = Gate()
    path = f"/connectors/{shop.connector}/bi-sync"
    session = shop.gateway._session
    async with session.post(path, headers={"Prefer": "wait=1"}) as response:
        body = await response.json()
        assert (response.status, response.headers["Location"]) == (202, f"/sync-jobs/{body['id']}")
    gate.opened.set()
    await shop.finished(body)


async def test_a_key_starts_one_sync_only(shop: Synced) -> None:
    session, path = shop.gateway._session, f"/connectors/{shop.connector}/bi-sync"
    seen = []
    for _ in range(2):
        async with session.post(path, headers={"Idempotency-Key": "one"}) as response:
            assert response.status == 200
            seen.append(await response.json())
    assert seen[0] == seen[1]
    assert len((await shop.gateway.get(f"/connectors/{shop.connector}/sync-jobs"))["items"]) == 1


async def test_syncs_are_listed_newest_first_in_pages(shop: Synced) -> None:
    jobs = [(await shop.sync())["id"] for _ in range(3)]
    path = f"/connectors/{shop.connector}/sync-jobs"
    first = await shop.gateway.get(path, limit=2)
    rest = await shop.gateway.get(path, limit=2, cursor=first["next_cursor"])
    assert [job["id"] for job in first["items"] + rest["items"]] == jobs[::-1]
    assert rest["next_cursor"] is None


async def test_a_cancelled_sync_retires_nothing(shop: Synced, stub: SupersetStub) -> None:
    await shop.sync()
    before = await shop.resources()
    stub.content.chart.clear()
    stub.content.chart.extend(recent_content(2).chart)
    stub.fault = gate = Gate()
    job = await shop.start()
    await gate.reached.wait()
    await shop.gateway.post(f"/sync-jobs/{job['id']}/cancel")
    gate.opened.set()
    over = await shop.finished(job)
    assert (over["status"], await shop.resources()) == ("cancelled", before)
    with pytest.raises(GatewayError) as refused:
        await shop.gateway.post(f"/sync-jobs/{(await shop.sync())['id']}/cancel")
    assert (refused.value.status, refused.value.body["code"]) == (409, "job_is_over")


async def test_a_sync_that_fails_says_why_and_is_no_error_of_http(services: Running, stub: SupersetStub) -> None:
    tenant = await services.new_tenant()
    async with services.client(tenant, "staff") as gateway:
        shop = await synced(gateway, tenant, stub, password="wrong-secret")
        job = await shop.sync()
        assert (job["status"], job["phase"]) == ("failed", "done")
        assert [job[name] for name in ("rows_published", "rows_upserted", "rows_rejected")] == [0, 0, 0]
        assert job["error"]["code"]
        assert "wrong-secret" not in str(job)
        steps = (await gateway.post(f"/connectors/{shop.connector}/test"))["steps"]
        assert [step["step"] for step in steps if not step["ok"]] == ["log in"]


async def test_a_part_that_may_not_be_read_makes_the_sync_partial(shop: Synced, stub: SupersetStub) -> None:
    await shop.sync()
    before = await shop.resources()
    stub.denied = frozenset({"saved_query"})
    stub.content.chart.pop()
    job = await shop.sync()
    print(f"PARTIAL status={job['status']} warnings={job['warning_count']} retired={job['references_retired']}")
    assert (job["status"], job["references_retired"]) == ("partial", 0)
    assert any("saved queries" in warning for warning in job["warnings"])
    assert await shop.resources() == before


async def test_queries_of_any_size_are_stored_and_what_had_to_be_cut_is_told(shop: Synced, stub: SupersetStub) -> None:
    names = ", ".join(f"warehouse_with_a_long_name.table_{number:030}" for number in range(15_000))
    long = stub.content.saved_query[0] | {"id": 2, "label": "x" * 100_000, "sql": f"SELECT * FROM {names}"}
    stub.content.saved_query.append(long)
    job = await shop.sync()
    assert (job["status"], job["rows_upserted"]) == ("completed", REFERENCES + RUNS + 1)
    assert [warning for warning in job["warnings"] if "saved query 2" in warning]


@pytest.mark.parametrize("with_runs", [True, False])
async def test_an_empty_tool_warns_and_retires_nothing(shop: Synced, stub: SupersetStub, with_runs: bool) -> None:
    await shop.sync()
    before = await shop.resources()
    stub.content.chart, stub.content.saved_query, stub.content.dashboard = [], [], []
    if not with_runs:
        stub.content.query = []
    job = await shop.sync()
    print(f"EMPTY with_runs={with_runs} retired={job['references_retired']} warnings={job['warning_count']}")
    assert (job["status"], job["references_retired"]) == ("completed", 0)
    assert any("kept" in warning for warning in job["warnings"])
    assert await shop.resources() == before


async def test_only_bi_connectors_of_the_tenant_are_synced(services: Running, shop: Synced, stub: SupersetStub) -> None:
    postgres = {"type": "postgres", "host": "127.0.0.1", "database": "d", "username": "u", "password": "p"}
    warehouse = await shop.gateway.post("/connectors", {"name": "warehouse", "settings": postgres})
    async with services.client(await services.new_tenant(), "staff") as stranger:
        for gateway, path, status in (
            (shop.gateway, f"/connectors/{warehouse['id']}/bi-sync", 400),
            (shop.gateway, f"/connectors/{uuid4()}/bi-sync", 404),
            (shop.gateway, "/connectors/nonsense/bi-sync", 422),
            (stranger, f"/connectors/{shop.connector}/bi-sync", 404),
        ):
            assert await _refusal(gateway, "POST", path) == status, path
        job = await shop.sync()
        for method, path in (
            ("GET", f"/sync-jobs/{job['id']}"),
            ("POST", f"/sync-jobs/{job['id']}/cancel"),
            ("GET", f"/connectors/{shop.connector}/sync-jobs"),
        ):
            assert await _refusal(stranger, method, path) == 404, path
        assert await _refusal(shop.gateway, "POST", f"/connectors/{shop.connector}/query-log-mining") == 400


async def _refusal(gateway: Gateway, method: str, path: str) -> int:
    with pytest.raises(GatewayError) as refused:
        await gateway.call(method, path)
    return refused.value.status


async def test_a_check_tells_every_step(shop: Synced) -> None:
    check = await shop.gateway.post(f"/connectors/{shop.connector}/test")
    assert check["ok"], check
    assert len(check["steps"]) > 5


async def test_a_deleted_connector_is_gone_with_its_references(shop: Synced) -> None:
    await shop.sync()
    await shop.gateway.call("DELETE", f"/connectors/{shop.connector}")

    async def gone() -> bool:
        return (await shop.usage())["orders"] == (0, 0)

    await eventually(gone)
    assert (await shop.usage())["customers"] == (1, 0)
    assert await _refusal(shop.gateway, "POST", f"/connectors/{shop.connector}/bi-sync") == 404
