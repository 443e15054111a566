"""A batch is taken for fresh until the key says otherwise: what it stores and counts is the same either way."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from services.aggregator.store import counter_build
from tests.integration.aggregator_harness import NOON, Harness, Source, replicas
from tests.support.platform import Platform


@pytest.fixture(scope="module")
async def module(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (harness,):
        yield harness


@pytest.fixture
async def aggregator(module: Harness) -> Harness:
    await module.outcomes()
    module.clock.now = NOON
    return module


async def _stored(aggregator: Harness, source: Source) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await aggregator.admin.fetch(
        "SELECT * FROM aggregator.query_log WHERE tenant_id = $1 ORDER BY resource_id", source.tenant
    )
    return rows


async def _references(aggregator: Harness, source: Source) -> int:
    count = await aggregator.admin.fetchval(
        "SELECT count(*) FROM aggregator.bi_reference WHERE tenant_id = $1", source.tenant
    )
    assert isinstance(count, int)
    return count


async def _begun(aggregator: Harness) -> tuple[Source, UUID]:
    """A source, and a product that counts what it says."""
    source = Source()
    await aggregator.space(source.tenant)
    return source, await aggregator.product(source.tenant, "orders", "public.orders")


async def _counted(aggregator: Harness, source: Source, product: UUID) -> int:
    """Executions of the product by its counters, which building them from the rows does not change."""
    kept = (await aggregator.stats(source.tenant))[product].execution_count_30d
    async with aggregator.database.tenant(source.tenant) as connection:
        await counter_build.build(connection, source.tenant, [product])
    assert (await aggregator.stats(source.tenant))[product].execution_count_30d == kept
    return kept


async def test_what_is_stored_already_counts_once_among_what_is_new(aggregator: Harness) -> None:
    source, product = await _begun(aggregator)
    first = [source.record(f"r{number}", number) for number in range(1, 6)]
    again = [source.record(f"r{number}", number, execution_count=number) for number in range(4, 9)]
    for batch in (first, again, first, again):
        await aggregator.take(*batch)
    await aggregator.take(source.record("r9", 9), source.closing(9))
    (outcome,) = await aggregator.outcomes()
    assert (outcome["received"], outcome["upserted"]) == (9, 9)
    assert [row["execution_count"] for row in await _stored(aggregator, source)] == [1, 1, 1, 4, 5, 6, 7, 8, 1]
    assert await _counted(aggregator, source, product) == 34


async def test_after_what_was_stored_comes_what_is_new(aggregator: Harness) -> None:
    source, product = await _begun(aggregator)
    for number in (1, 1, 2, 3, 3, 4):
        await aggregator.take(source.record(f"r{number}", number))
    assert len(await _stored(aggregator, source)) == 4
    assert await _counted(aggregator, source, product) == 4


@pytest.mark.parametrize("retired", [False, True])
async def test_a_reference_that_is_an_execution_now_is_moved(aggregator: Harness, retired: bool) -> None:
    source, product = await _begun(aggregator)
    await aggregator.take(source.record("a", 1, resource_type="chart", executed_at=None), source.closing(1))
    seen = 1
    if retired:
        later = Source(source.tenant, source.connector, sync_seq=2)
        await aggregator.take(later.record("b", 1, resource_type="chart", executed_at=None), later.closing(1))
        seen = 2
    assert await _references(aggregator, source) == seen
    newest = Source(source.tenant, source.connector, sync_seq=3)
    await aggregator.take(newest.record("a", 1, resource_type="chart"), newest.record("c", 2))
    assert await _references(aggregator, source) == seen - 1
    assert [row["resource_id"] for row in await _stored(aggregator, source)] == ["a", "c"]
    assert await _counted(aggregator, source, product) == 2


async def test_each_row_keeps_its_own_among_what_rows_share(aggregator: Harness) -> None:
    one, _ = await _begun(aggregator)
    other = Source(one.tenant, job=one.job, sync_seq=7)
    moments = [NOON - timedelta(minutes=number) for number in range(4)]
    events = [
        one.record("a", 1),
        other.record("b", 1, title="Sales", environment="staging"),
        one.record("c", None, tables=("public.items",), dashboard_id="7"),
        one.record("d", 2, resource_type="saved_query"),
    ]
    await aggregator.ingest.ingest(events, moments)
    rows = await _stored(aggregator, one)
    fields = ("connector_id", "environment", "resource_type", "title", "dashboard_id", "sync_seq", "job_seq", "said_at")
    assert [tuple(row[name] for name in fields) for row in rows] == [
        (one.connector, "production", "query_log", None, None, 1, 1, moments[0]),
        (other.connector, "staging", "query_log", "Sales", None, 7, 1, moments[1]),
        (one.connector, "production", "query_log", None, "7", -1, 0, moments[2]),
        (one.connector, "production", "saved_query", None, None, 1, 2, moments[3]),
    ]
    assert len({row["pattern_id"] for row in rows}) == 3
    assert rows[0]["pattern_id"] == rows[3]["pattern_id"]
