"""Queries that are checked without being run or saved, their declared parameters, their versions."""

from typing import Any

import pytest

from tests.integration.query_harness import Shop
from tests.support.processes import eventually, token


async def validated(shop: Shop, text: str, **more: Any) -> Any:
    return await shop.call("POST", "analytics/queries/validate/", {"query_text": text, "secret_key": "db", **more})


TEXT = "SELECT id FROM public.sales WHERE region IN ({{ regions }}) AND date >= '{{ since }}' LIMIT {{ most }}"
DECLARED = [
    {"name": "most", "type": "number", "required": False, "default": 10},
    {"name": "regions", "type": "list"},
    {"name": "unused", "type": "enum", "options": ["a", "b"], "required": False},
]


async def test_what_is_known_of_a_text(shop: Shop) -> None:
    reply = await validated(shop, TEXT, parameters=DECLARED)
    assert (reply.status, reply.body["message"]) == (200, "The query is valid")
    data = reply.body["data"]
    assert data["tables"] == ["public.sales"]
    assert data["returns_rows"] is True
    assert [(each["name"], each["type"], each["required"], each["declared"]) for each in data["parameters"]] == [
        ("most", "number", False, True),
        ("regions", "list", True, True),
        ("unused", "enum", False, True),
        ("since", "text", True, False),
    ]
    inferred = (await validated(shop, TEXT)).body["data"]["parameters"]
    assert [(each["name"], each["declared"]) for each in inferred] == [
        ("regions", False), ("since", False), ("most", False),
    ]  # fmt: skip
    assert (await shop.call("GET", "analytics/queries/")).body["total"] == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"query_text": "DELETE FROM sales"}, "query_text"),
        ({"query_text": "SELECT {{ x"}, "query_text"),
        ({"secret_key": None}, "secret_key"),
        ({"secret_key": "nobody"}, "secret_key"),
        ({"parameters": [{"name": "x", "type": "colour"}]}, "parameters.0"),
        ({"params": {"regions": ["a"], "since": "2024-01-01", "most": "many"}}, "params.most"),
        ({"params": {"since": "2024-01-01"}}, "params.regions"),
        ({"params": {"secret.x": 1, "regions": ["a"]}}, "params.secret.x"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_each_error_names_its_field(shop: Shop, change: dict[str, Any], field: str) -> None:
    body = {"query_text": TEXT, "secret_key": "db", "parameters": DECLARED, **change}
    reply = await shop.call("POST", "analytics/queries/validate/", body)
    assert (reply.status, reply.body["status"]) == (400, "error")
    assert field in reply.body["errors"], reply.body


async def test_a_saved_query(shop: Shop) -> None:
    made = await shop.query(TEXT, "Some", parameters=DECLARED)
    assert made.status == 201, made.body
    path = "analytics/queries/some/validate/"
    assert (await shop.call("POST", path)).body["data"]["tables"] == ["public.sales"]
    good = {"params": {"regions": ["Europe"], "since": "2024-01-01"}}
    assert (await shop.call("POST", path, good)).status == 200
    bad = await shop.call("POST", path, {"params": {"regions": "Europe"}})
    assert list(bad.body["errors"]) == ["params.regions"]
    assert (await shop.call("POST", "analytics/queries/none/validate/")).status == 404


async def test_declared_parameters_count_when_it_runs(shop: Shop) -> None:
    made = await shop.query(TEXT, "Some", parameters=DECLARED)
    assert made.body["data"]["parameters"] == DECLARED
    found = await shop.execute("some", regions=["Europe"], since="2024-01-01")
    assert found.body["total"] == 2
    for params, field in (
        ({"regions": ["Europe"], "since": "2024-01-01", "most": "x"}, "params.most"),
        ({"regions": ["Europe"], "since": "2024-01-01", "unused": "c"}, "params.unused"),
        ({"since": "2024-01-01"}, "params.regions"),
    ):
        refused = await shop.execute("some", **params)
        assert (refused.status, list(refused.body["errors"])) == (400, [field])


async def test_versions_say_who_wrote_what(shop: Shop) -> None:
    await shop.query("SELECT 1 AS n", "Some")
    path, bearer = "analytics/queries/some/", token(shop.tenant, "staff", user="vera")
    await shop.call("PUT", path, {"name": "Another name"}, bearer=bearer)
    changed = await shop.call("PUT", path, {"query_text": "SELECT 2 AS n"}, bearer=bearer)
    assert changed.body["data"]["version"] == 2
    found = (await shop.call("GET", path + "versions/")).body
    assert found["total"] == 2
    assert [(each["version"], each["query_text"], each["created_by"]) for each in found["data"]] == [
        (2, "SELECT 2 AS n", "vera"),
        (1, "SELECT 1 AS n", "tester"),
    ]
    assert found["data"][0]["created_at"] == changed.body["data"]["updated_at"]
    assert (await shop.call("GET", "analytics/queries/none/versions/")).status == 404


async def test_an_erased_author_is_in_no_version(shop: Shop) -> None:
    bearer, path = token(shop.tenant, "staff", user="erwin"), "analytics/queries/some/"
    await shop.query("SELECT 1 AS n", "Some")
    await shop.call("PUT", path, {"query_text": "SELECT 2 AS n"}, bearer=bearer)
    erased = await shop.stack.call("POST", "/users/erase", shop.tenant, {"username": "erwin"})
    assert erased.status == 202, erased.body

    async def authors() -> list[str]:
        return [each["created_by"] for each in (await shop.call("GET", path + "versions/")).body["data"]]

    async def rewritten() -> bool:
        return (await authors())[0].startswith("erased:")

    await eventually(rewritten)
    await shop.call("PUT", path, {"query_text": "SELECT 3 AS n"}, bearer=bearer)
    assert "erwin" not in await authors()
