"""Counters hold whatever moves them, and a comparison by night tells and mends what does not."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from libs.common.events import ConnectorChanged
from services.aggregator.checking import Checking
from services.aggregator.domain import TOP_COLUMNS, WINDOW
from services.aggregator.store import counter_build, locks, stats
from tests.integration.aggregator_harness import NOON, Harness, Source, replicas
from tests.support.platform import Platform

MIGRATION = Path(__file__).parents[2] / "services/aggregator/migrations/0011_counters.sql"


@pytest.fixture(scope="module")
async def pair(platform: Platform) -> AsyncIterator[list[Harness]]:
    async with replicas(platform, 2) as both:
        for each in both:
            each.refresh._pause = timedelta(0)
        yield both


@pytest.fixture
async def aggregator(pair: list[Harness]) -> Harness:
    pair[0].clock.now = NOON
    return pair[0]


def checking(harness: Harness) -> Checking:
    return Checking(harness.database, harness.clock, harness.metrics, harness.refresh)


async def told_and_true(harness: Harness, tenant: UUID, products: list[UUID]) -> tuple[object, object]:
    """Figures by counters, of which all can tell them, and by rows."""
    async with harness.database.work() as connection:
        since = await counter_build.window(connection, tenant)
        assert since is not None
        now = since + WINDOW
        told, doubtful = await stats.counted(connection, tenant, products, now, TOP_COLUMNS)
        assert doubtful == [], "the counters tell, not the rows"
        return told, await stats.figures(connection, tenant, products, since, now, TOP_COLUMNS)


async def filled(harness: Harness) -> tuple[Source, UUID]:
    source = Source()
    await harness.space(source.tenant)
    product = await harness.product(source.tenant, "Orders", "orders")
    columns = [("public.orders", "id"), ("public.orders", "total")]
    records = [
        source.record(f"r{n}", n, columns=columns, executed_by=f"u{n % 3}", executed_at=NOON - timedelta(days=n))
        for n in range(1, 40)
    ]
    await harness.take(*records, *(source.chart(f"c{n}", 100 + n, columns=columns) for n in range(5)))
    await harness.refresh.drain()
    return source, product


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE aggregator.product_state SET executions = executions + 1 WHERE product_id = $1",
        "UPDATE aggregator.product_state SET users = 0 WHERE product_id = $1",
        "UPDATE aggregator.product_state SET charts = charts - 1 WHERE product_id = $1",
        "UPDATE aggregator.product_state SET last_at = last_at - interval '1 microsecond' WHERE product_id = $1",
        "UPDATE aggregator.product_column SET n = n + 1 WHERE product_id = $1 AND label = 'orders.total'",
        "DELETE FROM aggregator.product_column WHERE product_id = $1 AND label = 'orders.id'",
    ],
)
async def test_a_damaged_counter_is_reported_and_mended(aggregator: Harness, damage: str) -> None:
    source, product = await filled(aggregator)
    await checking(aggregator).check_due()
    before = aggregator.metrics.differing._value.get()
    await aggregator.admin.execute(damage, product)
    told, true = await told_and_true(aggregator, source.tenant, [product])
    assert told != true or "users" in damage
    assert await checking(aggregator).check_due() == 0, "once a day"
    aggregator.clock.advance(timedelta(days=1))
    await aggregator.refresh.slide(source.tenant)
    assert await checking(aggregator).check_due() == 1
    assert aggregator.metrics.differing._value.get() == before + 1
    told, true = await told_and_true(aggregator, source.tenant, [product])
    assert told == true


async def test_every_way_back_to_the_rows(aggregator: Harness) -> None:
    """The window slides a little, a lot and back; connectors switch; counters built anew are the same counters."""
    source, product = await filled(aggregator)
    figures = set()
    for step in (
        timedelta(microseconds=1),
        timedelta(hours=5),
        timedelta(days=3),
        -timedelta(days=2),
        timedelta(days=31),
        -timedelta(days=32),
        timedelta(days=60),
        -timedelta(days=50),
    ):
        aggregator.clock.advance(step)
        await aggregator.refresh.slide(source.tenant)
        async with aggregator.database.work() as connection:
            since = aggregator.clock() - WINDOW
            assert await counter_build.window(connection, source.tenant) == since
            [true] = await stats.figures(connection, source.tenant, [product], since, aggregator.clock(), TOP_COLUMNS)
        stats_now = (await aggregator.stats(source.tenant))[product]
        assert stats_now.execution_count_30d == true.execution_count_30d
        assert stats_now.reference_count == true.reference_count
        assert stats_now.unique_users_30d == true.unique_users_30d
        assert stats_now.last_queried_at == true.last_queried_at
        assert tuple(stats_now.top_columns) == true.top_columns
        figures.add((true.execution_count_30d, true.reference_count))
    assert len(figures) >= 4
    for version, counts in enumerate((False, False, True), 1):
        changed = ConnectorChanged(tenant=source.tenant, id=source.connector, version=version, counts_executions=counts)
        await aggregator.ingest.follow_connectors([changed])
        await aggregator.refresh.drain()
        told, true_figures = await told_and_true(aggregator, source.tenant, [product])
        assert told == true_figures


async def rows_of(harness: Harness, tenant: UUID) -> dict[str, list[tuple[object, ...]]]:
    """All counters of a tenant."""
    tables = ("product_state", "product_pattern", "product_user", "product_column", "product_chart")
    return {
        table: sorted(
            tuple(row)
            for row in await harness.admin.fetch(
                f"SELECT t::text FROM aggregator.{table} t WHERE tenant_id = $1", tenant
            )
        )
        for table in tables
    }


async def test_counters_kept_are_counters_built(aggregator: Harness) -> None:
    """After corrections, moves, retirements and a sliding window no row of any counter differs from one built anew."""
    source, product = await filled(aggregator)
    other = await aggregator.product(source.tenant, "Both", "orders", "items")
    for n in range(1, 20):
        corrected = replace(source, sync_seq=2)
        tables = ["public.orders", "public.items"][: 1 + n % 2] if n % 3 else ["public.items"]
        at = NOON - timedelta(days=n * 2) if n % 5 else None
        await aggregator.take(
            corrected.record(f"r{n}", n, tables=tables, executed_by="new", execution_count=n, executed_at=at)
        )
        aggregator.clock.advance(timedelta(hours=7))
        await aggregator.refresh.drain()
    await aggregator.take(replace(source, sync_seq=3, job=uuid4()).chart("c1", 1))
    await aggregator.refresh.slide(source.tenant)
    await aggregator.refresh.drain()
    kept = await rows_of(aggregator, source.tenant)
    async with aggregator.database.work() as connection:
        await counter_build.build(connection, source.tenant, [product, other])
    built = await rows_of(aggregator, source.tenant)
    for each in (kept, built):
        assert len(each["product_user"]) > 2
    assert {name: rows for name, rows in kept.items() if name != "product_state"} == {
        name: rows for name, rows in built.items() if name != "product_state"
    }
    told, true = await told_and_true(aggregator, source.tenant, [product, other])
    assert told == true


async def test_ingests_refreshes_and_claims_at_once(pair: list[Harness], aggregator: Harness) -> None:
    tenant = uuid4()
    await aggregator.space(tenant)
    await aggregator.space(tenant, "other")
    products = [await aggregator.product(tenant, f"p{n}", f"t{n}", f"t{n + 1}") for n in range(6)]
    products += [await aggregator.product(tenant, f"p{n}", f"t{n}", space="other") for n in range(6)]
    done = asyncio.Event()

    async def deliver(replica: Harness, number: int) -> None:
        source = Source(tenant)
        for batch in range(20):
            await replica.take(
                *(
                    source.record(f"{n % 37}", batch * 50 + n, tables=[f"public.t{(n + batch) % 7}"],
                                  executed_by=f"u{number}{n % 5}", executed_at=NOON - timedelta(days=n))
                    for n in range(40)
                )
            )  # fmt: skip

    async def disturb(replica: Harness) -> None:
        while not done.is_set():
            replica.clock.advance(timedelta(minutes=1))
            await replica.refresh.drain()
            await replica.refresh.aggregate(tenant, "other")
            await checking(replica).check_due()

    async def claim() -> None:
        for n in range(5):
            await aggregator.product(tenant, f"late{n}", f"t{n}")

    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    await aggregator.admin.execute("SELECT pg_stat_force_next_flush()")
    before = await aggregator.admin.fetchval(deadlocks)
    differed = sum(replica.metrics.differing._value.get() for replica in pair)
    disturbing = [asyncio.create_task(disturb(replica)) for replica in pair]
    await asyncio.gather(*(deliver(replica, n) for n, replica in enumerate(pair * 2)), claim())
    done.set()
    await asyncio.gather(*disturbing)
    await aggregator.refresh.drain()
    told, true = await told_and_true(aggregator, tenant, products)
    await aggregator.admin.execute("SELECT pg_stat_force_next_flush()")
    after = await aggregator.admin.fetchval(deadlocks)
    differing = sum(replica.metrics.differing._value.get() for replica in pair) - differed
    print(f"COUNTERS deadlocks={after - before} differing={differing:.0f}")
    assert differing == 0
    assert told == true
    assert after == before


async def test_what_the_version_before_marks_is_built_anew(aggregator: Harness) -> None:
    """It writes rows and marks, and counts nothing."""
    source, product = await filled(aggregator)
    await aggregator.admin.execute(
        "UPDATE aggregator.query_log SET execution_count = 1000 WHERE tenant_id = $1", source.tenant
    )
    await aggregator.admin.execute(
        """INSERT INTO aggregator.usage_dirty (tenant_id, product_id, space_id, marked_at)
           SELECT tenant_id, product_id, space_id, $2 FROM aggregator.product_state WHERE tenant_id = $1""",
        source.tenant,
        NOON,
    )
    await aggregator.refresh.drain()
    assert (await aggregator.stored_stats(source.tenant))[product].execution_count_30d == 30_000
    told, true = await told_and_true(aggregator, source.tenant, [product])
    assert told == true


async def test_an_installation_without_counters_gets_them_at_its_first_refresh(aggregator: Harness) -> None:
    source, product = await filled(aggregator)
    for table in (
        "product_user",
        "product_column",
        "product_chart",
        "product_pattern",
        "usage_window",
        "product_state",
    ):
        await aggregator.admin.execute(f"DELETE FROM aggregator.{table} WHERE tenant_id = $1", source.tenant)
    first, last = "INSERT INTO product_state", "-- migrate:down"
    text = MIGRATION.read_text()
    backfill = text[text.rindex(first) : text.index(last)]
    await aggregator.admin.execute("SET search_path = aggregator")
    await aggregator.admin.execute(
        backfill.replace("FROM data_product", f"FROM data_product WHERE tenant_id = '{source.tenant}'")
    )
    await aggregator.admin.execute("RESET search_path")
    await aggregator.refresh.drain()
    told, true = await told_and_true(aggregator, source.tenant, [product])
    assert told == true
    assert (await aggregator.stored_stats(source.tenant))[product].execution_count_30d == 30


async def test_columns_found_later_count_for_the_history(aggregator: Harness) -> None:
    """Another producer tells the columns of a pattern whose executions are counted; its own record is outdated."""
    source = Source()
    await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders")
    newer = replace(source, sync_seq=2)
    await aggregator.take(*(newer.record(f"r{n}", n + 1) for n in range(4)))
    await aggregator.refresh.drain()
    await aggregator.take(source.record("r0", 1, columns=[("public.orders", "id")]))
    await aggregator.refresh.drain()
    assert (await aggregator.stored_stats(source.tenant))[product].top_columns == ["orders.id"]


async def test_whoever_counts_without_end_holds_up_his_tenant_only(pair: list[Harness], aggregator: Harness) -> None:
    stuck, product = await filled(aggregator)
    free, other = await filled(aggregator)
    for source in (stuck, free):
        await aggregator.take(source.record("new", 60))
    async with pair[1].database.work() as connection:
        await locks.share_windows(connection, [stuck.tenant])
        await aggregator.refresh.drain()
        assert (await aggregator.stored_stats(free.tenant))[other].execution_count_30d == 31
        assert (await aggregator.stored_stats(stuck.tenant))[product].execution_count_30d == 30
    await aggregator.refresh.drain()
    assert (await aggregator.stored_stats(stuck.tenant))[product].execution_count_30d == 31
