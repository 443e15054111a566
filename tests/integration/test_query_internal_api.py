"""Internal queries through the gateway: whose rows they give, what they may name, how many connections they take."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from services.query_executor.drivers.internal import role_name
from tests.integration.internal_harness import administrator, fill
from tests.integration.query_harness import Reply, Shop, Stack, new_shop, query_stack
from tests.support.platform import Platform
from tests.support.processes import eventually
from tests.support.servers import Servers

_CONNECTIONS = 4


@pytest.fixture(scope="module")
async def stack(platform: Platform, servers: Servers) -> AsyncIterator[Stack]:
    async with query_stack(platform, servers, internal_connections=_CONNECTIONS) as running:
        yield running


async def internal(shop: Shop, text: str, /, **params: object) -> Reply:
    """Save an internal query and execute it."""
    made = await shop.query(text, f"q {abs(hash(text))}", connection_type="internal", secret_key=None)
    if made.status != 201:
        return made
    return await shop.execute(made.body["data"]["slug"], **params)


async def filled(stack: Stack, mark: str) -> Shop:
    shop = await new_shop(stack)
    async with administrator(stack.platform) as admin:
        await fill(admin, shop.tenant, mark)
    return shop


async def test_each_tenant_gets_its_own_rows(stack: Stack) -> None:
    one, other = await filled(stack, "one"), await filled(stack, "other")
    text = "SELECT id, name FROM data_product WHERE name LIKE '%{{ part }}%'"
    for shop, mark in ((one, "one"), (other, "other")):
        reply = await internal(shop, text, part="name")
        assert reply.status == 200, reply.body
        assert reply.body["data"] == [{"id": str(shop.tenant), "name": f"{mark}-name"}]


async def test_the_profile_may_be_used_and_secrets_may_not(stack: Stack) -> None:
    shop = await filled(stack, "one")
    reply = await internal(shop, "SELECT '{{ secret.user_profile.id }}' AS who, count(*) AS n FROM space")
    assert reply.status == 200, reply.body
    assert reply.body["data"][0]["n"] == 1
    assert reply.body["data"][0]["who"]
    refused = await internal(shop, "SELECT name FROM space WHERE name = '{{ secret.db }}'")
    assert (refused.status, refused.body["code"]) == (400, "QueryValidationError")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM aggregator.data_product",
        "SELECT * FROM share.data_product_v1",
        "SELECT * FROM pg_class",
        "SELECT * FROM pg_catalog.pg_roles",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM unknown_table",
        "SELECT set_config('app.tenant', 'x', false)",
        "SELECT current_setting('search_path')",
        "UPDATE data_product SET name = 'x'",
        "SELECT name FROM space; DROP VIEW space",
    ],
)
async def test_what_lies_outside_the_schema_is_refused_when_it_is_saved(stack: Stack, text: str) -> None:
    shop = await new_shop(stack)
    reply = await internal(shop, text)
    assert (reply.status, reply.body["code"]) == (400, "QueryValidationError"), reply.body


async def test_another_tenants_schema_is_refused(stack: Stack) -> None:
    one, other = await filled(stack, "one"), await filled(stack, "other")
    reply = await internal(one, f"SELECT * FROM {role_name(other.tenant)}.space")
    assert (reply.status, reply.body["code"]) == (400, "QueryValidationError")


async def test_names_are_read_as_the_server_reads_them(stack: Stack) -> None:
    shop = await filled(stack, "one")
    reply = await internal(shop, 'SELECT Name FROM Data_Product WHERE "id" IS NOT NULL')
    assert reply.status == 200, reply.body
    assert reply.body["data"] == [{"name": "one-name"}]


async def test_an_execution_shows_in_the_tenants_own_records(stack: Stack) -> None:
    shop = await filled(stack, "one")
    await internal(shop, "SELECT 1 AS a FROM space")
    reply = await internal(
        shop,
        "SELECT e.state, q.name IS NOT NULL AS known FROM query_execution e JOIN saved_query q ON q.id = e.query_id"
        " WHERE q.slug <> 'x' AND e.state = 'completed' AND q.query_text LIKE 'SELECT 1 %'",
    )
    assert reply.status == 200, reply.body
    assert reply.body["data"] == [{"state": "completed", "known": True}]


async def test_all_tenants_together_take_few_connections(stack: Stack) -> None:
    shops = [await filled(stack, f"mark{number}") for number in range(6)]
    text = "SELECT count(*) AS n FROM space, generate_series(1, 400000) AS g(x)"
    slugs = []
    for shop in shops:
        made = await shop.query(text, "slow", connection_type="internal", secret_key=None)
        assert made.status == 201, made.body
        slugs.append(made.body["data"]["slug"])
    running = [asyncio.create_task(shop.execute(slug)) for shop, slug in zip(shops * 4, slugs * 4, strict=True)]
    most = 0
    while not all(task.done() for task in running):
        most = max(most, await _logins(stack, [shop.tenant for shop in shops]))
        await asyncio.sleep(0.01)
    replies = [task.result() for task in running]
    assert {reply.status for reply in replies} == {200}
    assert all(reply.body["data"] == [{"n": 400000}] for reply in replies)
    assert 0 < most <= _CONNECTIONS
    print(f"INTERNAL_CONNECTIONS tenants={len(shops)} executions={len(running)} most={most} limit={_CONNECTIONS}")


async def _logins(stack: Stack, tenants: list[UUID]) -> int:
    names = [role_name(tenant) for tenant in tenants]
    rows = await stack.sql("SELECT count(*) AS n FROM pg_stat_activity WHERE usename = ANY($1::text[])", names)
    return int(rows[0]["n"])


async def test_a_login_that_the_server_knows_otherwise_is_made_again(stack: Stack) -> None:
    """As after the roles of a server were restored from an older backup, or not at all."""
    shop = await filled(stack, "one")
    for damage in ("ALTER ROLE {0} PASSWORD 'another'", "ALTER ROLE {0} NOLOGIN", "DROP OWNED BY {0}; DROP ROLE {0}"):
        assert (await internal(shop, "SELECT id FROM space")).status == 200
        async with administrator(stack.platform) as admin:
            name = role_name(shop.tenant)
            sessions = await admin.fetch("SELECT pid FROM pg_stat_activity WHERE usename = $1", name)
            await admin.execute(damage.format(name))
            for session in sessions:
                await admin.fetchval("SELECT pg_terminate_backend($1)", session["pid"])

        async def works() -> bool:
            return (await internal(shop, "SELECT id FROM space")).status == 200

        await eventually(works)


async def test_a_deleted_tenants_login_goes(stack: Stack) -> None:
    shop = await filled(stack, "one")
    assert (await internal(shop, "SELECT id FROM space")).status == 200
    gone = await stack.call("DELETE", f"/tenants/{shop.tenant}", None, None, "superuser")
    assert gone.status < 300, gone.body

    async def is_gone() -> bool:
        rows = await stack.sql("SELECT to_regrole($1) IS NULL AS gone", role_name(shop.tenant))
        return bool(rows[0]["gone"])

    await eventually(is_gone)
