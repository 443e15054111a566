"""A query that was run lately is made ready while it is looked up. What the database says counts, and comes first."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import pytest

from tests.integration.query_harness import PASSWORD, Shop, Stack, new_shop
from tests.support.processes import eventually, token

_COUNT = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state = $2"
_LOOKING = """SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%FROM runnable(%' AND wait_event_type = 'Lock'"""
_END_LOOKING = f"SELECT pg_terminate_backend(pid) FROM ({_LOOKING}) AS each"
_RECORDED = "SELECT state, query_version, secret_version FROM query_executor.query_execution WHERE tenant_id = $1"


async def warm(
    shop: Shop, text: str = "SELECT 'first' AS v", name: str = "Some query", params: Mapping[str, object] | None = None
) -> str:
    """A query that was run, whose connection waits for the next one; its slug."""
    slug = str((await shop.query(text, name)).body["data"]["slug"])
    assert (await shop.execute(slug, **(params or {}))).status == 200

    async def at_rest() -> bool:
        return await sessions(shop, "idle") > 0 and await is_left(shop)

    await eventually(at_rest)
    return slug


async def sessions(shop: Shop, state: str) -> int:
    """Of the secret's login on the customer's server."""
    admin = await asyncpg.connect(shop.stack.customer.admin_url)
    try:
        return int(await admin.fetchval(_COUNT, shop.stack.customer.username, state))
    finally:
        await admin.close()


@asynccontextmanager
async def held_look_ups(stack: Stack) -> AsyncIterator[None]:
    """No look-up ends meanwhile."""
    admin = await asyncpg.connect(stack.platform.admin_url)
    try:
        async with admin.transaction():
            await admin.execute("LOCK TABLE query_executor.app IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await admin.close()


async def looks(stack: Stack) -> bool:
    """Whether a look-up waits. (Within one transaction the view stays as it was.)"""
    return len(await stack.sql(_LOOKING)) == 1


async def is_left(shop: Shop) -> bool:
    """Whether no statement and no transaction is open. (A statement that was read counts as active.)"""
    return not await sessions(shop, "idle in transaction") and not await sessions(shop, "active")


async def recorded(shop: Shop) -> list[tuple[str, int, int]]:
    return [tuple(row) for row in await shop.stack.sql(_RECORDED + " ORDER BY started_at", shop.tenant)]


async def test_a_statement_runs_behind_its_look_up(shop: Shop) -> None:
    """Its server has read it by then; where that takes long it has nothing open meanwhile."""
    slug = await warm(shop, "SELECT clock_timestamp() AS at")
    async with held_look_ups(shop.stack):
        running = asyncio.create_task(shop.execute(slug))
        await eventually(lambda: looks(shop.stack))
        await eventually(lambda: is_left(shop))
        released = await asyncpg.connect(shop.stack.customer.admin_url)
        before = await released.fetchval("SELECT clock_timestamp()")
        await released.close()
        assert not running.done()
    at = datetime.fromisoformat((await running).body["data"][0]["at"])
    assert at > before
    assert await recorded(shop) == [("completed", 1, 1)] * 2


async def test_a_query_that_was_changed_is_run_as_it_is_now(shop: Shop) -> None:
    slug = await warm(shop)
    changed = await shop.call("PUT", f"analytics/queries/{slug}/", {"query_text": "SELECT 'second' AS v"})
    assert changed.status == 200, changed.body
    for _ in range(2):
        assert (await shop.execute(slug)).body["data"] == [{"v": "second"}]
    assert await recorded(shop) == [("completed", 1, 1), ("completed", 2, 1), ("completed", 2, 1)]


async def test_a_secret_that_was_rotated_is_used_as_it_is_now(shop: Shop) -> None:
    slug = await warm(shop)
    for password, status in (("wrong-for-now", 502), (PASSWORD, 200)):
        turned = await shop.call("POST", "secrets/db/rotate/", {"value": {"password": password}})
        assert turned.status == 200, turned.body
        assert (await shop.execute(slug)).status == status
    assert await recorded(shop) == [("completed", 1, 1), ("failed", 1, 2), ("completed", 1, 3)]
    await eventually(lambda: is_left(shop))


@pytest.mark.parametrize(
    ("path", "status"),
    [("analytics/queries/gone/", 404), ("secrets/db/", 400), ("", 404)],
    ids=["query", "secret", "app"],
)
async def test_what_was_deleted_is_not_run(shop: Shop, path: str, status: int) -> None:
    slug = await warm(shop, name="gone")
    deleted = await shop.call("DELETE", path)
    assert deleted.status in (200, 204), deleted.body
    assert (await shop.execute(slug)).status == status
    assert [each[0] for each in await recorded(shop) if each[0] == "completed"] == ["completed"]
    await eventually(lambda: is_left(shop))


async def test_a_failure_of_the_look_up_is_said_and_leaves_nothing_open(shop: Shop) -> None:
    slug = await warm(shop)
    async with held_look_ups(shop.stack):
        running = asyncio.create_task(shop.execute(slug))
        await eventually(lambda: looks(shop.stack))
        assert await shop.stack.sql(_END_LOOKING)
        said = await running
    assert (said.status, said.body["code"]) == (503, "Unavailable")
    await eventually(lambda: is_left(shop))
    assert (await shop.execute(slug)).status == 200
    assert await recorded(shop) == [("completed", 1, 1)] * 2


async def test_a_client_that_leaves_before_the_look_up_ends_leaves_nothing_open(shop: Shop) -> None:
    slug = await warm(shop)
    async with held_look_ups(shop.stack):

        async def asks_nothing() -> bool:
            return not await looks(shop.stack)

        running = asyncio.create_task(shop.execute(slug))
        await eventually(lambda: looks(shop.stack))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await eventually(lambda: is_left(shop))
        await eventually(asks_nothing)
    assert (await shop.execute(slug)).status == 200
    assert await recorded(shop) == [("completed", 1, 1)] * 2


async def test_nobody_logs_in_before_the_look_up(shop: Shop) -> None:
    slug = await warm(shop)
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"
    customer = await asyncpg.connect(shop.stack.customer.admin_url)

    async def has_none() -> bool:
        counted = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
        return not await customer.fetchval(counted, shop.stack.customer.username)

    async with held_look_ups(shop.stack):
        await customer.execute(ended, shop.stack.customer.username)
        await eventually(has_none)
        running = asyncio.create_task(shop.execute(slug))
        await eventually(lambda: looks(shop.stack))
        assert await has_none()
    assert (await running).status == 200
    await customer.close()


async def test_a_call_that_is_refused_is_on_record_once(shop: Shop) -> None:
    slug = await warm(shop, "SELECT 1 / {{ n }} AS v", params={"n": 1})
    for params, status in (({}, 400), ({"n": 0}, 422), ({"n": 1}, 200)):
        assert (await shop.execute(slug, **params)).status == status
    states = [each[0] for each in await recorded(shop)]
    assert states == ["completed", "failed", "failed", "completed"]


async def test_each_tenant_has_its_own(stack: Stack, shop: Shop) -> None:
    other = await new_shop(stack)
    assert await warm(shop, "SELECT 'ours' AS v", name="same") == await warm(other, "SELECT 'theirs' AS v", name="same")
    for each, value in ((shop, "ours"), (other, "theirs"), (shop, "ours")):
        assert (await each.execute("same")).body["data"] == [{"v": value}]


_PLAIN = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"params": {"n": 1}}', _PLAIN),
        (b'{"params": {"n": 1}}', {"Content-Type": "application/json; charset=utf-8"}),
        (b'{"params": {"n": 1}}', {"Content-Type": "text/plain"}),
        (b'{"params": {"n": 1}}', {**_PLAIN, "Accept": "text/csv"}),
        (b'{"params": {"n": 1}}', {**_PLAIN, "Accept": "image/png"}),
        (b'{"params": {"n": 1, "big": 123456789012345678901234567890, "f": NaN}}', _PLAIN),
        (b'{"params": {"n": 1}, "more": 2}', _PLAIN),
        (b'{"params": [], "max_age": -1}', _PLAIN),
        (b'{"params": {"n": "' + b"9" * 70_000 + b'"}}', _PLAIN),
        (b'{"params": ', _PLAIN),
        (b"[" * 10_000, _PLAIN),
        (b"null", _PLAIN),
        (b"", _PLAIN),
        (b"", {}),
        (b'{"params": {"n": 1}}', {**_PLAIN, "Authorization": "Bearer nobody"}),
    ],
)
async def test_a_plain_request_and_one_that_is_read_with_care_come_to_the_same(
    shop: Shop, body: bytes, headers: dict[str, str]
) -> None:
    """`Prefer` makes the difference; nothing that it asks for applies."""
    slug = await warm(shop, "SELECT {{ n }} AS v", params={"n": 1})
    url = f"{shop.stack.url}{shop.root}/analytics/queries/{slug}/execute/"
    said = []
    for more in ({}, {"Prefer": "handling=strict"}):
        given = {"Authorization": f"Bearer {token(shop.tenant, 'staff')}", **headers, **more}
        async with shop.stack.session.post(url, data=body, headers=given) as answer:
            text = re.sub(r"exec_[0-9a-f]{32}|[0-9a-f]{32}", "", await answer.text())
            said.append((answer.status, answer.headers.get("Content-Type"), text))
    assert said[0] == said[1]
