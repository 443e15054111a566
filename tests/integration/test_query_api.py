"""The API of saved queries through the gateway, on a real Postgres, word for word where the specification has words."""

import asyncio
from typing import Any

import pytest

from tests.integration.query_harness import PASSWORD, Shop, Stack
from tests.support.processes import eventually

SEEDED = [f"analytics-{name}" for name in ("clickhouse", "elasticsearch", "mysql", "postgres", "redshift")]
SALES = "SELECT region, SUM(amount) as total FROM sales WHERE date = '{{ date }}' GROUP BY region ORDER BY 2 DESC"


def error_of(body: dict[str, Any]) -> tuple[str, str]:
    """Code and message; the shape is the one of all errors."""
    assert body.keys() == {"status", "code", "message", "errors", "details"}
    assert body["status"] == "error"
    return body["code"], body["message"]


async def test_the_documented_example(shop: Shop) -> None:
    made = await shop.query(SALES, "Daily Sales Report", description="Aggregates daily sales by region", tags=["sales"])
    assert made.status == 201
    assert made.body["data"]["slug"] == "daily-sales-report"
    found = await shop.execute("daily-sales-report", date="2024-01-15", region="North America")
    assert found.status == 200, found.body
    assert found.body.pop("execution_key").startswith("exec_")
    assert found.body == {
        "status": "success",
        "message": "Query executed successfully",
        "data": [{"region": "North America", "total": 150000.0}, {"region": "Europe", "total": 120000.5}],
        "total": 2,
        "truncated": False,
    }


async def test_a_query_is_listed_read_changed_and_deleted(shop: Shop) -> None:
    made = (await shop.query(SALES, "Daily Sales Report", tags=["sales", "daily", "sales"])).body["data"]
    assert made["tags"] == ["sales", "daily"]
    assert (made["connection_type"], made["secret_key"], made["version"]) == ("external", "db", 1)
    assert made["created_at"].endswith("Z")
    listed = await shop.call("GET", "analytics/queries/")
    assert listed.body == {
        "status": "success",
        "message": "Data retrieved successfully",
        "data": [made],
        "total": 1,
    }
    assert (await shop.call("GET", "analytics/queries/?tag=other")).body["total"] == 0
    change = {"name": "Updated Query Name", "query_text": "SELECT * FROM sales WHERE id = '{{ id }}'"}
    changed = await shop.call("PUT", "analytics/queries/daily-sales-report/", change)
    assert changed.status == 200
    assert changed.body["data"] == made | change | {"version": 2, "updated_at": changed.body["data"]["updated_at"]}
    assert (await shop.call("GET", "analytics/queries/daily-sales-report/")).body["data"] == changed.body["data"]
    deleted = await shop.call("DELETE", "analytics/queries/daily-sales-report/")
    assert (deleted.status, deleted.body) == (200, {"status": "success", "message": "Query deleted successfully"})
    gone = await shop.call("GET", "analytics/queries/daily-sales-report/")
    assert (gone.status, *error_of(gone.body)) == (404, "NotFound", "Query not found")


async def test_slugs_are_made_from_names_and_unique(shop: Shop) -> None:
    slugs = [(await shop.query("SELECT 1", "Sales: März!")).body["data"]["slug"] for _ in range(3)]
    assert slugs == ["sales-marz", "sales-marz-2", "sales-marz-3"]
    assert (await shop.query("SELECT 1", "日本")).body["data"]["slug"] == "query"
    assert (await shop.query("SELECT 1", "Validate")).body["data"]["slug"] == "validate-2"
    same = [(await shop.stack.call("POST", "/api/apps/", shop.tenant, {"name": "Shop"})).body["data"] for _ in range(2)]
    assert [app["slug"] for app in same] == ["shop-2", "shop-3"]


async def test_slugs_of_queries_that_are_made_at_once_are_unique(shop: Shop) -> None:
    made = await asyncio.gather(*(shop.query("SELECT 1", "Same name") for _ in range(12)))
    assert {reply.status for reply in made} == {201}
    assert len({reply.body["data"]["slug"] for reply in made}) == 12


async def test_slashes_work_both_ways_and_lose_no_body(shop: Shop) -> None:
    body = {"name": "No slash", "query_text": "SELECT {{ n }} AS n", "secret_key": "db"}
    made = await shop.call("POST", "analytics/queries", body)
    assert made.status == 201
    for path in ("analytics/queries/no-slash/execute", "analytics/queries/no-slash/execute/"):
        found = await shop.call("POST", path, {"params": {"n": 5}})
        assert (found.status, found.body["data"]) == (200, [{"n": 5}])
    for path in ("", "/"):
        assert (await shop.stack.call("GET", f"/api/apps{path}", shop.tenant)).body["total"] == 1


