"""Replicas at once: no deadlock, no lost mark, no statistics older than what they replace."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from libs.common.db import Connection, Database
from services.aggregator.store import locks
from tests.integration.aggregator_harness import NOON, Harness, Source, replica, replicas
from tests.support.platform import Platform


@pytest.fixture(scope="module")
async def pair(platform: Platform) -> AsyncIterator[list[Harness]]:
    async with replicas(platform, 2) as both:
        yield both


@pytest.fixture
async def aggregator(pair: list[Harness]) -> Harness:
    await pair[0].outcomes()
    pair[0].clock.now = NOON
    return pair[0]


@dataclass(frozen=True)
class SlowToCommit:
    """A database whose workers have done everything but the commit when `reached` is set."""

    inner: Database
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Connection]:
        async with self.inner.work() as connection:
            yield connection
            self.reached.set()
            await self.go_on.wait()

    @asynccontextmanager
    async def held_before_commit(self, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Inside, `work` has done all but its commit; behind, it has committed, whatever happened inside."""
        running = asyncio.create_task(work)
        await self.reached.wait()
        try:
            yield
        finally:
            self.go_on.set()
            await running


async def test_a_refresh_does_not_take_the_mark_of_rows_that_it_cannot_see(aggregator: Harness) -> None:
    source = Source()
    await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders")
    await aggregator.take(source.record("a", 1))  # a mark is there before
    slow = SlowToCommit(aggregator.database)
    ingesting = replica(cast(Any, slow), aggregator.clock, aggregator.admin)
    async with slow.held_before_commit(ingesting.take(replace(source, connector=uuid4()).record("b", 1))):
        await aggregator.refresh.drain()
    aggregator.clock.advance(timedelta(seconds=1))
    await aggregator.refresh.drain()
    assert (await aggregator.stored_stats(source.tenant))[product].query_count_30d == 2


async def test_a_space_has_one_writer_of_statistics(pair: list[Harness], aggregator: Harness) -> None:
    """Who reads before another and writes after him would put back the past."""
    source = Source()
    space = await aggregator.space(source.tenant)
    product = await aggregator.product(source.tenant, "Orders", "orders")
    await aggregator.take(source.record("a", 1))
    async with pair[1].database.work() as connection:
        await locks.hold_space(connection, source.tenant, space)
        await aggregator.refresh.drain()
        aggregate = asyncio.create_task(pair[0].refresh.aggregate(source.tenant, "shop"))
        await asyncio.sleep(0.3)
        assert not aggregate.done()
        assert (await aggregator.stored_stats(source.tenant))[product].query_count_30d == 0
    await aggregate
    assert (await aggregator.stored_stats(source.tenant))[product].query_count_30d == 1


async def test_a_change_of_claims_waits_for_an_ingest_under_way(aggregator: Harness) -> None:
    """Else its rows would be marked for the old claims only, and the new ones computed without them."""
    source = Source()
    await aggregator.space(source.tenant)
    slow = SlowToCommit(aggregator.database)
    ingesting = replica(cast(Any, slow), aggregator.clock, aggregator.admin)
    async with slow.held_before_commit(ingesting.take(source.record("a", 1))):
        create = asyncio.create_task(aggregator.product(source.tenant, "Orders", "orders"))
        await asyncio.sleep(0.3)
        assert not create.done()
    product = await create
    assert (await aggregator.stored_stats(source.tenant))[product].query_count_30d == 1


async def test_two_replicas_with_the_same_records_at_once(pair: list[Harness], aggregator: Harness) -> None:
    """A zombie consumer and its successor deliver the same shuffled, overlapping batches of three connectors."""
    tenant = uuid4()
    sources = [Source(tenant) for _ in range(3)]
    await aggregator.space(tenant)
    products = [await aggregator.product(tenant, f"p{number}", f"s.t{number}") for number in range(4)]
    records = [
        source.record(f"r{number}", number, tables=[f"s.t{number % 4}"], executed_by=f"u{number % 7}")
        for source in sources
        for number in range(1, 201)
    ]
    dice = random.Random(7)  # noqa: S311 (a reproducible shuffle)

    async def deliver(replica: Harness) -> None:
        mine = list(records)
        dice.shuffle(mine)
        for start in range(0, len(mine), 50):
            await replica.take(*mine[start : start + 70])
        await replica.take(*(source.closing(200) for source in sources))

    refreshed = 0

    async def refresh(replica: Harness) -> None:
        nonlocal refreshed
        while not delivered.is_set():
            replica.clock.advance(timedelta(seconds=1))  # over the pause between two refreshes
            refreshed += await replica.refresh.drain()
            await asyncio.sleep(0)

    delivered = asyncio.Event()
    before = await _deadlocks(aggregator)
    refreshing = [asyncio.create_task(refresh(replica)) for replica in pair]
    await asyncio.gather(*(deliver(replica) for replica in pair for _ in range(2)))
    delivered.set()
    await asyncio.gather(*refreshing)
    outcomes = await aggregator.outcomes()
    assert {_figures(outcome) for outcome in outcomes} == {("completed", 200, 200, 0, 0)}
    rows = await aggregator.admin.fetchval("SELECT count(*) FROM aggregator.query_log WHERE tenant_id = $1", tenant)
    assert rows == 600
    aggregator.clock.advance(timedelta(seconds=1))
    await aggregator.refresh.drain()
    drained = await aggregator.stored_stats(tenant)
    assert [drained[product].query_count_30d for product in products] == [150] * 4
    deadlocks = await _deadlocks(aggregator) - before
    print(
        f"two replicas: {len(records)} records delivered by 4 at once amid {refreshed} refreshes: 600 rows, "
        f"600 counted, deadlocks {deadlocks}"
    )
    assert deadlocks == 0


async def test_two_connectors_that_touch_the_same_products_do_not_deadlock(
    pair: list[Harness], aggregator: Harness
) -> None:
    tenant = uuid4()
    await aggregator.space(tenant)
    for number in range(12):
        await aggregator.product(tenant, f"p{number}", f"t{number}")
    dice = random.Random(11)  # noqa: S311 (a reproducible shuffle)

    async def deliver(replica: Harness) -> None:
        source = Source(tenant)
        for batch in range(25):
            tables = dice.sample(range(12), 12)
            await replica.take(*(source.record(f"{batch}/{t}", tables=[f"public.t{t}"]) for t in tables))

    before = await _deadlocks(aggregator)
    await asyncio.gather(*(deliver(replica) for replica in pair * 2))
    deadlocks = await _deadlocks(aggregator) - before
    stats = await aggregator.stats(tenant)
    print(f"shared products: 4 connectors x 25 batches marking 12 products each, deadlocks {deadlocks}")
    assert deadlocks == 0
    assert {each.query_count_30d for each in stats.values()} == {100}


def _figures(outcome: dict[str, Any]) -> tuple[str, int, int, int, int]:
    return tuple(outcome[name] for name in ("state", "received", "upserted", "rejected", "retired"))


async def _deadlocks(aggregator: Harness) -> int:
    await aggregator.admin.execute("SELECT pg_stat_force_next_flush()")
    count = await aggregator.admin.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert isinstance(count, int)
    return count
