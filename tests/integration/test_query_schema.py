"""What a secret's login can read, and whether it works: asked of a real server."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.query_executor.drivers.catalogue import columns, rights, smallest
from services.query_executor.guard import Policy, prove
from services.query_executor.statement import Draft, Engine
from tests.integration.query_harness import PASSWORD, Shop

SQL = (Engine.POSTGRES, Engine.REDSHIFT, Engine.MYSQL, Engine.CLICKHOUSE)


async def checked(shop: Shop, key: str = "db") -> dict[str, Any]:
    reply = await shop.call("POST", f"secrets/{key}/test/")
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.body["data"]
    return found


async def on_server(shop: Shop, *statements: str) -> None:
    admin = await asyncpg.connect(shop.stack.customer.admin_url)
    try:
        for statement in statements:
            await admin.execute(statement)
    finally:
        await admin.close()


@pytest.mark.parametrize("type_slug", ["analytics-postgres", "analytics-redshift"])
async def test_tables_and_columns_that_the_role_can_read(shop: Shop, type_slug: str) -> None:
    role = shop.stack.customer.username
    await shop.secret("here", type_slug, shop.stack.customer.value())
    await on_server(
        shop,
        "CREATE SCHEMA IF NOT EXISTS hidden",
        "CREATE TABLE IF NOT EXISTS hidden.things (id int)",
        f"GRANT SELECT ON hidden.things TO {role}",
        "CREATE TABLE IF NOT EXISTS unread (id int)",
        'CREATE OR REPLACE VIEW "A view" AS SELECT 1.5::numeric(4, 2) AS "a column"',
        f'GRANT SELECT ON "A view" TO {role}',
    )
    reply = await shop.call("GET", "secrets/here/schema/")
    assert reply.status == 200, reply.body
    tables = {(each["schema"], each["name"]): each["columns"] for each in reply.body["data"]}
    assert tables.keys() == {("public", "A view"), ("public", "sales"), ("public", "tokens")}
    assert (reply.body["total"], reply.body["truncated"]) == (3, False)
    assert tables["public", "A view"] == [{"name": "a column", "type": "numeric(4,2)"}]
    assert [column["name"] for column in tables["public", "sales"]] == ["id", "region", "amount", "date", "sold_at"]


async def test_a_column_that_may_not_be_read_does_not_show(shop: Shop) -> None:
    role = f"some_{uuid4().hex[:8]}"
    await on_server(
        shop,
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT SELECT (id) ON tokens TO {role}",
    )
    try:
        await shop.secret("some", "analytics-postgres", shop.stack.customer.value(username=role))
        found = (await shop.call("GET", "secrets/some/schema/")).body["data"]
        assert [(each["name"], each["columns"]) for each in found] == [("tokens", [{"name": "id", "type": "integer"}])]
    finally:
        await on_server(shop, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_login_that_only_reads(shop: Shop) -> None:
    found = await checked(shop)
    assert found["ok"] is True
    assert [(step["step"], step["ok"], step["warning"]) for step in found["steps"]] == [
        ("resolve host", True, False),
        ("connect and read", True, False),
        ("rights", True, False),
    ]


@pytest.mark.parametrize("type_slug", ["analytics-postgres", "analytics-redshift"])
async def test_a_login_that_can_do_more_is_told(shop: Shop, type_slug: str) -> None:
    role = f"more_{uuid4().hex[:8]}"
    await on_server(
        shop, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'", f"GRANT SELECT, INSERT ON tokens TO {role}"
    )
    try:
        await shop.secret("more", type_slug, shop.stack.customer.value(username=role))
        rights_step = (await checked(shop, "more"))["steps"][-1]
        assert (rights_step["ok"], rights_step["warning"]) == (True, True)
        assert rights_step["detail"] == "the login may write"
        assert rights_step["fix"]
        await on_server(shop, f"ALTER ROLE {role} SUPERUSER")
        assert (await checked(shop, "more"))["steps"][-1]["detail"] == "the login is an administrator"
    finally:
        await on_server(shop, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_connection_that_does_not_work_says_where(shop: Shop) -> None:
    value = shop.stack.customer.value
    await shop.secret("wrong", "analytics-postgres", value(password="canary-wrong-5522"))
    await shop.secret("nowhere", "analytics-postgres", value(host="no-such-host.invalid"))
    wrong, nowhere = await checked(shop, "wrong"), await checked(shop, "nowhere")
    assert (wrong["ok"], [step["ok"] for step in wrong["steps"]]) == (False, [True, False])
    assert "canary-wrong-5522" not in str(wrong)
    assert (nowhere["ok"], [step["step"] for step in nowhere["steps"]]) == (False, ["resolve host"])
    refused = await shop.call("GET", "secrets/wrong/schema/")
    assert (refused.status, refused.body["code"]) == (502, "ConnectorError")


async def test_what_is_no_connection(shop: Shop) -> None:
    await shop.call("POST", "secrets/types/", {"slug": "plain"})
    await shop.secret("key", "plain", "some value")
    for method, rest in (("GET", "schema/"), ("POST", "test/")):
        plain = await shop.call(method, f"secrets/key/{rest}")
        assert (plain.status, plain.body["message"]) == (400, "Unsupported analytics datasource")
        assert (await shop.call(method, f"secrets/nobody/{rest}")).status == 404


@pytest.mark.parametrize("engine", SQL)
def test_the_statements_are_single_selects(engine: Engine) -> None:
    """They are ours and not what the guard lets others ask; that they are one SELECT each is all that it may say."""
    for bound in (columns(engine), smallest(engine), rights(engine)):
        assert bound is not None
        text = bound.parts[0]
        assert text.lstrip().startswith("SELECT")
        assert ";" not in text
    assert prove(Draft(engine, smallest(engine).parts[0], ()), Policy()).returns_rows
