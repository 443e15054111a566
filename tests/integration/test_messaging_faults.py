"""kill -9 of the broker while events are sent and taken, a producer that lost its place, a broker that is away."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.infrastructure import Infrastructure, remove_state
from deploy.local.kafka import KafkaNode
from libs.common.broker import PublishFailed, _producer
from libs.common.consume import Record
from libs.common.events import UsageRecompute
from tests.support.messaging import Bench, fresh_bench, numbers, until


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaNode]:
    """A broker of the module's own, which may be killed."""
    state: Path = tmp_path_factory.mktemp("broker")
    try:
        async with Infrastructure.on_free_ports(state, only=("kafka",)) as running:
            yield running.kafka
    finally:
        remove_state(state)


@pytest.fixture
async def bench(node: KafkaNode) -> Bench:
    return await fresh_bench(node.bootstrap_servers)


async def grown(numbers: list[int], more: int) -> None:
    before = len(numbers)
    await until(lambda: len(numbers) > before + more)


async def test_a_killed_broker_loses_nothing_that_it_acknowledged(bench: Bench, node: KafkaNode) -> None:
    taken: Counter[int] = Counter()
    acknowledged: list[int] = []
    stop = asyncio.Event()

    async def handler(batch: Sequence[Record[UsageRecompute]]) -> None:
        taken.update(numbers(batch))

    async def feed() -> None:
        async with bench.publisher() as publisher:
            number = 0
            while not stop.is_set():
                block = range(number, number + 50)
                await publisher.send_many(bench.topic, [(str(each), bench.event(each), {}) for each in block])
                acknowledged.extend(block)
                number += 50
                await asyncio.sleep(0.01)

    async with bench.consumers(handler):
        feeding = asyncio.create_task(feed())
        outages = []
        for _ in range(2):
            await grown(acknowledged, 500)
            killed = time.monotonic()
            await node.kill()
            await node.start()
            await grown(acknowledged, 100)
            outages.append(time.monotonic() - killed)
        stop.set()
        await feeding
        await until(lambda: set(acknowledged) <= set(taken))
    lost = len(set(acknowledged) - set(taken))
    twice = sum(count - 1 for count in taken.values())
    slowest = max(outages)
    print(f"BROKER_KILL kills=2 acked={len(acknowledged)} lost={lost} twice={twice} outage_s={slowest:.1f}")
    assert lost == 0


async def test_publishing_without_a_broker_fails_in_time(bench: Bench, node: KafkaNode) -> None:
    async with bench.publisher() as publisher:
        await publisher.send(bench.topic, bench.event(1), key="k")
        await node.kill()
        begin = time.monotonic()
        with pytest.raises(PublishFailed) as caught:
            await publisher.send(bench.topic, bench.event(2), key="k", timeout=1)
        seconds = time.monotonic() - begin
        assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "1")
        await node.start()
        await publisher.send(bench.topic, bench.event(3), key="k")
    print(f"BROKER_AWAY refused_after_s={seconds:.1f}")
    assert len(await bench.read(bench.name)) in (2, 3)


async def test_a_producer_that_lost_its_place_is_replaced(bench: Bench) -> None:
    async with bench.publisher() as publisher:
        await publisher.send(bench.topic, bench.event(1), key="k")
        producer: AIOKafkaProducer = _producer(publisher._broker)
        for partition in list(producer._txn_manager._sequence_numbers):
            producer._txn_manager.increment_sequence_number(partition, 5)
        with pytest.raises(PublishFailed):
            await publisher.send(bench.topic, bench.event(2), key="k")
        await publisher.send(bench.topic, bench.event(3), key="k")
    assert len(await bench.read(bench.name)) == 2
