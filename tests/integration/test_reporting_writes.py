"""Components and environments through the gateway."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.reporting_app import Company, Stack, new_company, reporting_stack
from tests.support.platform import Platform


@pytest.fixture(scope="module")
async def stack(platform: Platform) -> AsyncIterator[Stack]:
    async with reporting_stack(platform) as running:
        yield running


@pytest.fixture
async def company(stack: Stack) -> Company:
    return await new_company(stack)


async def test_a_component_lives(company: Company) -> None:
    body = {
        "name": "User Service",
        "kind": "API",
        "lifecycle": "Experimental",
        "owner": "team-b",
        "description": "of users",
        "refs": ["users", "org/users"],
        "metadata": {"tier": 1},
    }
    made = (await company.call("POST", "components", body)).ok()
    assert {**body, "kind": "api", "lifecycle": "experimental"}.items() <= made.items()
    assert made["version"] == 1
    path = f"components/{made['id']}"
    assert (await company.call("GET", path)).ok() == made
    changed = (await company.call("PATCH", path, {"owner": "", "lifecycle": "production", "version": 1})).ok()
    assert (changed["owner"], changed["lifecycle"], changed["version"]) == (None, "production", 2)
    assert changed["refs"] == made["refs"]
    assert (await company.call("PATCH", path, {"owner": None})).ok() == changed, "nothing changes"
    stale = await company.call("PATCH", path, {"name": "x", "version": 1})
    assert (stale.status, stale.body["version"]) == (409, 2)
    assert (await company.call("DELETE", path)).status == 204
    for method, more in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        assert (await company.call(method, path, more)).status == 404
    assert (await company.call("POST", "components", body)).status == 201, "its names are free again"


async def test_names_belong_to_one(company: Company) -> None:
    taken = await company.call("POST", "components", {"name": " SHOP "})
    assert (taken.status, taken.fields) == (409, {"name"})
    other = (await company.call("POST", "components", {"name": "other", "refs": ["alias"]})).ok()
    for body, field in (
        ({"refs": ["Shop"]}, "refs"),
        ({"name": "shop"}, "name"),
        ({"refs": [company.component]}, "refs"),
    ):
        refused = await company.call("PATCH", f"components/{other['id']}", body)
        assert (refused.status, refused.fields) == (409, {field}), body
    assert (await company.call("PATCH", f"components/{other['id']}", {"refs": []})).ok()["version"] == 2
    assert (await company.call("POST", "components", {"name": "alias"})).status == 201
    assert (await company.call("POST", "environments", {"name": "shop"})).status == 201, "of environments"


async def test_the_same_request_makes_one(company: Company) -> None:
    body, key = {"name": "once"}, {"Idempotency-Key": uuid4().hex}
    made = [(await company.call("POST", "components", body, headers=key)).ok() for _ in range(2)]
    assert made[0] == made[1]
    found = (await company.call("GET", "components?name=once")).ok()
    assert [each["id"] for each in found["items"]] == [made[0]["id"]]


async def test_lists_are_filtered_and_paged(company: Company) -> None:
    for number in range(5):
        more = {"kind": "library", "owner": f"team-{number % 2}", "lifecycle": "planned" if number else "deprecated"}
        (await company.call("POST", "components", {"name": f"lib-{number}", **more})).ok()
    (await company.call("POST", "components", {"name": "nobodys"})).ok()

    async def names(query: str) -> list[str]:
        return [each["name"] for each in (await company.call("GET", f"components?{query}")).ok()["items"]]

    assert await names("kind=library") == [f"lib-{number}" for number in range(5)]
    assert await names("owner=team-1&kind=library") == ["lib-1", "lib-3"]
    assert await names("lifecycle=deprecated") == ["lib-0"]
    assert await names("name=LIB-3") == ["lib-3"]
    assert await names("owner=") == ["nobodys"]
    assert await names("kind=library&owner=team-a") == []
    first = (await company.call("GET", "components?kind=library&limit=3")).ok()
    second = (await company.call("GET", f"components?kind=library&limit=3&cursor={first['nextCursor']}")).ok()
    assert [each["name"] for each in first["items"] + second["items"]] == [f"lib-{number}" for number in range(5)]
    assert second["nextCursor"] is None
    for query in ("limit=0", "limit=501", "cursor=x", "lifecycle=gone"):
        assert (await company.call("GET", f"components?{query}")).status == 422, query


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x", "lifecycle": "gone"}, "lifecycle"),
        ({"name": "x", "refs": ["a"] * 51}, "refs"),
        ({"name": "x", "metadata": {"a": "\0"}}, "metadata"),
        ({"name": "x", "metadata": {"a": "x" * 70_000}}, "metadata"),
        ({"name": "x", "ownr": "y"}, "ownr"),
    ],
)
async def test_what_is_wrong_is_named(company: Company, body: dict[str, Any], field: str) -> None:
    refused = await company.call("POST", "components", body)
    assert refused.status == 422
    assert field in {each.split(".")[0] for each in refused.fields}, refused


async def test_an_environment_lives(company: Company) -> None:
    made = (await company.call("POST", "environments", {"name": "eu-staging", "refs": ["stg-eu"]})).ok()
    assert (made["tier"], made["refs"]) == ("staging", ["stg-eu"])
    path = f"environments/{made['id']}"
    assert (await company.call("PATCH", path, {"tier": "Testing"})).ok()["tier"] == "testing"
    found = (await company.call("GET", "environments?tier=testing&name=eu")).ok()
    assert [each["id"] for each in found["items"]] == [made["id"]]
    assert (await company.call("PATCH", path, {"name": "LIVE"})).status == 409
    assert (await company.call("PATCH", path, {"tier": None})).status == 422
    assert (await company.call("DELETE", path)).status == 204
    assert (await company.call("GET", path)).status == 404


async def test_another_tenants_ids_are_unknown(stack: Stack, company: Company) -> None:
    other = await new_company(stack)
    deployment = (await company.deploy()).ok()["id"]
    for path in (f"components/{company.component}", f"environments/{company.environment}", f"deployments/{deployment}"):
        assert (await other.call("GET", path)).status == 404
        assert (await other.call("PATCH", path, {})).status == 404
        assert (await company.call("GET", path)).status == 200
    foreign = await other.call(
        "POST",
        "deployments",
        {"componentId": company.component, "environmentId": other.environment, "status": "SUCCEEDED"},
    )
    assert (foreign.status, foreign.fields) == (422, {"componentId"})
    for name in ("components", "environments", "deployments", "audit-events"):
        text = str((await other.call("GET", name)).ok())
        assert company.component not in text
        assert deployment not in text
    for path in ("components/no-uuid", "environments/1", "deployments/x"):
        assert (await company.call("GET", path)).status == 422


# A moment that no calendar has once it is told in UTC.
_BEYOND = "0001-01-01T00:00:00%2B14:00"


@pytest.mark.parametrize(
    "query",
    [
        "components?name=%00", "components?owner=a%00", "components?kind=%00", "environments?name=%00",
        "environments?tier=moon", "audit-events?actorId=%00", "audit-events?action=%00", "audit-events?resourceId=%00",
        f"audit-events?from={_BEYOND}", f"deployments?to={_BEYOND}", "deployments?from=2026-01-01T00:00:00",
        "deployments?cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAxIl0",
    ],
)  # fmt: skip
async def test_filters_that_cannot_be_are_refused(company: Company, query: str) -> None:
    assert (await company.call("GET", query)).status == 422


@pytest.mark.parametrize("path", ["components", "environments", "deployments", "audit-events"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 5000, b'{"name": "\\ud800"}', b"\xff"])
async def test_bodies_that_cannot_be_are_refused(company: Company, path: str, body: bytes) -> None:
    refused = await company.call("POST", path, body, headers={"Content-Type": "application/json"})
    assert 400 <= refused.status < 500, refused
