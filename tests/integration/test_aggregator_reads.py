"""Listings of usage: popular queries, unmatched tables, daily series, raw records; paged, and tenants apart."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.integration.aggregator_app import RunningApp, running_app
from tests.integration.aggregator_harness import NOON, Harness, Source, replicas
from tests.support.platform import Platform


@pytest.fixture(scope="module")
async def aggregator(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (one,):
        yield one


@pytest.fixture(scope="module")
async def app(platform: Platform) -> AsyncIterator[RunningApp]:
    async with running_app(platform) as running:
        yield running


async def _pages(app: RunningApp, tenant: UUID, path: str, limit: int, **query: Any) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await app.get(tenant, path, limit=limit, **query, **cursor)
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


async def test_popular_queries_group_by_text(aggregator: Harness, app: RunningApp) -> None:
    one = Source()
    two = Source(one.tenant)
    await aggregator.space(one.tenant)
    await aggregator.product(one.tenant, "Orders", "orders")
    total, name = "SELECT total FROM orders WHERE id = {}", "select name from orders"
    await aggregator.take(
        one.record("a", 1, sql_text=total.format(1), executed_by="ann", execution_count=4),
        one.record("b", 2, sql_text=total.format("'x'"), executed_by="bob", executed_at=NOON - timedelta(hours=1)),
        two.record("c", 1, sql_text=total.format(3), tables=["sales.orders"], executed_by="ann"),
        two.record("d", 2, sql_text=name, executed_at=NOON - timedelta(days=3)),
        two.record("old", 3, sql_text=name, executed_at=NOON - timedelta(days=30, microseconds=1)),
        two.record("e", 4, sql_text="select 1 from elsewhere", tables=["public.elsewhere"]),
        two.chart("f", 5, sql_text=name),
    )
    found = await _pages(app, one.tenant, "/spaces/shop/usage/popular-queries", 1)
    assert found == [
        {
            "sql_text": "SELECT total FROM orders WHERE id = ?",
            "query_count": 6,
            "user_count": 2,
            "last_queried_at": "2026-03-18T12:00:00Z",
            "tables": ["public.orders", "sales.orders"],
        },
        {
            "sql_text": name,
            "query_count": 1,
            "user_count": 0,
            "last_queried_at": "2026-03-15T12:00:00Z",
            "tables": ["public.orders"],
        },
    ]
    recent = await app.get(one.tenant, "/spaces/shop/usage/popular-queries", days=1)
    assert [each["query_count"] for each in recent["items"]] == [6]


async def test_unmatched_tables_say_why(aggregator: Harness, app: RunningApp) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    await aggregator.product(source.tenant, "Orders", "public.orders", "sales.orders", "public.items", "other")
    await aggregator.take(
        source.record("a", 1, tables=["items"], executed_by="ann", execution_count=3),
        source.record("b", 2, tables=["orders"], executed_by="bob"),
        source.record("c", 3, tables=["public.customers"], executed_at=NOON - timedelta(days=2)),
        source.chart("d", 4, tables=["public.customers"]),
        source.record("e", 5, tables=["public.orders", "x.other"]),
        source.record("f", 6, tables=["public.forgotten"], executed_at=NOON - timedelta(days=31)),
    )
    found = await _pages(app, source.tenant, "/spaces/shop/usage/unmatched", 2)
    shown = [
        (row["table"], row["reason"], row["query_count"], row["execution_count"], row["reference_count"])
        for row in found
    ]
    assert sorted(shown) == [
        ("items", "too_short", 3, 3, 0),
        ("orders", "ambiguous", 1, 1, 0),
        ("public.customers", "no_product", 2, 1, 1),
    ]
    assert [row["query_count"] for row in found] == [3, 2, 1]
    assert found[0]["user_count"] == 1
    assert {row["connector_id"] for row in found} == {str(source.connector)}
    longer = await _pages(app, source.tenant, "/spaces/shop/usage/unmatched", 50, days=40)
    assert {row["table"] for row in longer} - {row["table"] for row in found} == {"public.forgotten"}


async def test_a_product_shows_its_days(aggregator: Harness, app: RunningApp) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders")
    await aggregator.take(
        source.record("a", 1, executed_by="ann", execution_count=2),
        source.record("b", 2, executed_by="ann", executed_at=NOON - timedelta(hours=12)),
        source.record("c", 3, executed_by="bob", executed_at=NOON - timedelta(hours=12, microseconds=1)),
        source.record("d", 4, executed_by="bob", executed_at=NOON - timedelta(days=30)),
        source.record("e", 5, executed_by="bob", executed_at=NOON - timedelta(days=30, microseconds=1)),
    )
    await aggregator.stats(source.tenant)
    usage = await app.get(source.tenant, f"/spaces/shop/products/{product}/usage")
    assert len(usage["daily"]) == 31
    assert [day for day in usage["daily"] if day["query_count"]] == [
        {"date": "2026-02-16", "query_count": 1, "unique_users": 1},
        {"date": "2026-03-17", "query_count": 1, "unique_users": 1},
        {"date": "2026-03-18", "query_count": 3, "unique_users": 1},
    ]
    assert sum(day["query_count"] for day in usage["daily"]) == usage["execution_count_30d"] == 5
    assert (usage["since"], usage["until"]) == ("2026-02-16T12:00:00Z", "2026-03-18T12:00:00Z")


async def test_statistics_are_listed_by_score(aggregator: Harness, app: RunningApp) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    for number in range(5):
        await aggregator.product(source.tenant, f"p{number}", f"t{number}")
    await aggregator.take(*(source.record(f"r{n}", n, tables=[f"s.t{n}"], execution_count=10**n) for n in range(1, 4)))
    await app.post(source.tenant, "/spaces/shop/usage/aggregate")
    found = await _pages(app, source.tenant, "/spaces/shop/usage", 2)
    assert [row["product_name"] for row in found[:3]] == ["p3", "p2", "p1"]
    assert {row["product_name"] for row in found[3:]} == {"p0", "p4"}
    assert set(found[0]) == {
        "product_id",
        "space_id",
        "product_name",
        "product_slug",
        "query_count_30d",
        "execution_count_30d",
        "reference_count",
        "unique_users_30d",
        "last_queried_at",
        "popularity_score",
        "top_columns",
        "updated_at",
    }


async def test_records_are_read_back_in_every_field(aggregator: Harness, app: RunningApp) -> None:
    source = Source()
    await aggregator.take(
        source.record(
            "a",
            1,
            title="Revenue",
            sql_text="select total from Orders where id = 7",
            tables=["shop.public.orders"],
            columns=[("shop.public.orders", "total")],
            executed_by="ann",
            execution_count=4,
            executed_at=NOON - timedelta(microseconds=1),
            dashboard_id="d1",
            dashboard_title="Board",
            dashboard_url="https://bi.example/d1",
        )
    )
    (row,) = (await app.get(source.tenant, f"/connectors/{source.connector}/queries"))["items"]
    assert row == {
        "id": str(source.record("a").id),
        "connector_id": str(source.connector),
        "resource_type": "query_log",
        "resource_id": "a",
        "title": "Revenue",
        "sql_text": "select total from Orders where id = ?",
        "referenced_tables": ["shop.public.orders"],
        "referenced_columns": ["orders.total"],
        "executed_by": "ann",
        "executed_at": "2026-03-18T11:59:59.999999Z",
        "execution_count": 4,
        "dashboard_id": "d1",
        "dashboard_title": "Board",
        "dashboard_url": "https://bi.example/d1",
        "created_at": "2026-03-18T12:00:00Z",
    }


async def test_records_are_paged_newest_first_and_filtered(aggregator: Harness, app: RunningApp) -> None:
    source = Source()
    path = f"/connectors/{source.connector}/queries"
    await aggregator.take(
        *(
            source.record(
                f"r{number}", number, executed_by=f"u{number % 2}", executed_at=NOON - timedelta(hours=number // 2)
            )
            for number in range(1, 10)
        ),
        source.chart("c", 10),
    )
    found = await _pages(app, source.tenant, path, 3)
    moments = [row["executed_at"] or row["created_at"] for row in found]
    assert len({row["id"] for row in found}) == len(found) == 10
    assert moments == sorted(moments, reverse=True)
    assert {row["resource_id"] for row in await _pages(app, source.tenant, path, 50, resource_type="chart")} == {"c"}
    assert len(await _pages(app, source.tenant, path, 50, user="u1")) == 5
    window = {"since": "2026-03-18T09:00:00Z", "until": "2026-03-18T10:00:00+00:00"}
    assert {row["resource_id"] for row in await _pages(app, source.tenant, path, 50, **window)} == {
        "r4",
        "r5",
        "r6",
        "r7",
    }


async def test_tenants_see_only_their_own(aggregator: Harness, app: RunningApp) -> None:
    """The same connector id, slugs and tables in two tenants: nothing of the one shows in the other."""
    ours = Source()
    theirs = Source(connector=ours.connector)
    for source, user in ((ours, "ann"), (theirs, "eve")):
        await aggregator.space(source.tenant)
        await aggregator.product(source.tenant, "Orders", "orders")
        await aggregator.take(
            source.record("a", 1, executed_by=user, sql_text=f"select '{user}' as {user} from orders"),
            source.record("b", 2, tables=[f"public.only_{user}"]),
            source.chart("c", 3),
            source.closing(3),
        )
    strange = 0
    for path in (
        "/spaces",
        "/spaces/shop/products",
        "/spaces/shop/usage",
        "/spaces/shop/usage/unused",
        "/spaces/shop/usage/popular-queries",
        "/spaces/shop/usage/unmatched",
        f"/connectors/{ours.connector}/queries",
    ):
        mine = str(await app.get(ours.tenant, path))
        strange += "eve" in mine
        assert "eve" not in mine, path
    await app.post(ours.tenant, "/spaces/shop/usage/aggregate")
    (row,) = (await app.get(ours.tenant, "/spaces/shop/usage"))["items"]
    assert (row["query_count_30d"], row["unique_users_30d"]) == (2, 1)
    print(f"isolation: 7 lists of one tenant, same connector id in both: {strange} strange rows")


async def test_a_retired_reference_is_not_listed(aggregator: Harness, app: RunningApp) -> None:
    first = Source()
    second = Source(first.tenant, first.connector, sync_seq=2)
    await aggregator.take(first.chart("a", 1), first.chart("b", 2), first.closing(2))
    await aggregator.take(second.chart("b", 1), second.closing(1))
    found = await app.get(first.tenant, f"/connectors/{first.connector}/queries")
    assert [row["resource_id"] for row in found["items"]] == ["b"]
