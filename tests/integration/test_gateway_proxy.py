"""The pass-through: what goes inward, what comes back, and what happens when somebody leaves or breaks."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import aiohttp
import pytest

from deploy.local.ports import free_port
from tests.integration.gateway_harness import BIG, PIECE, SERVICES, Front, connector, front
from tests.support.ids import NOBODYS
from tests.support.platform import Platform
from tests.support.processes import eventually, token
from tests.support.spans import trace_of


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform, proxy_max_body_bytes=BIG) as running:
        yield running


@pytest.fixture
async def tenant(gateway: Front) -> UUID:
    gateway.upstream.gate.clear()
    gateway.upstream.started.clear()
    gateway.upstream.left.clear()
    return await gateway.new_tenant()


async def test_a_request_goes_inward_as_it_came_with_a_token_of_our_own(gateway: Front, tenant: UUID) -> None:
    headers = {
        "Prefer": "wait=5",
        "X-Tidemark-Tenant": str(uuid4()),
        "Cookie": "a=b",
        "X-Custom": "kept",
        "Connection": "keep-alive, X-Dropped",
        "X-Dropped": "1",
    }
    path = "/spaces/a%20b%2Bc/usage?days=1&q=%7B%7D"
    answer = await gateway.call("GET", path, tenant=tenant, roles=("staff", "analyst"), headers=headers)
    seen = gateway.upstream.seen[-1]
    assert (answer.status, seen.method, f"{seen.path}?{seen.query}") == (200, "GET", path)
    assert (seen.headers["prefer"], seen.headers["x-custom"]) == ("wait=5", "kept")
    assert not {"x-tidemark-tenant", "cookie", "x-dropped"} & seen.headers.keys()
    assert (seen.caller.tenant, seen.caller.subject) == (tenant, "tester")
    assert seen.caller.roles == {"staff", "analyst"}
    assert token(tenant) not in str(seen.headers)


async def test_a_connector_s_version_travels_in_the_token(gateway: Front, tenant: UUID) -> None:
    made = (await gateway.call("POST", "/connectors", tenant=tenant, json=connector())).body
    path = f"/connectors/{made['id']}"
    for change in ({}, {"name": "New"}):
        version = (await gateway.call("PATCH", path, tenant=tenant, json=change)).body["version"]
        await gateway.call("POST", f"{path}/query-log-mining", tenant=tenant)
        caller = gateway.upstream.seen[-1].caller
        assert (caller.connector_id, caller.connector_version) == (UUID(made["id"]), version)
    await gateway.call("DELETE", path, tenant=tenant)
    assert (await gateway.call("POST", f"{path}/query-log-mining", tenant=tenant)).status == 404


async def test_a_type_that_is_no_warehouse_is_not_mined(gateway: Front, tenant: UUID) -> None:
    bi_tool = uuid4()
    await gateway.sql(
        "INSERT INTO gateway.connector (tenant_id, id, name, type, environment, counts_executions, sealed_settings,"
        " version, created_at, updated_at) VALUES ($1, $2, 'BI', 'metabase', 'production', true, 'v1.k1.AAAA', 1,"
        " '2026-01-01Z', '2026-01-01Z')",
        tenant,
        bi_tool,
    )
    before = len(gateway.upstream.seen)
    answer = await gateway.call("POST", f"/connectors/{bi_tool}/query-log-mining", tenant=tenant)
    assert answer.status == 400
    assert answer.body["detail"] == "Connector is not a warehouse type; supported: bigquery, postgres, snowflake."
    assert len(gateway.upstream.seen) == before
    assert (await gateway.call("POST", f"/connectors/{bi_tool}/test", tenant=tenant)).status == 200
    shown = await gateway.call("GET", f"/connectors/{bi_tool}", tenant=tenant)
    assert (shown.status, shown.body["settings"]) == (200, {"type": "metabase"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/spaces/../metrics", 404),
        ("GET", "/spaces/%2e%2e/usage", 404),
        ("GET", "/spaces/x%2F..%2F..%2Fmetrics", 404),
        ("PUT", "/spaces", 405),
        ("GET", f"/connectors/{NOBODYS}/query-log-mining", 405),
        ("GET", "/mining-jobs/abc", 422),
        ("GET", "/connectors/abc", 422),
        ("POST", "/connectors/abc/query-log-mining", 422),
        ("POST", f"/connectors/{NOBODYS}/query-log-mining", 404),
    ],
)
async def test_what_leads_nowhere_has_our_shape(
    gateway: Front, tenant: UUID, method: str, path: str, status: int
) -> None:
    from yarl import URL

    headers = {"Authorization": f"Bearer {token(tenant)}"}
    url = URL(gateway.url + path, encoded=True)
    async with gateway.session.request(method, url, headers=headers) as answer:
        body = await answer.json()
    assert (answer.status, set(body) >= {"detail", "code", "trace_id"}) == (status, True)
    assert body["trace_id"]
    if status == 405:
        assert answer.headers["Allow"]


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // len(PIECE)):
        yield PIECE


async def test_a_large_body_arrives_whole(gateway: Front, tenant: UUID) -> None:
    answer = await gateway.call("PATCH", "/spaces/shop", tenant=tenant, data=_pieces(BIG))
    wanted = hashlib.sha256(PIECE * (BIG // len(PIECE))).hexdigest()
    assert answer.body == {"size": BIG, "sha256": wanted}


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_above_the_limit_is_413(gateway: Front, tenant: UUID, announced: bool) -> None:
    headers = {"Content-Length": str(BIG + len(PIECE))} if announced else {}
    try:
        data = _pieces(BIG + len(PIECE))
        answer = await gateway.call("PATCH", "/spaces/shop", tenant=tenant, data=data, headers=headers)
    except aiohttp.ClientOSError:
        assert announced  # refused before it was sent, and the connection closed
        return
    assert (answer.status, answer.body["code"]) == (413, "too_large")


async def test_pieces_come_before_the_end(gateway: Front, tenant: UUID) -> None:
    headers = {"Authorization": f"Bearer {token(tenant)}"}
    async with gateway.session.get(f"{gateway.url}/spaces/drip", headers=headers) as answer:
        async with asyncio.timeout(120):
            assert await answer.content.readany() == b"data: 1\n\n"
        gateway.upstream.gate.set()
        assert await answer.content.read() == b"data: 2\n\n"


async def test_a_client_that_leaves_takes_its_request_along(gateway: Front, tenant: UUID) -> None:
    headers = {"Authorization": f"Bearer {token(tenant)}"}
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.get(f"{gateway.url}/spaces/hang", headers=headers))
        await gateway.upstream.started.wait()
        asking.cancel()
        await asyncio.wait([asking])
    async with asyncio.timeout(120):
        await gateway.upstream.left.wait()


async def test_an_answer_that_breaks_off_does_not_look_whole(gateway: Front, tenant: UUID) -> None:
    headers = {"Authorization": f"Bearer {token(tenant)}"}
    with pytest.raises(aiohttp.ClientPayloadError):
        async with gateway.session.get(f"{gateway.url}/spaces/broken", headers=headers) as answer:
            await answer.read()


async def test_a_short_answer_that_breaks_off_is_503(gateway: Front, tenant: UUID) -> None:
    answer = await gateway.call("GET", "/spaces/short", tenant=tenant)
    assert (answer.status, answer.body["code"]) == (503, "unavailable")


async def test_a_service_that_is_away_is_503(platform: Platform) -> None:
    away = {service: f"http://127.0.0.1:{free_port()}" for service in SERVICES}
    async with front(platform, upstreams=away) as gateway:
        tenant = await gateway.new_tenant()
        for options in ({"method": "GET"}, {"method": "POST", "json": {"name": "x"}}):
            answer = await gateway.call(path="/spaces", tenant=tenant, **options)
            assert (answer.status, answer.body["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        document = (await gateway.call("GET", "/openapi.json", tenant=None)).body
        assert document["x-unavailable-services"] == ["aggregator", "log_miner", "scraper"]


async def test_more_than_it_can_carry_is_refused(platform: Platform) -> None:
    async with front(platform, proxy_max_in_flight=1) as gateway:
        tenant = await gateway.new_tenant()
        headers = {"Authorization": f"Bearer {token(tenant)}"}
        async with gateway.session.get(f"{gateway.url}/spaces/drip", headers=headers):
            busy = await gateway.call("GET", "/spaces/shop", tenant=tenant)
            assert (busy.status, busy.headers["Retry-After"]) == (503, "1")
            gateway.upstream.gate.set()
        await eventually(lambda: _is_free(gateway, tenant))


async def _is_free(gateway: Front, tenant: UUID) -> bool:
    return (await gateway.call("GET", "/spaces/shop", tenant=tenant)).status == 200


@pytest.mark.parametrize("sampled", ["00", "01"])
async def test_a_trace_goes_on_with_the_caller_s_decision(gateway: Front, tenant: UUID, sampled: str) -> None:
    trace_id = uuid4().hex
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-{sampled}", "baggage": "a=b"}
    await gateway.call("GET", "/spaces/shop/usage?days=3", tenant=tenant, headers=headers)
    names = [span.name for span in gateway.spans.get_finished_spans() if trace_of(span) == int(trace_id, 16)]
    seen = gateway.upstream.seen[-1].headers
    version, inward, span, flags = seen["traceparent"].split("-")
    assert (version, inward, flags) == ("00", trace_id, sampled)
    assert span != "00f067aa0ba902b7" or sampled == "00"
    assert "baggage" not in seen
    assert ("GET /spaces/{slug}/usage" in names) == (sampled == "01")


async def test_metrics_name_routes_and_no_paths(gateway: Front, tenant: UUID) -> None:
    await gateway.call("GET", "/spaces/secret-slug", tenant=tenant)
    await gateway.call("GET", "/made-up-path", tenant=tenant)
    metrics = (await gateway.call("GET", "/metrics", tenant=None)).text
    assert 'tidemark_http_request_seconds_count{method="GET",route="/spaces/{slug}",status="200"}' in metrics
    assert 'route="unknown",status="404"' in metrics
    assert "secret-slug" not in metrics
    assert "made-up-path" not in metrics


async def test_one_document_shows_the_whole_and_needs_no_internet(gateway: Front) -> None:
    document = (await gateway.call("GET", "/openapi.json", tenant=None)).body
    assert {"/tenants", "/connectors/{connector_id}", "/spaces/{slug}"} <= document["paths"].keys()
    assert "/livez" not in document["paths"]
    created = document["paths"]["/connectors"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert created == {"$ref": "#/components/schemas/CreateConnector"}
    answers = document["paths"]["/connectors"]["post"]["responses"]
    shapes = {status: answers[status]["content"]["application/json"]["schema"]["$ref"] for status in ("401", "422")}
    assert set(shapes.values()) == {"#/components/schemas/ErrorBody"}
    page = (await gateway.call("GET", "/docs", tenant=None)).text
    assert "http://" not in page.replace(gateway.url, "")
    assert "https://" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/docs/{asset}" in page
        async with gateway.session.get(f"{gateway.url}/docs/{asset}") as answer:
            assert (answer.status, len(await answer.read()) > 500) == (200, True)
    assert (await gateway.call("GET", "/docs/..%2Fapp.py", tenant=None)).status == 404


async def test_the_way_through_is_short(gateway: Front, tenant: UUID) -> None:
    """Prints a figure; the benchmark compares."""
    bearer, started = token(tenant), time.perf_counter()
    for _ in range(200):
        assert (await gateway.call("GET", "/spaces/shop", tenant=tenant, bearer=bearer)).status == 200
    print(f"PROXY sequential_ms={(time.perf_counter() - started) * 5:.2f}")
