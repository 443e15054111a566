"""`max_age`: when an earlier result may stand, and when it must not."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.integration.query_harness import PASSWORD, Reply, Shop, new_shop
from tests.support.processes import token

COUNT = "SELECT count(*) AS n FROM sales WHERE region <> '{{ region }}'"


async def saved(shop: Shop, text: str = COUNT) -> str:
    slug: str = (await shop.query(text)).body["data"]["slug"]
    return slug


async def young(shop: Shop, slug: str, max_age: object = 60, bearer: str | None = None, **params: object) -> Reply:
    body: dict[str, Any] = {"params": {"region": "x", **params}, "max_age": max_age}
    return await shop.call("POST", f"analytics/queries/{slug}/execute/", body, bearer=bearer)


async def on_server(shop: Shop, statement: str) -> None:
    admin = await asyncpg.connect(shop.stack.customer.admin_url)
    try:
        await admin.execute(statement)
    finally:
        await admin.close()


async def test_an_earlier_result_stands(shop: Shop) -> None:
    slug = await saved(shop)
    first = await young(shop, slug)
    await on_server(shop, "INSERT INTO sales VALUES (100, 'New')")
    try:
        second = await young(shop, slug)
        assert first.body["data"] == second.body["data"]
        assert "cached_at" not in first.body
        assert first.body["execution_key"] != second.body["execution_key"]
        assert list(second.body)[:5] == ["status", "message", "data", "total", "execution_key"]
        assert second.body["cached_at"].endswith("Z")
        assert int(second.headers["Age"]) <= 60
        assert "Age" not in first.headers
        for fresh in (await shop.execute(slug, region="x"), await young(shop, slug, max_age=0)):
            assert fresh.body["data"][0]["n"] == first.body["data"][0]["n"] + 1
            assert "cached_at" not in fresh.body
        assert (await young(shop, slug)).body["data"] != first.body["data"]  # max_age 0 has put a new one there
    finally:
        await on_server(shop, "DELETE FROM sales WHERE id = 100")


async def test_each_answer_is_on_record(shop: Shop) -> None:
    slug = await saved(shop)
    replies = [await young(shop, slug) for _ in range(3)]
    assert ["cached_at" in reply.body for reply in replies] == [False, True, True]
    listed = (await shop.call("GET", f"analytics/queries/{slug}/executions/")).body
    assert listed["total"] == 3
    assert {each["rows"] for each in listed["data"]} == {1}


async def test_what_makes_another_result(shop: Shop) -> None:
    slug = await saved(shop)
    assert "cached_at" not in (await young(shop, slug)).body
    assert "cached_at" in (await young(shop, slug, unused="ignored")).body
    assert "cached_at" not in (await young(shop, slug, region="North America")).body
    path = f"analytics/queries/{slug}/"
    await shop.call("PUT", path, {"query_text": COUNT.replace("AS n", "AS m")})
    assert (await young(shop, slug)).body["data"] == [{"m": 4}]
    await shop.call("PUT", path, {"description": "Nothing that a server sees"})
    assert "cached_at" in (await young(shop, slug)).body
    await shop.call("POST", "secrets/db/rotate/", {"value": {"password": PASSWORD}})
    assert "cached_at" not in (await young(shop, slug)).body


async def test_a_value_of_another_type_is_another(shop: Shop) -> None:
    slug = await saved(shop, "SELECT {{ v }} AS v")
    for value in (1, "1", 1.5, True):
        assert "cached_at" not in (await young(shop, slug, v=value)).body, value


async def test_the_profile_makes_another_result_where_it_is_used(shop: Shop) -> None:
    other = token(shop.tenant, "staff", user="somebody-else")
    plain, personal = await saved(shop), await saved(shop, "SELECT '{{ secret.user_profile.username }}' AS me")
    assert (await young(shop, personal)).body["data"] == [{"me": "tester"}]
    assert (await young(shop, personal, bearer=other)).body["data"] == [{"me": "somebody-else"}]
    assert "cached_at" in (await young(shop, personal, bearer=other)).body
    await young(shop, plain)
    assert "cached_at" in (await young(shop, plain, bearer=other)).body


async def test_another_value_of_a_secret_is_another_result(shop: Shop) -> None:
    await shop.call("POST", "secrets/types/", {"slug": "plain"})
    await shop.secret("key", "plain", "sk_live_0123456789")
    slug = await saved(shop, "SELECT id FROM tokens WHERE token = '{{ secret.key }}'")
    assert (await young(shop, slug)).body["data"] == [{"id": 1}]
    await shop.call("POST", "secrets/key/rotate/", {"value": "other"})
    assert (await young(shop, slug)).body["data"] == [{"id": 2}]
    rows = await shop.stack.sql("SELECT encode(cache_key, 'escape') AS k FROM query_executor.query_result")
    assert all("other" not in row["k"] for row in rows)


async def test_many_rows_come_back_as_they_were(shop: Shop) -> None:
    slug = await saved(shop, "SELECT g AS n, repeat('é', 20) AS t, g / 7.0 AS q FROM generate_series(1, 3000) g")
    first, second = await young(shop, slug), await young(shop, slug)
    assert "cached_at" in second.body
    assert first.body["data"] == second.body["data"]
    assert len(second.body["data"]) == 3000


@pytest.mark.parametrize("max_age", [-1, 86_401, "soon", [1]])
async def test_a_wrong_age(shop: Shop, max_age: object) -> None:
    refused = await young(shop, await saved(shop), max_age=max_age)
    assert (refused.status, refused.body["errors"].keys()) == (400, {"max_age"})


async def test_failures_are_not_kept(shop: Shop) -> None:
    slug = await saved(shop, "SELECT 1 / (count(*) - 4) AS n FROM sales")
    replies = await asyncio.gather(*(young(shop, slug) for _ in range(3)))
    assert {reply.status for reply in replies} == {422}


async def test_one_tenant_does_not_get_the_result_of_another(shop: Shop) -> None:
    other = await new_shop(shop.stack)
    await young(shop, await saved(shop))
    assert "cached_at" not in (await young(other, await saved(other))).body
