"""Executions that nobody waits for: states, results page by page, cancelling, what is kept."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.query_harness import Reply, Shop, Stack, new_shop, query_stack
from tests.integration.test_query_execution import SLOW, activity
from tests.support.ids import NOBODYS
from tests.support.platform import Platform
from tests.support.processes import eventually, token
from tests.support.servers import Servers

ASYNC = {"Prefer": "respond-async"}
OVER = ("completed", "failed", "cancelled")


@pytest.fixture(scope="module")
async def stack(platform: Platform, servers: Servers) -> AsyncIterator[Stack]:
    async with query_stack(platform, servers, connections_per_secret=3) as running:
        yield running


@pytest.fixture
async def shop(stack: Stack) -> Shop:
    return await new_shop(stack)


async def begin(shop: Shop, text: str, headers: dict[str, str] | None = None, **params: object) -> Reply:
    """Save a query and begin to execute it."""
    slug = (await shop.query(text, name=f"q {uuid4().hex[:10]}")).body["data"]["slug"]
    path = f"analytics/queries/{slug}/execute/"
    return await shop.call("POST", path, {"params": params}, headers=ASYNC | (headers or {}))


def place(key: str, rest: str = "") -> str:
    return f"analytics/executions/{key}/{rest}"


async def ended(shop: Shop, key: str, seconds: float = 300) -> dict[str, Any]:
    """How it stands once it is over."""

    async def over() -> dict[str, Any] | None:
        reply = await shop.call("GET", place(key))
        assert reply.status == 200, reply.body
        data: dict[str, Any] = reply.body["data"]
        return data if data["state"] in OVER else None

    found: dict[str, Any] = await eventually(over, seconds)
    return found


async def recorded(shop: Shop) -> list[tuple[str, int]]:
    rows = await shop.stack.sql(
        "SELECT state, row_count FROM query_executor.query_execution WHERE tenant_id = $1", shop.tenant
    )
    return [(row["state"], row["row_count"]) for row in rows]


async def test_a_result_page_by_page(shop: Shop) -> None:
    begun = await begin(shop, "SELECT g AS n, 'ä\"' AS t FROM generate_series(1, {{ n }}) AS g", n=1203)
    assert begun.status == 202, begun.body
    key = begun.body["execution_key"]
    assert begun.headers["Location"] == f"{shop.root}/{place(key)}"
    assert begun.body["data"]["state"] == "pending"
    state = await ended(shop, key)
    assert (state["state"], state["rows"], state["truncated"], state["error"]) == ("completed", 1203, False, None)
    rows, cursor, pages = list[dict[str, Any]](), "", 0
    while True:
        page = await shop.call("GET", place(key, f"result/?limit=400{cursor}"))
        assert (page.status, page.body["total"], page.body["execution_key"]) == (200, 1203, key)
        rows, pages = rows + page.body["data"], pages + 1
        if page.body["next_cursor"] is None:
            break
        cursor = f"&cursor={page.body['next_cursor']}"
    assert pages == 4
    assert rows == [{"n": n, "t": 'ä"'} for n in range(1, 1204)]
    assert await recorded(shop) == [("completed", 1203)]
    assert (await shop.call("GET", place(key, "result/?cursor=x"))).status == 422


async def test_only_who_began_it_reads_its_rows(shop: Shop) -> None:
    key = (await begin(shop, "SELECT 1 AS n")).body["execution_key"]
    await ended(shop, key)
    other = token(shop.tenant, "staff", user="somebody-else")
    assert (await shop.call("GET", place(key), bearer=other)).status == 200
    assert (await shop.call("GET", place(key, "result/"), bearer=other)).status == 403
    stranger = await shop.stack.new_tenant()
    path = f"{shop.root}/{place(key)}"
    assert (await shop.stack.call("GET", path, stranger)).status == 404


@pytest.mark.parametrize("key", ["exec_x", "x", f"exec_{NOBODYS.hex}", "exec_" + "%00"])
async def test_no_such_execution(shop: Shop, key: str) -> None:
    for method, rest in (("GET", ""), ("GET", "result/"), ("POST", "cancel/")):
        assert (await shop.call(method, place(key, rest))).status == 404


async def test_what_breaks_a_rule_is_refused_at_once(shop: Shop) -> None:
    refused = await begin(shop, "SELECT id FROM sales WHERE region = '{{ region }}'")
    assert (refused.status, refused.body["errors"].keys()) == (400, {"params.region"})
    assert await shop.stack.sql("SELECT FROM query_executor.execution_job WHERE tenant_id = $1", shop.tenant) == []


async def test_a_failure_is_told_later(shop: Shop) -> None:
    key = (await begin(shop, "SELECT 1 / (id - id) AS n FROM sales")).body["execution_key"]
    state = await ended(shop, key)
    assert (state["state"], state["error"]["code"]) == ("failed", "QueryExecutionError")
    assert state["error"]["details"]["sqlstate"] == "22012"
    assert (await shop.call("GET", place(key, "result/"))).status == 409
    assert await recorded(shop) == [("failed", 0)]


async def test_cancelling_reaches_the_server(shop: Shop) -> None:
    mark = f"cancel_me_{uuid4().hex[:6]}"
    key = (await begin(shop, SLOW.format(mark=mark))).body["execution_key"]

    async def runs() -> bool:
        return await activity(shop.stack, mark) == 1

    async def stopped() -> bool:
        return await activity(shop.stack, mark) == 0

    await eventually(runs)
    assert (await shop.call("POST", place(key, "cancel/"))).status == 200
    await eventually(stopped, seconds=25)  # before the time limit would stop it
    assert (await ended(shop, key))["state"] == "cancelled"
    assert await recorded(shop) == [("cancelled", 0)]
    again = await shop.call("POST", place(key, "cancel/"))
    assert (again.status, again.body["data"]["state"]) == (200, "cancelled")


async def test_the_same_request_twice_runs_once(shop: Shop) -> None:
    """At the gateway, and past it: the id follows from the key."""
    slug = (await shop.query("SELECT 1 AS n")).body["data"]["slug"]
    headers = {"Idempotency-Key": f"k-{uuid4().hex}", **ASYNC}
    path = f"analytics/queries/{slug}/execute/"
    body: dict[str, Any] = {"params": {}}
    first, second = [await shop.call("POST", path, body, headers=headers) for _ in range(2)]
    assert (first.status, second.status) == (202, 202)
    assert first.body["execution_key"] == second.body["execution_key"]
    assert second.headers["Idempotency-Replayed"] == "true"
    other = await shop.call("POST", path, {"params": {"x": 1}}, headers=headers)
    assert other.status == 422
    await ended(shop, first.body["execution_key"])
    assert await recorded(shop) == [("completed", 1)]


async def test_parameters_are_sealed(shop: Shop) -> None:
    await begin(shop, "SELECT '{{ x }}' AS x", x="canary-parameter-7713")
    found = await shop.stack.sql(
        "SELECT to_jsonb(j)::text AS row FROM query_executor.execution_job j WHERE tenant_id = $1", shop.tenant
    )
    assert len(found) == 1
    assert "canary-parameter-7713" not in found[0]["row"]
    assert "tester" not in found[0]["row"]


async def test_what_is_kept_holds_no_secret(shop: Shop) -> None:
    await shop.call("POST", "secrets/types/", {"slug": "plain"})
    await shop.secret("key", "plain", "sk_live_0123456789")
    key = (await begin(shop, "SELECT token FROM tokens WHERE token = '{{ secret.key }}'")).body["execution_key"]
    await ended(shop, key)
    assert (await shop.call("GET", place(key, "result/"))).body["data"] == [{"token": "[redacted]"}]
    kept = "SELECT convert_from(rows, 'UTF8') AS rows FROM query_executor.query_result_part WHERE tenant_id = $1"
    assert [row["rows"] for row in await shop.stack.sql(kept, shop.tenant)] == ['{"token":"[redacted]"}']


async def test_a_deleted_query_takes_its_results_along(shop: Shop) -> None:
    slug = (await shop.query("SELECT 1 AS n", name="Short lived")).body["data"]["slug"]
    begun = await shop.call("POST", f"analytics/queries/{slug}/execute/", {"params": {}}, headers=ASYNC)
    key = begun.body["execution_key"]
    await ended(shop, key)
    await shop.call("DELETE", f"analytics/queries/{slug}/")
    assert (await shop.call("GET", place(key))).status == 404
    left = "SELECT FROM query_executor.query_result_part WHERE tenant_id = $1"
    assert await shop.stack.sql(left, shop.tenant) == []
