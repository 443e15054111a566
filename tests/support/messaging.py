"""Publishing and consuming on the real broker under a topic prefix of the test's own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from prometheus_client import CollectorRegistry

from deploy.setup.topics import create_topics
from libs.common.broker import Publisher, build_broker, group_name, physical_name
from libs.common.consume import Consumers, DeadLetter, DeadLetterLimits, Record, RetryPolicy
from libs.common.events import UsageRecompute
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.settings import CommonSettings
from libs.common.topics import USAGE_RECOMPUTE, Topic

QUICK = RetryPolicy(first=0.02, cap=0.1, budget=0.5)
Handler = Callable[[Sequence[Record[UsageRecompute]]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bench:
    """A topic and its dead letters, empty, and what is needed to write and read them."""

    settings: CommonSettings
    topic: Topic = USAGE_RECOMPUTE
    tenant: UUID = field(default_factory=uuid4)

    @property
    def name(self) -> str:
        return physical_name(self.settings, self.topic.name)

    @property
    def dead_letters(self) -> str:
        return physical_name(self.settings, self.topic.dead_letter)

    def event(self, number: int) -> UsageRecompute:
        """An event that carries a number."""
        return UsageRecompute(tenant=self.tenant, space_id=UUID(int=number))

    @asynccontextmanager
    async def publisher(self, **options: Any) -> AsyncIterator[Publisher]:
        broker = build_broker(self.settings, "test")
        await broker.connect()
        try:
            yield Publisher(broker, self.settings, service="test", **options)
        finally:
            await broker.stop()

    async def publish(self, numbers: Sequence[int]) -> None:
        """Events with these numbers, each under a key of its own."""
        async with self.publisher() as publisher:
            await publisher.send_many(self.topic, [(str(number), self.event(number), {}) for number in numbers])

    async def write(self, *values: bytes | None, headers: Sequence[tuple[str, bytes]] = (), partition: int = 0) -> None:
        """Messages as a stranger may write them."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka, max_request_size=2_000_000)
        await producer.start()
        try:
            for value in values:
                await producer.send_and_wait(self.name, value, b"\xff", partition=partition, headers=list(headers))
        finally:
            await producer.stop()

    @asynccontextmanager
    async def consumers(
        self,
        handler: Handler,
        *,
        limits: DeadLetterLimits | None = None,
        retry: RetryPolicy = QUICK,
        on_dead_letter: Callable[[DeadLetter], Awaitable[None]] | None = None,
        max_records: int = 100,
        registry: CollectorRegistry | None = None,
        graceful_timeout: float = 10.0,
    ) -> AsyncIterator[Consumers]:
        """A running consumer of the topic, as a service `worker`."""
        broker = build_broker(self.settings, "worker", graceful_timeout=graceful_timeout)
        metrics = MessagingMetrics(registry or CollectorRegistry())
        running = Consumers("worker", broker, self.settings, metrics, limits=limits, retry=retry)
        running.subscribe(self.topic, UsageRecompute, handler, max_records=max_records, on_dead_letter=on_dead_letter)
        await running.start()
        try:
            yield running
        finally:
            await running.stop()

    async def read(self, name: str) -> list[Any]:
        """All messages of a topic, by its physical name."""
        reader = AIOKafkaConsumer(name, bootstrap_servers=self.settings.kafka, auto_offset_reset="earliest")
        await reader.start()
        try:
            ends = await reader.end_offsets(reader.assignment())
            found: list[Any] = []
            while len(found) < sum(ends.values()):
                for records in (await reader.getmany(timeout_ms=200)).values():
                    found += records
            return found
        finally:
            await reader.stop()

    async def committed(self, partition: int = 0) -> int:
        """Offset that the service's group has committed."""
        group = group_name(self.settings, "worker")
        reader = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka, group_id=group, enable_auto_commit=False)
        await reader.start()
        try:
            return await reader.committed(TopicPartition(self.name, partition)) or 0
        finally:
            await reader.stop()


async def fresh_bench(kafka: str, partitions: int = 2, topic: Topic = USAGE_RECOMPUTE) -> Bench:
    """A topic under a prefix that nobody used."""
    settings = CommonSettings(kafka=kafka, topic_prefix=f"t{uuid4().hex[:8]}.")
    bench = Bench(settings, topic)
    await create_topics(kafka, [NewTopic(bench.name, partitions, 1), NewTopic(bench.dead_letters, 1, 1)])
    return bench


async def until(condition: Callable[[], object], timeout: float = 120.0) -> float:
    """Wait until the condition holds; seconds that it took. Raises TimeoutError."""
    begin = time.monotonic()
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 (any condition, not an event of ours)
            await asyncio.sleep(0.01)
    return time.monotonic() - begin


def numbers(records: Sequence[Record[UsageRecompute]]) -> list[int]:
    """The numbers that the events carry."""
    return [record.event.space_id.int for record in records if record.event.space_id is not None]
