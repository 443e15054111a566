"""Statistics of products from records, on a real database."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

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
