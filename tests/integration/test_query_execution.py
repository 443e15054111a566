"""Executions on a real Postgres: types, limits, cancelling, secrets that stay inside, what is recorded and told."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from libs.common.settings import CommonSettings
from libs.common.topics import BI_QUERY_SCRAPED
from tests.integration.query_harness import PASSWORD, Shop, Stack, new_shop, query_stack
from tests.support.messaging import Bench
from tests.support.platform import Platform
from tests.support.processes import eventually, token
from tests.support.servers import Servers

TOKEN = "sk_live_0123456789"


@pytest.fixture(scope="module")
async def stack(platform: Platform, servers: Servers) -> AsyncIterator[Stack]:
    async with query_stack(platform, servers, connections_per_secret=3, query_bytes=200_000) as running:
        yield running


@pytest.fixture
async def shop(stack: Stack) -> Shop:
    return await new_shop(stack)


def placeholder(inside: str) -> str:
    return "{{ " + inside + " }}"


async def one_value(shop: Shop, expression: str, **params: object) -> Any:
    reply = await shop.run(f"SELECT {expression} AS v", **params)
    assert reply.status == 200, reply.body
    return reply.body["data"][0]["v"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("TIMESTAMPTZ '2024-01-15 10:30:00.25+02'", "2024-01-15T08:30:00.250000Z"),
        ("TIMESTAMP '2024-01-15 10:30:00'", "2024-01-15T10:30:00"),
        ("DATE '2024-01-15'", "2024-01-15"),
        ("TIME '10:30'", "10:30:00"),
        ("'infinity'::timestamptz", "infinity"),
        ("'\\x00ff'::bytea", "AP8="),
        ("123456789012345.00::numeric", 123456789012345.0),
        ("1234567890.1234567::numeric", "1234567890.1234567"),
        ("'NaN'::numeric", None),
        ("'NaN'::float8", None),
        ("'infinity'::float8", None),
        ("9007199254740992", 9007199254740992),
        ("9007199254740993", "9007199254740993"),
        ("true", True),
        ("NULL::int", None),
        ("'7a0c5d1e-0000-4000-8000-000000000001'::uuid", "7a0c5d1e-0000-4000-8000-000000000001"),
        ("'{\"a\": [1, 9007199254740993]}'::jsonb", {"a": [1, "9007199254740993"]}),
        ("ARRAY[[1, 2], [3, NULL]]", [[1, 2], [3, None]]),
        ("'[1,5)'::int4range", "[1,5)"),
        ("'empty'::int4range", "empty"),
        ("INTERVAL '1 year 2 months -3 days 4 hours 0.5 seconds'", "P1Y2M-3DT4H0.5S"),
        ("'10.0.0.1/8'::inet", "10.0.0.1/8"),
        ("'10.0.0.0/8'::cidr", "10.0.0.0/8"),
        ("B'101'", "101"),
        ("'é\"'", 'é"'),
    ],
)
async def test_a_value_of_the_server_in_json(shop: Shop, expression: str, value: object) -> None:
    assert await one_value(shop, expression) == value


@pytest.mark.parametrize("value", ["it's", '"', "\\", "{{ x }}", "a\nb", "%", "é日本", "$1", "--", "NULL", ""])
async def test_a_text_arrives_as_it_is(shop: Shop, value: str) -> None:
    assert await one_value(shop, "'{{ x }}'", x=value) == value


async def test_values_by_their_place(shop: Shop) -> None:
    assert await one_value(shop, "{{ n }} + 1", n=2) == 3
    assert await one_value(shop, "{{ n }}", n=2.5) == 2.5
    assert await one_value(shop, "'{{ n }}'", n=2) == "2"
    assert await one_value(shop, "concat('{{ a }}', '-', '{{ a }}')", a="x") == "x-x"
    rows = await shop.run(
        "SELECT id FROM sales WHERE date BETWEEN '{{ d }}' AND '{{ d }}' LIMIT {{ n }}", d="2024-01-15", n=2
    )
    assert rows.body["total"] == 2
    listed = await shop.run("SELECT id FROM sales WHERE region IN ({{ r }}) ORDER BY id", r=["Europe", "x'"])
    assert [row["id"] for row in listed.body["data"]] == [3, 4]
    same = "date_trunc('{{ unit }}', sold_at)"
    grouped = await shop.run(f"SELECT {same} AS t, count(*) AS n FROM sales GROUP BY {same} ORDER BY 1", unit="day")
    assert grouped.body["data"][0] == {"t": "2024-01-15T00:00:00Z", "n": 3}


async def test_columns_of_one_name(shop: Shop) -> None:
    found = await shop.run("SELECT 1 AS a, 2 AS a, 3 AS a_2")
    assert found.body["data"] == [{"a": 1, "a_3": 2, "a_2": 3}]


async def test_rows_and_bytes_are_limited_and_said_so(shop: Shop) -> None:
    value = shop.stack.customer.value()
    await shop.secret("few", "analytics-postgres", value, settings={"max_result_rows": 70})
    text = "SELECT g FROM generate_series(1, {{ n }}) AS g"
    slug = (await shop.query(text, secret_key="few")).body["data"]["slug"]
    for count, total, truncated in ((70, 70, False), (71, 70, True), (100_000, 70, True)):
        found = (await shop.execute(slug, n=count)).body
        assert (found["total"], len(found["data"]), found["truncated"]) == (total, total, truncated)
    wide = (await shop.run("SELECT repeat('x', 60000) AS x FROM generate_series(1, 10)")).body
    assert (wide["total"], wide["truncated"]) == (3, True)
    assert (await shop.run("SELECT 1 AS n WHERE false")).body["data"] == []


async def activity(stack: Stack, mark: str) -> int:
    """Statements with a mark that run on the customer's server now."""
    admin = await asyncpg.connect(stack.customer.admin_url)
    try:
        counted = """SELECT count(*) FROM pg_stat_activity
                     WHERE state = 'active' AND query LIKE '%' || $1 || '%' AND usename = $2"""
        return int(await admin.fetchval(counted, mark, stack.customer.username))
    finally:
        await admin.close()


