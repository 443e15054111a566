"""Queries that run by the clock, and what is dropped by it; the ticks come ten times a second here."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.query_executor import app
from tests.integration.query_harness import Reply, Shop, Stack, new_shop, query_stack
from tests.integration.test_query_async import ended, place, recorded
from tests.integration.test_query_audit import told
from tests.integration.test_query_execution import SLOW
from tests.support.platform import Platform
from tests.support.processes import eventually, token
from tests.support.servers import Servers

# Due by itself only to whoever works through the night of the year's end.
YEARLY = {"cron": "30 2 1 1 *", "timezone": "Europe/Berlin"}
TABLES = ("query_schedule", "execution_job", "query_result", "query_result_part")


@pytest.fixture(scope="module")
async def stack(platform: Platform, servers: Servers) -> AsyncIterator[Stack]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(app, "TICK", timedelta(seconds=0.1))
        patched.setattr(app, "_PRUNE", timedelta(seconds=0.1))
        patched.setattr(app, "_LOOK_FOR_LOST", timedelta(seconds=0.1))
        async with query_stack(platform, servers) as running:
            yield running


@pytest.fixture
async def shop(stack: Stack) -> Shop:
    return await new_shop(stack)


async def schedule(shop: Shop, slug: str, method: str = "GET", body: Any = None, **options: Any) -> Reply:
    return await shop.call(method, f"analytics/queries/{slug}/schedule/", body, **options)


async def scheduled(shop: Shop, text: str, **params: object) -> str:
    slug: str = (await shop.query(text)).body["data"]["slug"]
    reply = await schedule(shop, slug, "PUT", YEARLY | {"params": params})
    assert reply.status == 200, reply.body
    return slug


async def make_due(shop: Shop) -> None:
    await shop.stack.sql(
        "UPDATE query_executor.query_schedule SET next_run_at = $2 WHERE tenant_id = $1",
        shop.tenant,
        datetime.now(UTC) - timedelta(minutes=1),
    )


async def begun(shop: Shop, slug: str, before: str | None = None) -> str:
    """The key of the next execution that the schedule begins."""

    async def known() -> str | None:
        key: str | None = (await schedule(shop, slug)).body["data"]["last_execution_key"]
        return key if key != before else None

    found: str = await eventually(known)
    return found


async def count(shop: Shop, table: str) -> int:
    rows = await shop.stack.sql(f"SELECT count(*) AS n FROM query_executor.{table} WHERE tenant_id = $1", shop.tenant)
    return int(rows[0]["n"])


async def test_it_runs_as_its_owner(shop: Shop) -> None:
    slug = await scheduled(shop, "SELECT '{{ secret.user_profile.username }}' AS me, '{{ x }}' AS x", x="y")
    state = (await schedule(shop, slug)).body["data"]
    assert (state["cron"], state["timezone"], state["last_execution_key"]) == (*YEARLY.values(), None)
    assert datetime.fromisoformat(state["next_run_at"]) > datetime.now(UTC)
    await make_due(shop)
    key = await begun(shop, slug)
    assert (await ended(shop, key))["state"] == "completed"
    page = await shop.call("GET", place(key, "result/"))
    assert page.body["data"] == [{"me": "tester", "x": "y"}]
    other = token(shop.tenant, "staff", user="somebody-else")
    assert (await shop.call("GET", place(key, "result/"), bearer=other)).status == 403
    assert await recorded(shop) == [("completed", 1)]
    after = (await schedule(shop, slug)).body["data"]
    assert datetime.fromisoformat(after["next_run_at"]) > datetime.now(UTC)
    assert after["last_due_at"] is not None


async def test_it_begins_once_for_each_time(shop: Shop) -> None:
    slug = await scheduled(shop, "SELECT 1 AS n")
    await make_due(shop)
    first = await begun(shop, slug)
    await ended(shop, first)
    await asyncio.sleep(0.5)
    assert await count(shop, "execution_job") == 1
    await make_due(shop)
    second = await begun(shop, slug, first)
    await ended(shop, second)
    assert await recorded(shop) == [("completed", 1)] * 2


async def test_one_that_still_runs_is_not_begun_again(shop: Shop) -> None:
    slug = await scheduled(shop, SLOW.format(mark="by_the_clock"))
    await make_due(shop)
    key = await begun(shop, slug)
    await make_due(shop)

    async def passed_over() -> bool:
        state = (await schedule(shop, slug)).body["data"]
        return datetime.fromisoformat(state["next_run_at"]) > datetime.now(UTC)

    await eventually(passed_over)
    assert await count(shop, "execution_job") == 1
    await shop.call("POST", place(key, "cancel/"))
    assert (await ended(shop, key))["state"] == "cancelled"


async def test_what_fails_by_then_is_told(shop: Shop) -> None:
    slug = await scheduled(shop, "SELECT 1 AS n")
    await shop.call("DELETE", "secrets/db/")
    await make_due(shop)
    state = await ended(shop, await begun(shop, slug))
    assert (state["state"], state["error"]["message"]) == ("failed", "Secret not found")


async def test_putting_again_and_deleting(shop: Shop) -> None:
    slug = await scheduled(shop, "SELECT 1 AS n")
    changed = await schedule(shop, slug, "PUT", {"cron": "0 3 * * 1"})
    assert (changed.body["data"]["cron"], changed.body["data"]["timezone"]) == ("0 3 * * 1", "UTC")
    assert await count(shop, "query_schedule") == 1
    assert (await schedule(shop, slug, "DELETE")).status == 200
    assert [(await schedule(shop, slug, method)).status for method in ("GET", "DELETE")] == [404, 404]
    await schedule(shop, slug, "PUT", YEARLY)
    await shop.call("DELETE", f"analytics/queries/{slug}/")
    assert await count(shop, "query_schedule") == 0


async def test_its_changes_are_told(shop: Shop) -> None:
    slug = await scheduled(shop, "SELECT 1 AS n")
    await make_due(shop)
    await ended(shop, await begun(shop, slug))
    await schedule(shop, slug, "PUT", YEARLY)
    await schedule(shop, slug, "DELETE")
    kinds = [event.event_type for event, _, _, text in await told(shop.stack, shop.tenant) if "query_schedule" in text]
    assert sorted(kinds) == ["QUERY_SCHEDULE_CREATE", "QUERY_SCHEDULE_DELETE", "QUERY_SCHEDULE_UPDATE"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cron": "every day"}, "body"),
        ({"cron": "0 0 30 2 *"}, "body"),
        ({"cron": "0 0 * * *", "timezone": "Nowhere/City"}, "body"),
        ({"cron": "0 0 * * *", "more": 1}, "more"),
        ({"cron": "0 0 * * *", "params": {"x": {"a": 1}}}, "params.x"),
        ({"cron": "0 0 * * *"}, "params.x"),
    ],
)
async def test_a_schedule_that_cannot_be(shop: Shop, body: dict[str, Any], field: str) -> None:
    slug = (await shop.query("SELECT '{{ x }}' AS x")).body["data"]["slug"]
    refused = await schedule(shop, slug, "PUT", body)
    assert (refused.status, refused.body["errors"].keys()) == (400, {field}), refused.body
    assert await count(shop, "query_schedule") == 0


async def test_results_are_dropped_when_they_expire(shop: Shop) -> None:
    slug = await scheduled(shop, "SELECT 1 AS n")
    await make_due(shop)
    key = await begun(shop, slug)
    await ended(shop, key)
    for table in ("execution_job", "query_result"):
        await shop.stack.sql(
            f"UPDATE query_executor.{table} SET expires_at = $2 WHERE tenant_id = $1",
            shop.tenant,
            datetime.now(UTC) - timedelta(seconds=1),
        )

    async def gone() -> bool:
        return [await count(shop, table) for table in TABLES] == [1, 0, 0, 0]

    await eventually(gone)
    assert (await shop.call("GET", place(key))).status == 404
    assert await recorded(shop) == [("completed", 1)]


async def test_a_job_whose_row_of_the_queue_is_gone_is_run(shop: Shop) -> None:
    slug = (await shop.query(SLOW.format(mark="lost"))).body["data"]["slug"]
    path = f"analytics/queries/{slug}/execute/"
    key = (await shop.call("POST", path, {"params": {}}, headers={"Prefer": "respond-async"})).body["execution_key"]
    await shop.call("POST", place(key, "cancel/"))
    assert (await ended(shop, key))["state"] == "cancelled"
    await shop.call("PUT", f"analytics/queries/{slug}/", {"query_text": "SELECT 1 AS n"})
    await shop.stack.sql(
        """UPDATE query_executor.execution_job SET state = 'pending', cancelling = false, created_at = $2
           WHERE tenant_id = $1""",
        shop.tenant,
        datetime.now(UTC) - timedelta(minutes=5),
    )
    assert (await ended(shop, key))["state"] == "completed"


async def test_nothing_runs_as_somebody_who_is_forgotten(shop: Shop) -> None:
    slug = await scheduled(shop, "SELECT 1 AS n")
    await make_due(shop)
    await ended(shop, await begun(shop, slug))
    erased = await shop.stack.call("POST", "/users/erase", shop.tenant, {"username": "tester"}, "superuser")
    assert erased.status < 300, erased.body

    async def forgotten() -> bool:
        return [await count(shop, table) for table in TABLES] == [0, 0, 0, 0]

    await eventually(forgotten)
