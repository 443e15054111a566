"""Statistics of products from records, on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from services.aggregator.store.catalogue import Claim
from tests.integration.aggregator_harness import NOON, Harness, Source, replicas
from tests.support.platform import Platform


@pytest.fixture(scope="module")
async def aggregator(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (one,):
        yield one


async def test_executions_become_statistics(aggregator: Harness) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    orders = await aggregator.product(source.tenant, "Orders", "public.orders")
    legacy = await aggregator.product(source.tenant, "Legacy", "public.legacy")
    await aggregator.take(
        source.record("a", 1, executed_by="ann", columns=[("public.orders", "total")]),
        source.record("b", 2, executed_by="bob", execution_count=3, executed_at=NOON - timedelta(days=7)),
        source.record("c", 3, executed_by="bob", executed_at=NOON - timedelta(days=30)),
        source.record("d", 4, executed_by="eve", executed_at=NOON - timedelta(days=30, microseconds=1)),
    )
    stats = await aggregator.stats(source.tenant)
    assert stats[orders].query_count_30d == stats[orders].execution_count_30d == 5
    assert stats[orders].unique_users_30d == 2
    assert stats[orders].last_queried_at == NOON
    assert stats[orders].top_columns == ["orders.total"]
    assert stats[orders].popularity_score == pytest.approx((0.5 * 2.584962500721156 + 0.3 * 2 + 0.2 * 10) * 10)
    assert (stats[legacy].query_count_30d, stats[legacy].last_queried_at, stats[legacy].popularity_score) == (
        0,
        None,
        0,
    )


async def test_another_tenants_rows_do_not_count(aggregator: Harness) -> None:
    ours, theirs = Source(), Source()
    await aggregator.space(ours.tenant)
    product = await aggregator.product(ours.tenant, "Orders", "orders")
    await aggregator.take(theirs.record("a", 1), theirs.chart("c", 2))
    assert (await aggregator.stats(ours.tenant))[product].query_count_30d == 0
    assert uuid4() not in await aggregator.stored_stats(ours.tenant)


async def test_a_resent_record_replaces_what_was_counted(aggregator: Harness) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    orders = await aggregator.product(source.tenant, "Orders", "orders")
    items = await aggregator.product(source.tenant, "Items", "items")
    await aggregator.take(source.record("a", 1, executed_by="ann", execution_count=2))
    await aggregator.take(source.record("a", 2, executed_by="bob", execution_count=5))
    stats = await aggregator.stats(source.tenant)
    assert (stats[orders].query_count_30d, stats[orders].unique_users_30d) == (5, 1)
    await aggregator.take(source.record("a", 3, tables=["public.items"]))
    await aggregator.take(source.record("a", 1, executed_by="ann", execution_count=2))  # older, replayed
    await aggregator.refresh.drain()
    stored = await aggregator.stored_stats(source.tenant)
    assert (stored[orders].query_count_30d, stored[items].query_count_30d) == (0, 1)


async def test_a_chart_counts_once_and_an_execution_of_two_tables_once(aggregator: Harness) -> None:
    source = Source(type="superset")
    await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders", "items")
    both = ["public.orders", "public.items"]
    await aggregator.take(
        source.chart("7", 1, tables=both),
        source.chart("d1:7", 2, resource_type="dashboard_chart", dashboard_id="d1", tables=both),
        source.chart("d2:7", 3, resource_type="dashboard_chart", dashboard_id="d2", tables=both),
        source.chart("7", 4, resource_type="saved_query"),
        source.record("x", 5, tables=both, columns=[(both[0], "id"), (both[1], "id")]),
        source.closing(5),
    )
    stats = (await aggregator.stats(source.tenant))[product]
    assert (stats.execution_count_30d, stats.reference_count, stats.query_count_30d) == (1, 2, 3)
    assert stats.last_queried_at == NOON
    assert stats.top_columns == ["items.id", "orders.id"]


async def test_a_reference_counts_from_the_last_complete_sync_and_grows_old(aggregator: Harness) -> None:
    first = Source()
    second = Source(first.tenant, first.connector, sync_seq=2)
    await aggregator.space(first.tenant)
    product = await aggregator.product(first.tenant, "Orders", "orders")
    start = aggregator.clock.now
    try:
        await aggregator.take(first.chart("c", 1), first.closing(1))
        aggregator.clock.advance(timedelta(days=20))
        await aggregator.take(second.chart("c", 1), second.closing(1))
        aggregator.clock.advance(timedelta(days=30))
        stats = (await aggregator.stats(first.tenant))[product]
        assert (stats.reference_count, stats.last_queried_at) == (1, None)
        assert await aggregator.usage.unused(first.tenant, "shop", 30) == []
        aggregator.clock.advance(timedelta(microseconds=1))
        assert (await aggregator.stats(first.tenant))[product].query_count_30d == 0
        assert [each.id for each in await aggregator.usage.unused(first.tenant, "shop", 30)] == [product]
    finally:
        aggregator.clock.now = start


async def test_a_chart_that_comes_back_counts_from_its_return(aggregator: Harness) -> None:
    tenant, connector = uuid4(), uuid4()
    first, second, third = (Source(tenant, connector, sync_seq=number) for number in (1, 2, 3))
    await aggregator.space(tenant)
    product = await aggregator.product(tenant, "Orders", "orders")
    start = aggregator.clock.now
    try:
        await aggregator.take(first.chart("c", 1), first.closing(1))
        await aggregator.take(second.chart("d", 1, tables=["public.elsewhere"]), second.closing(1))
        aggregator.clock.advance(timedelta(days=31))
        await aggregator.take(third.chart("c", 1), third.closing(1, complete=False))
        assert (await aggregator.stats(tenant))[product].reference_count == 1
    finally:
        aggregator.clock.now = start


@pytest.mark.parametrize(("age", "unused"), [(timedelta(0), False), (timedelta(microseconds=1), True)])
async def test_unused_begins_right_behind_the_window(aggregator: Harness, age: timedelta, unused: bool) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders")
    await aggregator.take(source.record("a", 1, executed_at=NOON - timedelta(days=3) - age))
    found = await aggregator.usage.unused(source.tenant, "shop", 3)
    assert [(each.id, each.last_queried_at is not None) for each in found] == ([(product, True)] if unused else [])


async def test_a_claim_of_one_connector_takes_no_other(aggregator: Harness) -> None:
    here = Source()
    there = Source(here.tenant)
    await aggregator.space(here.tenant)
    bound = await aggregator.product(here.tenant, "Bound", Claim("orders", here.connector))
    free = await aggregator.product(here.tenant, "Free", "orders")
    await aggregator.take(here.record("a", 1), there.record("a", 1), there.record("b", 2))
    stats = await aggregator.stats(here.tenant)
    assert (stats[bound].query_count_30d, stats[free].query_count_30d) == (1, 3)


async def test_statistics_are_refreshed_by_the_tick_without_any_event(aggregator: Harness) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders")
    await aggregator.take(source.record("a", 1))
    start = aggregator.clock.now
    try:
        await aggregator.refresh.drain()
        fresh = (await aggregator.stored_stats(source.tenant))[product]
        aggregator.clock.advance(timedelta(days=31))
        await aggregator.refresh.mark_stale(timedelta(hours=1))
        await aggregator.refresh.drain()
        old = (await aggregator.stored_stats(source.tenant))[product]
    finally:
        aggregator.clock.now = start
    assert (fresh.query_count_30d, old.query_count_30d) == (1, 0)
    assert old.last_queried_at == fresh.last_queried_at
    assert 0 < old.popularity_score < fresh.popularity_score


async def test_a_space_is_refreshed_once_a_pause_whoever_asks(aggregator: Harness) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    await aggregator.product(source.tenant, "Orders", "orders")
    start = aggregator.clock.now
    try:
        await aggregator.refresh.drain()
        refreshed = []
        for number in range(1, 31):
            await aggregator.take(source.record(f"r{number}", number))
            aggregator.clock.advance(timedelta(milliseconds=100))
            refreshed.append(sum(await asyncio.gather(*(aggregator.refresh.drain() for _ in range(3)))))
    finally:
        aggregator.clock.now = start
    print(f"30 batches in 3 s, 90 drains: {sum(refreshed)} refreshes of the product")
    assert sum(refreshed) == 3