SLOW = "SELECT count(*) AS {mark} FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b"


async def test_the_time_limit_stops_the_statement_on_its_server(shop: Shop) -> None:
    value = shop.stack.customer.value()
    await shop.secret("hasty", "analytics-postgres", value, settings={"timeout_seconds": 0.3})
    slug = (await shop.query(SLOW.format(mark="too_slow"), secret_key="hasty")).body["data"]["slug"]
    said = await shop.execute(slug)
    assert (said.status, said.body["code"]) == (504, "QueryExecutionError")
    assert said.body["message"] == "The query took longer than 0.3 seconds and was stopped."
    assert await activity(shop.stack, "too_slow") == 0
    assert (await shop.run("SELECT 1 AS n")).status == 200


async def test_a_client_that_leaves_stops_its_statement(shop: Shop) -> None:
    slug = (await shop.query(SLOW.format(mark="left_alone"))).body["data"]["slug"]
    running = asyncio.create_task(shop.execute(slug))

    async def runs() -> bool:
        return await activity(shop.stack, "left_alone") == 1

    async def is_over() -> bool:
        return await activity(shop.stack, "left_alone") == 0

    await eventually(runs)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await eventually(is_over, seconds=25)  # before the time limit would stop it

    async def recorded() -> bool:
        rows = await shop.stack.sql(
            "SELECT state FROM query_executor.query_execution WHERE tenant_id = $1", shop.tenant
        )
        return [row["state"] for row in rows] == ["cancelled"]

    await eventually(recorded)


async def test_more_executions_than_connections(shop: Shop) -> None:
    slug = (await shop.query("SELECT count(*) AS n FROM generate_series(1, 20000)")).body["data"]["slug"]
    found = await asyncio.gather(*(shop.execute(slug) for _ in range(40)))
    assert {reply.status for reply in found} == {200}


async def test_nothing_is_written(shop: Shop) -> None:
    for text in (
        "CREATE TABLE x (a int)",
        "DELETE FROM sales",
        "WITH d AS (DELETE FROM sales RETURNING 1) SELECT 1",
        "SELECT 1; SELECT 2",
    ):
        assert (await shop.query(text)).body["code"] == "QueryValidationError", text