async def test_an_app_is_changed_and_deleted_with_what_it_holds(shop: Shop) -> None:
    await shop.query("SELECT 1")
    changed = await shop.stack.call("PUT", shop.root, shop.tenant, {"description": "All of it"})
    assert (changed.body["data"]["name"], changed.body["data"]["description"]) == ("Shop", "All of it")
    renamed = await shop.stack.call("PATCH", shop.root, shop.tenant, {"name": "Store"})
    assert (renamed.body["data"]["slug"], renamed.body["data"]["description"]) == ("shop", "All of it")
    assert (await shop.stack.call("DELETE", shop.root, shop.tenant)).status == 200
    assert (await shop.stack.call("GET", shop.root, shop.tenant)).status == 404
    for table in ("secret", "analytics_query", "analytics_query_version"):
        assert not await shop.stack.sql(f"SELECT FROM query_executor.{table} WHERE tenant_id = $1", shop.tenant)


async def test_each_tenant_has_the_types_of_secrets(shop: Shop) -> None:
    found = await shop.call("GET", "secrets/types/")
    assert [each["slug"] for each in found.body["data"]] == SEEDED
    assert found.body["total"] == 5
    assert found.body["data"][3]["driver"] == "postgres"
    assert "password" in found.body["data"][3]["value_schema"]["required"]


async def test_types_come_with_the_tenant_alone(stack: Stack) -> None:
    tenant = await stack.new_tenant()

    async def seeded() -> bool:
        rows = await stack.sql("SELECT slug FROM query_executor.secret_type WHERE tenant_id = $1", tenant)
        return sorted(row["slug"] for row in rows) == SEEDED

    await eventually(seeded)


async def test_the_words_of_the_setup_errors(shop: Shop) -> None:
    await shop.call("POST", "secrets/types/", {"slug": "postgres"})
    await shop.call("POST", "secrets/types/", {"slug": "analytics-oracle"})
    await shop.secret("wrong", "postgres", {"host": "h"})
    await shop.secret("oracle", "analytics-oracle", {"host": "h"})
    said = {key: (await shop.query("SELECT 1", secret_key=key)) for key in ("missing", "wrong", "oracle")}
    assert {reply.status for reply in said.values()} == {400}
    assert {key: error_of(reply.body) for key, reply in said.items()} == {
        "missing": ("SecretResolutionError", "Secret not found"),
        "wrong": ("SecretResolutionError", "Unsupported analytics datasource"),
        "oracle": ("SecretResolutionError", "Driver not supported"),
    }
    assert said["missing"].body["errors"] == {"secret_key": ["Secret not found"]}
    untyped = await shop.secret("x", "analytics-cobol", {"host": "h"})
    assert (untyped.status, *error_of(untyped.body)) == (400, "SecretResolutionError", "Secret type not found")


async def test_setup_errors_of_a_query_that_was_right_once(shop: Shop) -> None:
    slug = (await shop.query("SELECT 1")).body["data"]["slug"]

    async def told() -> bool:
        """The service has heard of the tenant: it will not put the types there once more."""
        known = "SELECT FROM query_executor.tenant WHERE tenant_id = $1"
        return bool(await shop.stack.sql(known, shop.tenant))

    await eventually(told)
    type_of = "DELETE FROM query_executor.secret_type WHERE tenant_id = $1 AND slug = 'analytics-postgres'"
    await shop.stack.sql(type_of, shop.tenant)
    assert error_of((await shop.execute(slug)).body)[1] == "Secret type not found"
    assert (await shop.call("DELETE", "secrets/db/")).status == 200
    gone = await shop.execute(slug)
    assert (gone.status, *error_of(gone.body)) == (400, "SecretResolutionError", "Secret not found")


async def test_an_internal_query_needs_a_tenant(stack: Stack) -> None:
    for path in ("/api/apps/shop/analytics/queries/x/execute/", "/api/apps/shop/analytics/queries/x/execute"):
        said = await stack.call("POST", path, None, {"params": {}}, "superuser")
        assert (said.status, *error_of(said.body)) == (400, "QueryValidationError", "Tenant schema required")
    body = {"name": "x", "connection_type": "internal", "query_text": "SELECT 1"}
    said = await stack.call("POST", "/api/apps/shop/analytics/queries/", None, body, "superuser")
    assert error_of(said.body)[1] == "Tenant schema required"
    external = await stack.call(
        "POST", "/api/apps/shop/analytics/queries/", None, body | {"connection_type": "external"}
    )
    assert (external.status, external.body["code"]) == (403, "Forbidden")
    assert (await stack.call("GET", "/api/apps/", None)).status == 403


