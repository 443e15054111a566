"""Replay of dead letters: put them back on their topic, once the cause is repaired.

Bounded and repeatable: it reads `<topic>.dlq` from where the last replay ended up to the end that it found when it
began, publishes key, value and headers as they were, counts in `dl-replayed`, and commits what the broker took. A
message that came back `max_replays` times, or whose body was dropped, stays where it is and is reported as kept.
Order among replayed messages and live ones is lost; handlers do not need it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from libs.common.broker import Publisher, build_broker, group_name, physical_name
from libs.common.dead_letter import BODY_DROPPED, PREFIX, REPLAYED
from libs.common.handover import Message
from libs.common.settings import CommonSettings
from libs.common.topics import Topic

_SERVICE: Final = "replay"
_BATCH: Final = 100
_Raw: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Dead letters read, put back on their topic, and kept for good; how many lie behind the last one read."""

    topic: str
    read: int
    replayed: int
    kept: int
    left: int


async def replay(
    settings: CommonSettings, topic: Topic, max_records: int, *, max_replays: int = 3, timeout: float = 60.0
) -> ReplayReport:
    """Replay at most `max_records` dead letters of a topic. Raises PublishFailed, and what aiokafka raises."""
    broker = build_broker(settings, _SERVICE)
    consumer = AIOKafkaConsumer(
        physical_name(settings, topic.dead_letter),
        bootstrap_servers=settings.kafka.split(","),
        group_id=group_name(settings, _SERVICE),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await broker.connect()
    try:
        await consumer.start()
        publisher = Publisher(broker, settings, service=_SERVICE, timeout=timeout)
        return await _Replay(settings, topic, consumer, publisher, max_replays).run(max_records)
    finally:
        await consumer.stop()
        await broker.stop()


class _Replay:
    def __init__(
        self,
        settings: CommonSettings,
        topic: Topic,
        consumer: AIOKafkaConsumer,
        publisher: Publisher,
        max_replays: int,
    ) -> None:
        self._topic = topic
        self._target = physical_name(settings, topic.name)
        self._consumer = consumer
        self._publisher = publisher
        self._max_replays = max_replays

    async def run(self, max_records: int) -> ReplayReport:
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        read = replayed = 0
        while read < max_records and await self._left(ends):
            found = await self._consumer.getmany(timeout_ms=1000, max_records=min(_BATCH, max_records - read))
            for partition, records in found.items():
                wanted = [raw for raw in records if raw.offset < ends[partition]]
                replayed += await self._put_back(wanted)
                read += len(wanted)
                if wanted:
                    await self._consumer.commit({partition: wanted[-1].offset + 1})
        return ReplayReport(self._topic.name, read, replayed, read - replayed, await self._left(ends))

    async def _left(self, ends: dict[TopicPartition, int]) -> int:
        positions = [(await self._consumer.position(partition), end) for partition, end in ends.items()]
        return sum(max(0, end - position) for position, end in positions)

    async def _put_back(self, records: Sequence[_Raw]) -> int:
        messages = [message for raw in records if (message := self._message(raw))]
        for error in await self._publisher.deliver(messages):
            if error is not None:
                raise error
        return len(messages)

    def _message(self, raw: _Raw) -> Message | None:
        headers = dict(raw.headers)
        count = int(headers.get(REPLAYED) or b"0")
        if count >= self._max_replays or BODY_DROPPED in headers:
            return None
        original = [(name, text) for name, text in raw.headers if not name.startswith(PREFIX)]
        return Message(self._target, raw.key, raw.value, [*original, (REPLAYED, str(count + 1).encode())])
