"""Many that send at once, on the real broker: each gets its turn."""

import asyncio

import pytest

from tests.support.messaging import Bench, fresh_bench
from tests.support.servers import Servers

CALLERS, TIMES, MESSAGES = 150, 8, 20


@pytest.fixture
async def bench(servers: Servers) -> Bench:
    return await fresh_bench(servers.kafka, partitions=1)


async def test_of_many_that_send_to_one_partition_at_once_none_is_refused(bench: Bench) -> None:
    """The client counts the time that a batch waits for its place again and again while others go first."""
    async with bench.publisher() as publisher:

        async def send(caller: int) -> None:
            first = caller * TIMES * MESSAGES
            for start in range(first, first + TIMES * MESSAGES, MESSAGES):
                numbers = range(start, start + MESSAGES)
                await publisher.send_many(bench.topic, [("key", bench.event(number), {}) for number in numbers])

        async def trickle() -> None:
            for number in range(TIMES * MESSAGES):
                await publisher.send(bench.topic, bench.event(number), key="key")

        callers = [*map(send, range(CALLERS)), *(trickle() for _ in range(20))]
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    print(f"SENDING callers={CALLERS} messages={CALLERS * TIMES * MESSAGES} refused={len(refused)}")
    assert refused == []