async def test_secrets_against_columns(shop: Shop) -> None:
    await shop.call("POST", "secrets/types/", {"slug": "plain", "name": "Plain values"})
    await shop.secret("api_credentials", "plain", TOKEN)
    await shop.secret("tenant-config", "plain", {"id": 1, "name": "n"})
    found = await shop.run("SELECT id FROM tokens WHERE token = '{{ secret.api_credentials }}'")
    assert found.body["data"] == [{"id": 1}]
    for reference in ("secret.tenant_config.id", 'secret["tenant-config"].id'):
        nested = await shop.run(f"SELECT id FROM tokens WHERE id = '{placeholder(reference)}'")
        assert nested.body["data"] == [{"id": 1}], nested.body
    for reference, said in (
        ("secret.tenant_config", "several fields"),
        ("secret.tenant_config.nothing", "names no field"),
        ("secret.nobody", "Secret not found"),
        ("secret.db.password", "opens a connection"),
    ):
        refused = await shop.run(f"SELECT id FROM tokens WHERE token = '{placeholder(reference)}'")
        assert (refused.status, refused.body["code"]) == (400, "SecretResolutionError")
        assert said in refused.body["message"]


async def test_secret_values_do_not_leave(shop: Shop) -> None:
    """Row, error and plan show the secret's value on the server; the answers do not."""
    await shop.call("POST", "secrets/types/", {"slug": "plain"})
    await shop.secret("key", "plain", TOKEN)
    where = "WHERE token = '{{ secret.key }}'"
    rows = await shop.run(
        f"""SELECT token, 'a' || token || 'z' AS inside, ARRAY[token] AS list, jsonb_build_object('k', token) AS doc,
                   convert_to(token, 'UTF8') AS bytes, encode(convert_to(token, 'UTF8'), 'hex') AS hex
            FROM tokens {where}"""
    )
    assert rows.status == 200, rows.body
    row = rows.body["data"][0]
    assert (row["token"], row["inside"], row["list"], row["doc"]) == (
        "[redacted]",
        "a[redacted]z",
        ["[redacted]"],
        {"k": "[redacted]"},
    )
    assert row["hex"] == "[redacted]"
    assert "[redacted]" in row["bytes"]
    plan = await shop.run(f"EXPLAIN SELECT id FROM tokens {where}")
    assert TOKEN not in str(plan.body)
    failed = await shop.run("SELECT id FROM sales WHERE id = '{{ secret.key }}'")
    assert (failed.status, failed.body["code"]) == (422, "QueryExecutionError")
    assert TOKEN not in str(failed.body)


async def test_the_connections_password_does_not_leave_through_a_row(shop: Shop) -> None:
    assert await one_value(shop, "'{{ x }}'", x=f"<{PASSWORD}>") == "<[redacted]>"


async def test_the_profile_is_the_callers(shop: Shop) -> None:
    names = ("id", "username", "email", "first_name", "last_name", "is_staff", "is_superuser")
    columns = ", ".join(f"'{placeholder(f'secret.user_profile.{name}')}' AS {name}" for name in names)
    found = await shop.run(f"SELECT {columns}")
    assert found.status == 200, found.body
    row = found.body["data"][0]
    assert (row["id"], row["username"], row["email"]) == ("tester", "tester", None)
    assert (row["is_staff"], row["is_superuser"]) == ("true", "false")


async def test_a_value_is_never_shown_and_rotates(shop: Shop) -> None:
    made = await shop.secret("second", "analytics-postgres", shop.stack.customer.value(password="wrong-for-now"))
    shown = [
        made,
        await shop.call("GET", "secrets/"),
        await shop.call("GET", "secrets/second/"),
        await shop.call("PATCH", "secrets/second/", {"description": "The second"}),
    ]
    assert [reply.status for reply in shown] == [201, 200, 200, 200]
    assert not any("value" in str(reply.body) or PASSWORD in str(reply.body) for reply in shown)
    assert made.body["data"]["version"] == 1
    slug = (await shop.query("SELECT 1 AS n", secret_key="second")).body["data"]["slug"]
    assert (await shop.execute(slug)).status == 502
    wrong = await shop.call("POST", "secrets/second/rotate/", {"value": {"port": "x", "more": 1}})
    assert wrong.body["errors"].keys() == {"value.port", "value.more"}
    turned = await shop.call("POST", "secrets/second/rotate/", {"value": {"password": PASSWORD}})
    assert (turned.status, turned.body["data"]["version"]) == (200, 2)
    assert (await shop.execute(slug)).body["data"] == [{"n": 1}]
    stored = await shop.stack.sql("SELECT row_to_json(s)::text AS s FROM query_executor.secret s")
    assert not any(PASSWORD in row["s"] or shop.stack.customer.username in row["s"] for row in stored)
    versions = "SELECT secret_version FROM query_executor.query_execution WHERE tenant_id = $1 ORDER BY started_at"
    assert [row["secret_version"] for row in await shop.stack.sql(versions, shop.tenant)] == [1, 2]


