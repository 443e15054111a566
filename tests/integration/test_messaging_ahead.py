"""A batch that was fetched while the one before it is handled: what may become of it, on the real broker."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition

from libs.common import consume
from libs.common.consume import Consumers, DeadLetterLimits, InvalidRecord, Record, RetryPolicy
from libs.common.events import UsageRecompute
from tests.support.messaging import Bench, fresh_bench, numbers, until
from tests.support.servers import Servers

Batch = Sequence[Record[UsageRecompute]]
NO_LIMITS = DeadLetterLimits(max_run=10_000, max_share=1.0)
IMPATIENT = RetryPolicy(first=0.005, cap=0.01, budget=0.02)
SIZE = 50


@pytest.fixture
async def bench(servers: Servers) -> Bench:
    return await fresh_bench(servers.kafka, partitions=1)


@dataclass(slots=True)
class Order:
    """What went through, by all members: a record may come again, never before the one in front of it went through."""

    refused: set[tuple[int, int]] = field(default_factory=set)
    done: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    taken: Counter[int] = field(default_factory=Counter)
    gaps: list[str] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """These went through together."""
        for record in batch:
            if record.offset > (done := self.upto(record.partition)):
                self.gaps.append(f"{record.partition}/{record.offset} before {done}")
            self.done[record.partition] = max(done, record.offset + 1)
        self.taken.update(numbers(batch))

    def upto(self, partition: int) -> int:
        """How far a partition is settled."""
        while (partition, self.done[partition]) in self.refused:
            self.done[partition] += 1
        return self.done[partition]

    @property
    def twice(self) -> int:
        return sum(count - 1 for count in self.taken.values())


@dataclass(slots=True)
class Gate:
    """A handler that keeps the batch whose turn it is in hand until it is told what becomes of it."""

    order: Order = field(default_factory=Order)
    entered: list[list[int]] = field(default_factory=list)
    failing: bool = False
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, batch: Batch) -> None:
        self.entered.append(numbers(batch))
        await self._open.wait()
        if self.failing:
            raise ConnectionResetError
        self.order.add(batch)

    def open(self) -> None:
        """Let what is in hand go, and whatever follows."""
        self._open.set()


async def fetched(bench: Bench, consumers: Consumers, records: int, partition: int = 0) -> int:
    """Wait until the consumer has taken that many records of the partition from the broker; how many it has taken."""
    [(subscription, _)] = consumers._subscriptions
    consumer, place = subscription.consumer(), TopicPartition(bench.name, partition)
    assert consumer is not None
    async with asyncio.timeout(240):
        await until(lambda: place in consumer.assignment())
        while (position := await consumer.position(place)) < records:  # noqa: ASYNC110 (aiokafka tells nobody)
            await asyncio.sleep(0.01)
    return int(position)


async def test_the_next_batch_is_fetched_while_one_is_in_hand_and_no_more(bench: Bench) -> None:
    await bench.publish(range(5 * SIZE))
    gate = Gate()
    async with bench.consumers(gate, max_records=SIZE) as consumers:
        await fetched(bench, consumers, 2 * SIZE)
        assert (len(gate.entered), await bench.committed()) == (1, 0)
        assert await fetched(bench, consumers, 2 * SIZE) == 2 * SIZE
        gate.open()
        await until(lambda: len(gate.order.taken) == 5 * SIZE)
    assert (gate.order.gaps, gate.order.twice, await bench.committed()) == ([], 0, 5 * SIZE)


async def test_what_comes_in_portions_gathers_until_it_has_its_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consume, "_PORTION", 10)
    await bench.publish(range(5 * SIZE))
    gate = Gate()
    async with bench.consumers(gate, max_records=SIZE) as consumers:
        await fetched(bench, consumers, 10 + SIZE)
        assert await fetched(bench, consumers, 10 + SIZE) == 10 + SIZE
        gate.open()
        await until(lambda: len(gate.order.taken) == 5 * SIZE)
    sizes = [len(batch) for batch in gate.entered]
    print(f"AHEAD_GATHERED sizes={sizes[:4]}")
    assert (sizes[:2], max(sizes)) == ([10, SIZE], SIZE)
    assert (gate.order.gaps, gate.order.twice, await bench.committed()) == ([], 0, 5 * SIZE)


async def test_a_batch_that_waits_goes_back_with_the_one_before_it(bench: Bench) -> None:
    await bench.publish(range(4 * SIZE))
    gate = Gate(failing=True)
    async with bench.consumers(gate, max_records=SIZE) as consumers:
        await fetched(bench, consumers, 2 * SIZE)
        gate.open()
        await until(lambda: consumers.ready() is not None)
        first = gate.entered[0]
        assert all(batch[0] == first[0] for batch in gate.entered)
        assert await bench.committed() == 0
        gate.failing = False
        await until(lambda: len(gate.order.taken) == 4 * SIZE)
    print(f"AHEAD_TROUBLE handled={len(gate.order.taken)} attempts={len(gate.entered)} gaps={len(gate.order.gaps)}")
    assert (gate.order.gaps, gate.order.twice, await bench.committed()) == ([], 0, 4 * SIZE)


async def test_a_batch_that_waits_is_left_to_the_next_process(bench: Bench) -> None:
    await bench.publish(range(4 * SIZE))
    gate = Gate()
    async with bench.consumers(gate, max_records=SIZE) as consumers:
        await fetched(bench, consumers, 2 * SIZE)
        stopping = asyncio.create_task(consumers.stop())
        await asyncio.sleep(0)
        gate.open()
        await stopping
    assert (len(gate.entered), len(gate.order.taken), await bench.committed()) == (1, SIZE, SIZE)
    async with bench.consumers(gate, max_records=SIZE):
        await until(lambda: len(gate.order.taken) == 4 * SIZE)
    assert (gate.order.gaps, gate.order.twice) == ([], 0)


async def test_a_handler_that_does_not_end_does_not_keep_the_process(bench: Bench) -> None:
    await bench.publish(range(2 * SIZE))
    gate = Gate()
    async with bench.consumers(gate, max_records=SIZE, graceful_timeout=0.2) as consumers:
        await fetched(bench, consumers, 2 * SIZE)
    assert (len(gate.entered), len(gate.order.taken), await bench.committed()) == (1, 0, 0)


async def test_a_batch_that_waits_is_dropped_when_the_group_settles_anew(servers: Servers) -> None:
    bench = await fresh_bench(servers.kafka, partitions=2)
    await bench.publish(range(8 * SIZE))
    gate = Gate()
    second = Gate(gate.order)
    second.open()
    async with bench.consumers(gate, max_records=SIZE) as first, AsyncExitStack() as others:
        await until(lambda: gate.entered)
        joining = asyncio.create_task(others.enter_async_context(bench.consumers(second, max_records=SIZE)))
        await until(first._subscriptions[0][0]._interrupt.is_set)
        assert len(gate.entered) == 1
        gate.open()
        await joining
        await until(lambda: len(gate.order.taken) == 8 * SIZE)
    order = gate.order
    print(f"AHEAD_REBALANCE handled={len(order.taken)} twice={order.twice} gaps={len(order.gaps)}")
    assert order.gaps == []
    assert await bench.committed(0) + await bench.committed(1) == 8 * SIZE


@dataclass(slots=True)
class Moody:
    """A handler that is slow, stumbles, and names records, as a seed has it."""

    order: Order
    draw: random.Random
    invalid: frozenset[int]

    async def __call__(self, batch: Batch) -> None:
        await asyncio.sleep(self.draw.random() * 0.02)
        if self.draw.random() < 0.3:
            raise ConnectionResetError
        for position, number in enumerate(numbers(batch)):
            if number in self.invalid:
                self.order.refused.add((batch[position].partition, batch[position].offset))
                raise InvalidRecord(position, "named by the handler")
        self.order.add(batch)


@pytest.mark.parametrize(("seed", "portion"), [(0, 500), (1, 500), (2, 7), (3, 7), (4, 2)])
async def test_whatever_happens_nothing_is_lost_or_overtaken(
    servers: Servers, seed: int, portion: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble that outlasts the budget, dead letters, members that come and go, stops: with a batch waiting always."""
    monkeypatch.setattr(consume, "_PORTION", portion)
    bench, count = await fresh_bench(servers.kafka, partitions=3), 2000
    draw = random.Random(seed)  # noqa: S311 - no secrets
    invalid = frozenset(draw.sample(range(count), 20))
    order, lives = Order(), 0
    await bench.publish(range(count))

    def over() -> bool:
        return len(order.taken) == count - len(invalid)

    async with asyncio.timeout(600):
        while not over():
            before = order.taken.total()
            async with AsyncExitStack() as members:
                for _ in range(draw.randint(1, 2)):
                    handler, size = Moody(order, draw, invalid), draw.randint(5, 40)
                    member = bench.consumers(handler, max_records=size, limits=NO_LIMITS, retry=IMPATIENT)
                    await members.enter_async_context(member)
                    # On a slow machine a life of a second might end before its members have joined.
                    await until(lambda: over() or order.taken.total() > before)  # noqa: B023 (waited for here)
                    with suppress(TimeoutError):
                        await until(over, draw.random())
            lives += 1
            behind = [await bench.committed(partition) <= order.upto(partition) for partition in range(3)]
            assert all(behind), f"committed further than handled in life {lives}"
    figures = f"handled={len(order.taken)} lives={lives} twice={order.twice} gaps={len(order.gaps)}"
    print(f"AHEAD seed={seed} portion={portion} {figures}")
    assert order.gaps == []
    assert set(order.taken) == set(range(count)) - invalid