async def test_the_connection_decides_about_the_secret(shop: Shop) -> None:
    no_secret = await shop.query("SELECT 1", secret_key=None)
    assert no_secret.body["errors"].keys() == {"secret_key"}
    both = await shop.query("SELECT 1", connection_type="internal")
    assert (both.status, both.body["errors"].keys()) == (400, {"secret_key"})
    slug = (await shop.query("SELECT 1")).body["data"]["slug"]
    half = await shop.call("PUT", f"analytics/queries/{slug}/", {"connection_type": "internal"})
    assert half.body["errors"].keys() == {"secret_key"}
    whole = await shop.call("PUT", f"analytics/queries/{slug}/", {"connection_type": "internal", "secret_key": None})
    assert (whole.status, whole.body["data"]["connection_type"], whole.body["data"]["secret_key"]) == (
        200,
        "internal",
        None,
    )
    other = await shop.query("SELECT 1", connection_type="elsewhere")
    assert other.body["errors"].keys() == {"connection_type"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": None}, "name"),
        ({"name": " "}, "name"),
        ({"query_text": ""}, "query_text"),
        ({"tags": ["Not A Slug"]}, "tags.0"),
        ({"speed": 1}, "speed"),
        ({"query_text": "DROP TABLE sales"}, "query_text"),
        ({"query_text": "SELECT {{ x"}, "query_text"),
        ({"parameters": [{"name": "x", "type": "colour"}]}, "parameters.0"),
    ],
)
async def test_a_wrong_field_is_named(shop: Shop, changes: dict[str, Any], field: str) -> None:
    body = {"name": "x", "query_text": "SELECT 1", "secret_key": "db"} | changes
    said = await shop.call("POST", "analytics/queries/", body)
    assert (said.status, said.body["code"]) == (400, "QueryValidationError")
    assert field in said.body["errors"]
    assert error_of(said.body)


async def test_parameters_of_a_call(shop: Shop) -> None:
    slug = (await shop.query("SELECT id FROM sales WHERE region = '{{ region }}' AND id < {{ id }}")).body["data"][
        "slug"
    ]
    missing = await shop.execute(slug, region="Europe")
    assert (missing.status, missing.body["code"]) == (400, "QueryValidationError")
    assert missing.body["errors"].keys() == {"params.id"}
    attack = await shop.execute(slug, region="' OR 1=1 --", id=5)
    assert (attack.status, attack.body["data"]) == (200, [])
    ignored = await shop.execute(slug, region="Europe", id=4, unused={"deep": [1]})
    assert ignored.body["data"] == [{"id": 3}]
    secret = await shop.execute(slug, region="Europe", id=4, **{"secret.db": "x"})
    assert secret.body["errors"].keys() == {"params.secret.db"}
    no_body = await shop.stack.call("POST", f"{shop.root}/analytics/queries/{slug}/execute/", shop.tenant)
    assert no_body.body["errors"].keys() == {"params.region", "params.id"}
    stray = await shop.call("POST", f"analytics/queries/{slug}/execute/", {"parameters": {}})
    assert stray.body["errors"].keys() == {"parameters"}


async def test_declared_parameters_are_checked(shop: Shop) -> None:
    declared = [{"name": "id", "type": "number"}, {"name": "region", "type": "enum", "options": ["Europe"]}]
    text = "SELECT id FROM sales WHERE id = {{ id }} AND region = '{{ region }}'"
    slug = (await shop.query(text, parameters=declared)).body["data"]["slug"]
    assert (await shop.execute(slug, id=3, region="Europe")).body["data"] == [{"id": 3}]
    wrong = await shop.execute(slug, id="three", region="Asia")
    assert wrong.body["errors"].keys() == {"params.id", "params.region"}


async def test_errors_of_the_server(shop: Shop) -> None:
    said = await shop.run("SELECT * FROM nowhere")
    assert (said.status, said.body["code"]) == (422, "QueryExecutionError")
    assert 'relation "nowhere" does not exist' in said.body["message"]
    assert said.body["details"]["sqlstate"] == "42P01"
    cast = await shop.run("SELECT '{{ x }}'::int AS x", x="canary-value")
    assert (cast.status, cast.body["code"], cast.body["details"]["sqlstate"]) == (422, "QueryExecutionError", "22P02")
    assert "canary-value" not in str(cast.body)
    assert (await shop.run("SELECT 1 / {{ n }} AS x", n=0)).body["message"] == "Division by zero."


async def test_a_server_that_does_not_let_us_in(shop: Shop) -> None:
    value = shop.stack.customer.value
    for key, changed, cause in (
        ("bad-password", {"password": "not-the-password"}, "wrong_password"),
        ("bad-database", {"database": "nowhere"}, "unknown_database"),
        ("bad-port", {"port": 1}, "refused"),
    ):
        assert (await shop.secret(key, "analytics-postgres", value(**changed))).status == 201
        slug = (await shop.query("SELECT 1", name=key, secret_key=key)).body["data"]["slug"]
        said = await shop.execute(slug)
        assert (said.status, said.body["code"], said.body["details"]["cause"]) == (502, "ConnectorError", cause)
        assert PASSWORD not in str(said.body)