async def test_changes_of_a_secret_at_once_lose_nothing(shop: Shop) -> None:
    """Each one that was taken is a version of its own, and the value is whole."""
    bodies = [{"value": {"password": PASSWORD, "port": shop.stack.customer.port}} for _ in range(6)]
    replies = await asyncio.gather(*(shop.call("POST", "secrets/db/rotate/", body) for body in bodies))
    taken = [reply for reply in replies if reply.status == 200]
    assert {reply.status for reply in replies} <= {200, 409}
    assert sorted(reply.body["data"]["version"] for reply in taken) == list(range(2, 2 + len(taken)))
    assert (await shop.call("GET", "secrets/db/")).body["data"]["version"] == 1 + len(taken)
    assert (await shop.run("SELECT 1 AS n")).status == 200


async def test_an_execution_is_told_as_usage(shop: Shop) -> None:
    text = "SELECT amount FROM sales WHERE region = '{{ region }}' AND id > 1"
    made = await shop.query(text, "Amounts")
    key = (await shop.execute("amounts", region="canary-region")).body["execution_key"]
    await shop.execute("amounts")  # refused: no usage
    await shop.stack.relayed()
    platform = shop.stack.platform
    settings = CommonSettings(kafka=platform.kafka, topic_prefix=platform.topic_prefix)
    sent = await Bench(settings).read(platform.topic_prefix + BI_QUERY_SCRAPED.name)
    events = [json.loads(record.value) for record in sent if str(shop.tenant).encode() in (record.key or b"")]
    assert len(events) == 1
    (event,) = events
    database = shop.stack.customer.database
    assert event["resource_type"] == "query_log"
    assert (event["resource_id"], event["executed_by"], event["title"]) == (key, "tester", "Amounts")
    assert event["connector"]["type"] == "saved_queries"
    assert event["connector"]["name"] == "shop/db"
    assert event["sql_text"] == "SELECT amount FROM sales WHERE region = ? AND id > ?"
    assert [table["name"] for table in event["tables"]] == [[database, "public", "sales"]]
    assert "canary-region" not in json.dumps(event)
    assert made.body["data"]["version"] == 1


async def test_an_erased_person_is_in_no_record(shop: Shop) -> None:
    await shop.query("SELECT 1 AS n", "Anything")
    bearer = token(shop.tenant, "staff", user="erika")
    path = "analytics/queries/anything/execute/"
    assert (await shop.call("POST", path, {}, bearer=bearer)).status == 200
    erased = await shop.stack.call("POST", "/users/erase", shop.tenant, {"username": "erika"})
    assert erased.status == 202, erased.body

    async def rewritten() -> bool:
        who = "SELECT executed_by FROM query_executor.query_execution WHERE tenant_id = $1"
        return all(row["executed_by"].startswith("erased:") for row in await shop.stack.sql(who, shop.tenant))

    await eventually(rewritten)
    assert (await shop.call("POST", path, {}, bearer=bearer)).status == 200
    assert await rewritten()


async def test_a_body_that_is_no_json(shop: Shop) -> None:
    url = f"{shop.stack.url}{shop.root}/analytics/queries/"
    headers = {"Authorization": f"Bearer {token(shop.tenant, 'staff')}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session, session.post(url, data=b'{"name": ', headers=headers) as answer:
        said = await answer.json()
    assert (answer.status, said["code"], said["status"]) == (400, "QueryValidationError", "error")
