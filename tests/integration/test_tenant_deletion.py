"""What a deleted tenant leaves in a service: removed in batches, by whoever is alive, never to come back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from libs.common.events import TenantChanged, UsageRecompute
from libs.common.records import InvalidRecord, InvalidRecords, Record
from libs.common.tenants import SETTLED, Tenants
from services.aggregator.store import counter_build, locks
from services.aggregator.tenant_tables import TENANT_TABLES
from tests.integration.aggregator_harness import Harness, Source, replicas
from tests.support.platform import Platform
from tests.unit.common.kafka_records import raw


@pytest.fixture(scope="module")
async def aggregator(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (one,):
        yield one


def tenants_of(harness: Harness, **options: float) -> Tenants:
    return Tenants(
        harness.database,
        harness.clock,
        TENANT_TABLES,
        CollectorRegistry(),
        hold=locks.change_claims,
        batch_rows=int(options.get("batch_rows", 7)),
        slice_seconds=options.get("slice_seconds", 60.0),
    )


async def rows_of(harness: Harness, tenant: UUID) -> dict[str, int]:
    """Rows of a tenant by table, where there are any."""
    counts = {
        table: await harness.admin.fetchval(f"SELECT count(*) FROM aggregator.{table} WHERE tenant_id = $1", tenant)
        for table in TENANT_TABLES
    }
    return {table: count for table, count in counts.items() if count}


async def filled(harness: Harness, count: int = 40) -> Source:
    """A tenant with something in every table that its records and requests fill."""
    source = Source()
    await harness.space(source.tenant)
    await harness.product(source.tenant, "Orders", "public.orders")
    records = [
        source.record(f"q{n}", n, executed_by=f"u{n}", columns=[("public.orders", "id")]) for n in range(1, count)
    ]
    await harness.take(*records, source.chart("c", count), source.closing(count))
    await harness.refresh.aggregate(source.tenant, "shop")
    await harness.outcomes()
    return source


def deletion(tenant: UUID, version: int = 2) -> TenantChanged:
    return TenantChanged(tenant=tenant, id=tenant, version=version, deleted=True)


async def test_all_rows_go_and_no_others(aggregator: Harness) -> None:
    gone, other = await filled(aggregator), await filled(aggregator)
    before = await rows_of(aggregator, other.tenant)
    tenants = tenants_of(aggregator)
    await tenants.follow([deletion(gone.tenant)])
    removed = await tenants.purge()
    assert (await rows_of(aggregator, gone.tenant), await rows_of(aggregator, other.tenant)) == ({}, before)
    assert removed == sum(before.values())
    print(f"TENANT_PURGE rows={removed} tables={len(before)} left=0")


async def test_a_batch_is_small_and_a_killed_purge_goes_on(aggregator: Harness) -> None:
    """Each batch is a transaction of its own: what is left is removed by another process."""
    gone = await filled(aggregator)
    before = sum((await rows_of(aggregator, gone.tenant)).values())
    impatient = tenants_of(aggregator, slice_seconds=-1.0)
    await impatient.follow([deletion(gone.tenant)])
    assert await impatient.purge() <= 7
    left = sum((await rows_of(aggregator, gone.tenant)).values())
    assert 0 < left < before
    await tenants_of(aggregator).purge()
    assert await rows_of(aggregator, gone.tenant) == {}


async def test_two_replicas_remove_together(aggregator: Harness) -> None:
    gone = await filled(aggregator, 100)
    one, two = tenants_of(aggregator), tenants_of(aggregator)
    await one.follow([deletion(gone.tenant)])
    await asyncio.gather(one.purge(), two.purge())
    assert await rows_of(aggregator, gone.tenant) == {}


async def test_work_on_the_tenant_at_the_same_time_fails_in_nothing(platform: Platform) -> None:
    """Ingests, refreshes and changes of products wait for a batch; none of them breaks or brings rows back for good."""
    async with replicas(platform, 3) as (one, two, three):
        gone = await filled(one, 300)
        done, turns = asyncio.Event(), [0, 0]

        async def work(harness: Harness, number: int) -> None:
            while not done.is_set():
                name = f"w{number}-{turns[number]}"
                await harness.take(gone.record(name), gone.chart(name))
                await harness.refresh.mark_stale(timedelta(0))
                await harness.refresh.drain()
                one.clock.advance(timedelta(seconds=1))
                turns[number] += 1

        working = [asyncio.create_task(work(harness, number)) for number, harness in enumerate((one, two))]
        tenants = tenants_of(three, batch_rows=100)
        await tenants.follow([deletion(gone.tenant)])
        while min(turns) < 2 and not any(task.done() for task in working):
            await tenants.purge()
        done.set()
        await asyncio.gather(*working)
        await tenants.purge()
        assert await rows_of(one, gone.tenant) == {}
        assert sum(turns) > 2


async def test_statistics_of_a_tenant_that_is_removed_meanwhile_are_let_go(aggregator: Harness) -> None:
    """Between the slide of its window and the computation its rows went."""
    gone = await filled(aggregator)
    (product,) = await aggregator.stored_stats(gone.tenant)
    tenants = tenants_of(aggregator)
    await tenants.follow([deletion(gone.tenant)])
    await aggregator.refresh.slide(gone.tenant)
    await tenants.purge()
    async with aggregator.database.work() as connection:
        assert await aggregator.refresh.compute(connection, gone.tenant, [product]) == 0
        assert not await counter_build.build(connection, gone.tenant, [product])
    assert await rows_of(aggregator, gone.tenant) == {}


async def test_what_was_under_way_is_removed_too(aggregator: Harness) -> None:
    """A batch that had passed the guard when the deletion came, or a request with a token that still lived."""
    gone = await filled(aggregator)
    tenants = tenants_of(aggregator)
    await tenants.follow([deletion(gone.tenant)])
    await tenants.purge()
    await aggregator.take(gone.record("late"))
    aggregator.clock.advance(SETTLED - timedelta(seconds=1))
    for _ in range(2):
        await tenants.purge()
    assert await rows_of(aggregator, gone.tenant) == {}
    purged = "SELECT purged_at FROM aggregator.tenant WHERE tenant_id = $1"
    assert await aggregator.admin.fetchval(purged, gone.tenant) is None
    aggregator.clock.advance(timedelta(seconds=1))
    await tenants.purge()
    assert await aggregator.admin.fetchval(purged, gone.tenant) == aggregator.clock()


async def test_nothing_brings_a_deleted_tenant_back(aggregator: Harness) -> None:
    tenant = uuid4()
    tenants = tenants_of(aggregator)
    alive = TenantChanged(tenant=tenant, id=tenant, version=1, name="Shop", slug="shop")
    await tenants.follow([alive, deletion(tenant), deletion(tenant), alive])
    await tenants.follow([alive.model_copy(update={"version": 3})])
    assert await tenants.deleted([tenant, uuid4()]) == {tenant}
    rows = await aggregator.admin.fetch("SELECT name, slug FROM aggregator.tenant WHERE tenant_id = $1", tenant)
    assert [tuple(row) for row in rows] == [(None, None)]


async def test_a_deletion_may_come_first(aggregator: Harness) -> None:
    tenant = uuid4()
    tenants = tenants_of(aggregator)
    await tenants.follow([deletion(tenant, 1)])
    assert await tenants.deleted([tenant]) == {tenant}


def record(tenant: UUID, offset: int) -> Record[UsageRecompute]:
    event = UsageRecompute(tenant=tenant, space_id=UUID(int=offset))
    return Record(event, "usage.recompute", raw(b"", offset=offset))


async def test_records_of_deleted_tenants_are_dropped_and_complaints_name_the_right_ones(aggregator: Harness) -> None:
    living, gone = uuid4(), uuid4()
    tenants = tenants_of(aggregator)
    await tenants.follow([deletion(gone)])
    seen: list[int] = []

    async def handler(records: Sequence[Record[UsageRecompute]]) -> None:
        seen.extend(each.offset for each in records)
        raise InvalidRecord(1, "the second of those that are left")

    batch = [record(gone, 0), record(living, 1), record(gone, 2), record(living, 3)]
    with pytest.raises(InvalidRecords) as caught:
        await tenants.living(handler)(batch)
    assert (seen, caught.value.reasons) == ([1, 3], {3: "the second of those that are left"})
    await tenants.living(handler)([record(gone, 4)])
    assert seen == [1, 3]