async def test_hosts_that_nobody_may_name(shop: Shop) -> None:
    for host in ("169.254.169.254", "10.0.0.1", "[::1]", "/var/run/postgresql", "a,b", "h/db", "h?x=1", ""):
        value = shop.stack.customer.value(host=host)
        said = await shop.secret("x", "analytics-postgres", value)
        assert (said.status, said.body["errors"].keys()) == (400, {"value.host"}), host


async def test_a_name_without_an_address_is_kept_and_said_when_it_is_used(shop: Shop) -> None:
    value = shop.stack.customer.value(host="db.nowhere.invalid")
    assert (await shop.secret("later", "analytics-postgres", value)).status == 201
    slug = (await shop.query("SELECT 1", secret_key="later")).body["data"]["slug"]
    assert (await shop.execute(slug)).body["details"] == {"cause": "host_not_found"}


async def test_another_tenant_sees_nothing(shop: Shop) -> None:
    await shop.query(SALES, "Daily Sales Report")
    other = await shop.stack.new_tenant()
    for method, path in (
        ("GET", ""),
        ("GET", "/secrets/"),
        ("GET", "/secrets/types/"),
        ("GET", "/analytics/queries/daily-sales-report/"),
        ("POST", "/analytics/queries/daily-sales-report/execute/"),
        ("DELETE", "/analytics/queries/daily-sales-report/"),
        ("DELETE", "/secrets/db/"),
    ):
        said = await shop.stack.call(method, shop.root + path, other)
        assert (said.status, *error_of(said.body)) == (404, "NotFound", "App not found")


async def test_paths_and_methods_that_do_not_exist(shop: Shop) -> None:
    assert (await shop.call("GET", "analytics/")).status == 404
    assert (await shop.call("PATCH", "analytics/queries/")).status == 405
    assert (await shop.stack.call("GET", shop.root, shop.tenant, bearer="nonsense")).status == 401


async def test_one_key_one_effect(shop: Shop) -> None:
    body = {"name": "Once", "query_text": "SELECT 1 AS one", "secret_key": "db"}
    headers = {"Idempotency-Key": "once-1"}
    made = [await shop.call("POST", "analytics/queries/", body, headers=headers) for _ in range(2)]
    assert [each.status for each in made] == [201, 201]
    assert made[0].body == made[1].body
    path = "analytics/queries/once/execute/"
    ran = [await shop.call("POST", path, {"params": {}}, headers={"Idempotency-Key": "run-1"}) for _ in range(2)]
    assert ran[0].body == ran[1].body
    assert ran[1].headers["Idempotency-Replayed"] == "true"
    rows = await shop.stack.sql("SELECT FROM query_executor.query_execution WHERE tenant_id = $1", shop.tenant)
    assert len(rows) == 1


async def test_the_version_is_pinned_in_each_execution(shop: Shop) -> None:
    made = (await shop.query("SELECT 1 AS n", "Counted")).body["data"]
    first = await shop.execute("counted")
    await shop.call("PUT", "analytics/queries/counted/", {"name": "Only the name"})
    await shop.call("PUT", "analytics/queries/counted/", {"query_text": "SELECT 2 AS n"})
    await shop.execute("counted")
    await shop.call("PUT", "analytics/queries/counted/", {"query_text": "SELECT 1 / {{ n }} AS n"})
    await shop.execute("counted", n=0)
    path = "analytics/queries/counted/executions/"
    whole = (await shop.call("GET", path)).body
    assert (whole["total"], whole["next_cursor"], whole["message"]) == (3, None, "Data retrieved successfully")
    facts = ("version", "state", "error_code", "rows", "truncated", "executed_by", "secret_version")
    assert [tuple(row[name] for name in facts) for row in whole["data"]] == [
        (3, "failed", "QueryExecutionError", 0, False, "tester", 1),
        (2, "completed", None, 1, False, "tester", 1),
        (1, "completed", None, 1, False, "tester", 1),
    ]
    assert whole["data"][2]["execution_key"] == first.body["execution_key"]
    assert all(row["milliseconds"] > 0 for row in whole["data"])
    page = (await shop.call("GET", f"{path}?limit=2")).body
    rest = (await shop.call("GET", f"{path}?limit=2&cursor={page['next_cursor']}")).body
    assert page["data"] + rest["data"] == whole["data"]
    assert rest["next_cursor"] is None
    assert error_of((await shop.call("GET", f"{path}?limit=0")).body)[0] == "QueryValidationError"
    assert made["version"] == 1
