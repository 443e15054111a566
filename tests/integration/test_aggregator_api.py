"""The HTTP face of usage analytics: spaces, products, listings, errors, tenants apart."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from tests.integration.aggregator_app import RunningApp, running_app
from tests.support.ids import NOBODYS
from tests.support.platform import Platform


@pytest.fixture(scope="module")
async def app(platform: Platform) -> AsyncIterator[RunningApp]:
    async with running_app(platform) as running:
        yield running


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


async def test_a_space_lives_and_dies(app: RunningApp, tenant: UUID) -> None:
    made = await app.call(tenant, "POST", "/spaces", {"name": "Größe & Shop", "description": "All of it"})
    assert made.status == 201
    assert made.body["slug"] == "groe-shop"
    assert made.body["created_at"] == "2026-03-18T12:00:00Z"
    assert await app.get(tenant, "/spaces/groe-shop") == made.body
    renamed = await app.call(tenant, "PATCH", "/spaces/groe-shop", {"name": "Shop", "description": ""})
    assert (renamed.body["slug"], renamed.body["name"], renamed.body["description"]) == ("groe-shop", "Shop", None)
    assert (await app.call(tenant, "PATCH", "/spaces/groe-shop", {"slug": "shop"})).body["slug"] == "shop"
    assert (await app.call(tenant, "DELETE", "/spaces/shop")).status == 204
    assert (await app.call(tenant, "GET", "/spaces/shop")).status == 404


async def test_a_taken_slug_is_a_conflict(app: RunningApp, tenant: UUID) -> None:
    await app.post(tenant, "/spaces", {"name": "Shop"})
    again = await app.call(tenant, "POST", "/spaces", {"name": "shop"})
    assert (again.status, again.body["code"]) == (409, "conflict")
    assert again.body["detail"].startswith("slug:")
    await app.post(uuid4(), "/spaces", {"name": "Shop"})  # another tenant's slug is no conflict
    await app.post(tenant, "/spaces/shop/products", {"name": "Orders"})
    assert (await app.call(tenant, "POST", "/spaces/shop/products", {"name": "Orders"})).status == 409
    await app.post(tenant, "/spaces", {"name": "Other"})
    assert (await app.call(tenant, "PATCH", "/spaces/other", {"slug": "shop"})).status == 409


async def test_the_same_key_makes_one_thing(app: RunningApp, tenant: UUID) -> None:
    first = await app.post(tenant, "/spaces", {"name": "Shop"}, key="k1")
    assert await app.post(tenant, "/spaces", {"name": "Shop"}, key="k1") == first
    product = {"name": "Orders", "tables": [{"name": "public.orders"}]}
    made = await app.post(tenant, "/spaces/shop/products", product, key="k1")
    assert await app.post(tenant, "/spaces/shop/products", product, key="k1") == made
    assert made["id"] != first["id"]
    assert len((await app.get(tenant, "/spaces/shop/products"))["items"]) == 1


async def test_a_product_lives_and_dies(app: RunningApp, tenant: UUID) -> None:
    await app.post(tenant, "/spaces", {"name": "Shop"})
    connector = str(uuid4())
    tables = [{"name": 'shop."Order Items"', "connector_id": connector}, {"name": "orders", "connector_id": None}]
    made = await app.post(tenant, "/spaces/shop/products", {"name": "Orders", "tables": tables})
    path = f"/spaces/shop/products/{made['id']}"
    assert made["tables"] == tables
    assert await app.get(tenant, path) == made
    changed = await app.call(tenant, "PATCH", path, {"name": "All orders", "tables": [{"name": "a.b.c"}]})
    assert changed.body["tables"] == [{"name": "a.b.c", "connector_id": None}]
    assert (changed.body["name"], changed.body["slug"]) == ("All orders", "orders")
    usage = await app.get(tenant, f"{path}/usage")
    assert usage["product_name"] == "All orders"
    assert (usage["query_count_30d"], usage["last_queried_at"]) == (0, None)
    assert [(day["query_count"], day["unique_users"]) for day in usage["daily"]] == [(0, 0)] * 31
    assert (await app.call(tenant, "DELETE", path)).status == 204
    assert (await app.call(tenant, "GET", path)).status == 404


async def test_other_tenants_things_are_not_found(app: RunningApp, tenant: UUID) -> None:
    await app.post(tenant, "/spaces", {"name": "Shop"})
    product = await app.post(tenant, "/spaces/shop/products", {"name": "Orders", "tables": [{"name": "orders"}]})
    stranger, path = uuid4(), f"/spaces/shop/products/{product['id']}"
    await app.post(stranger, "/spaces", {"name": "Shop"})
    asked = [
        ("GET", path, None),
        ("GET", f"{path}/usage", None),
        ("PATCH", path, {"name": "Mine"}),
        ("DELETE", path, None),
        ("GET", "/spaces/unknown", None),
        ("POST", "/spaces/unknown/usage/aggregate", None),
        ("GET", "/spaces/unknown/usage/unused", None),
        ("GET", "/spaces/unknown/usage", None),
        ("GET", "/spaces/unknown/usage/popular-queries", None),
        ("GET", "/spaces/unknown/usage/unmatched", None),
        ("POST", "/spaces/unknown/products", {"name": "x"}),
    ]
    answers = [await app.call(stranger, method, where, body) for method, where, body in asked]
    assert [answer.status for answer in answers] == [404] * len(asked)
    assert all(answer.body["code"] == "not_found" and "trace_id" in answer.body for answer in answers)
    assert (await app.get(tenant, path))["name"] == "Orders"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/spaces/shop/products/not-a-uuid", None),
        ("GET", "/connectors/not-a-uuid/queries", None),
        ("GET", "/spaces/shop/usage/unused?days=0", None),
        ("GET", "/spaces/shop/usage/unused?days=3651", None),
        ("GET", "/spaces/shop/usage?limit=501", None),
        ("GET", "/spaces/shop/usage?limit=0", None),
        ("GET", "/spaces/shop/usage?cursor=garbage", None),
        ("GET", "/spaces/shop/usage?cursor=WzFd", None),
        ("GET", "/spaces/shop/usage/popular-queries?cursor=WzEsMiwzXQ", None),
        ("GET", f"/connectors/{NOBODYS}/queries?since=yesterday", None),
        ("GET", f"/connectors/{NOBODYS}/queries?resource_type=dance", None),
        ("POST", "/spaces", {"name": ""}),
        ("POST", "/spaces", {"name": "***"}),
        ("POST", "/spaces", {"name": "Shop", "slug": "Not A Slug"}),
        ("POST", "/spaces", {"name": "Shop", "surprise": 1}),
        ("POST", "/spaces", ["no", "object"]),
        ("POST", "/spaces/shop/products", {"name": "x", "tables": [{"name": "a.b.c.d"}]}),
        ("POST", "/spaces/shop/products", {"name": "x", "tables": [{"name": '"open'}]}),
        ("POST", "/spaces/shop/products", {"name": "x", "tables": [{"name": "a", "connector_id": "b"}]}),
    ],
)
async def test_malformed_requests_are_unprocessable(
    app: RunningApp, tenant: UUID, method: str, path: str, body: object
) -> None:
    await app.post(tenant, "/spaces", {"name": "Shop", "slug": "shop"})
    answer = await app.call(tenant, method, path, body)
    assert answer.status == 422, answer
    assert set(answer.body) >= {"detail", "code", "trace_id"}


async def test_a_request_without_a_token_is_unauthorized(app: RunningApp) -> None:
    async with app.session.get("/spaces") as response:
        assert response.status == 401
        assert (await response.json())["code"] == "unauthorized"


async def test_lists_are_paged_to_the_end(app: RunningApp, tenant: UUID) -> None:
    for number in range(5):
        await app.post(tenant, "/spaces", {"name": f"Space {number}"})
    seen: list[str] = []
    query: dict[str, object] = {"limit": 2}
    while True:
        page = await app.get(tenant, "/spaces", **query)
        seen += [space["slug"] for space in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [f"space-{number}" for number in range(5)]


async def test_aggregate_answers_how_many(app: RunningApp, tenant: UUID) -> None:
    await app.post(tenant, "/spaces", {"name": "Shop"})
    for number in range(3):
        await app.post(tenant, "/spaces/shop/products", {"name": f"p{number}", "tables": [{"name": f"t{number}"}]})
    assert await app.post(tenant, "/spaces/shop/usage/aggregate") == {"products_updated": 3}
    unused = await app.get(tenant, "/spaces/shop/usage/unused")
    assert [sorted(each) for each in unused] == [
        ["id", "last_queried_at", "name", "popularity_score", "slug", "tables"]
    ] * 3


async def test_health_and_description(app: RunningApp) -> None:
    async with app.session.get("/readyz") as response:
        assert response.status == 200
    async with app.session.get("/metrics") as response:
        assert "tidemark_usage_products_refreshed_total" in await response.text()
    async with app.session.get("/openapi.json") as response:
        described = await response.json()
    assert "/spaces/{slug}/usage/aggregate" in described["paths"]
    assert "/connectors/{connector_id}/queries" in described["paths"]
