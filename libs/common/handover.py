"""Messages on their way to the producer, packed into batches: a future for each costs more than its bytes."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner, murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder

# Below the broker's own limit (1,048,588 for a batch): a batch that the broker refuses leaves a gap in
# the sequence numbers of an idempotent producer, after which the partition takes nothing from it any more.
MAX_MESSAGE_BYTES: Final = 1_000_000
_VALUE: Final = itemgetter(1)
_size_of: Final = DefaultRecordBatchBuilder.estimate_size_in_bytes


Queues = defaultdict[TopicPartition, asyncio.Lock]
"""Whoever has a batch for a partition has its turn by arrival: who waits longest might else wait for ever."""


class Message(NamedTuple):
    """A message as the broker gets it; `topic` is the physical name."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Partitioner(DefaultPartitioner):  # type: ignore[misc]
    """The usual one; it remembers the hashes of keys, because it is written in Python and keys come again and again."""

    _hash = staticmethod(lru_cache(maxsize=8192)(murmur2))

    @classmethod
    def __call__(cls, key: bytes | None, all_partitions: list[int], available: list[int]) -> int:
        if key is None:
            chosen: int = super().__call__(key, all_partitions, available)
            return chosen
        place: int = cls._hash(key) & 0x7FFFFFFF
        return all_partitions[place % len(all_partitions)]


@dataclass(slots=True)
class _Pack:
    """Messages of one partition, by their positions among all that are sent."""

    builder: BatchBuilder
    positions: list[int] = field(default_factory=list)


class Handover:
    """What became of the messages of one send: `pending` futures with the positions that they tell of, or `failed`."""

    def __init__(self, producer: AIOKafkaProducer, queues: Queues) -> None:
        self.pending: list[tuple[asyncio.Future[Any], Sequence[int]]] = []
        self.failed: dict[int, Exception] = {}
        self._producer = producer
        self._queues = queues
        self._packs: dict[TopicPartition, _Pack] = {}
        self._places: dict[tuple[str, bytes | None], TopicPartition] = {}

    async def give(self, messages: Sequence[Message]) -> None:
        """Hand all over, in order of each partition; waits where the producer has a batch of the partition waiting."""
        for position, message in enumerate(messages):
            try:
                if len(messages) == 1:
                    await self._alone(position, message)
                else:
                    await self._pack(position, message)
            except Exception as error:
                self.failed[position] = error
        for place in list(self._packs):
            await self._submit(place)

    async def wait(self) -> None:
        """Until each is acknowledged or refused."""
        for future, _ in self.pending:
            if not future.done():
                await asyncio.wait([future])

    async def _alone(self, position: int, message: Message) -> None:
        """One joins what others send at the same time."""
        headers = _filled(message.headers)
        future = await self._producer.send(message.topic, message.value, message.key, headers=headers)
        self.pending.append((future, [position]))

    async def _pack(self, position: int, message: Message) -> None:
        topic, key, value, headers = message
        headers = _filled(headers)
        if _size_of(key, value, headers) > MAX_MESSAGE_BYTES:
            raise MessageSizeTooLargeError
        place = self._places.get((topic, key)) or await self._place_of(topic, key)
        pack = self._packs.get(place) or self._begin(place)
        if pack.builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
            await self._submit(place)
            pack = self._begin(place)
            pack.builder.append(timestamp=None, key=key, value=value, headers=headers)
        pack.positions.append(position)

    async def _place_of(self, topic: str, key: bytes | None) -> TopicPartition:
        partitions = list(await self._producer.partitions_for(topic))
        place = TopicPartition(topic, Partitioner()(key, partitions, partitions))
        if key is not None:
            self._places[topic, key] = place
        return place

    def _begin(self, place: TopicPartition) -> _Pack:
        pack = self._packs[place] = _Pack(self._producer.create_batch())
        return pack

    async def _submit(self, place: TopicPartition) -> None:
        pack = self._packs.pop(place)
        try:
            async with self._queues[place]:
                future = await self._put(pack.builder, place)
        except Exception as error:
            self.failed |= dict.fromkeys(pack.positions, error)
        else:
            self.pending.append((future, pack.positions))

    async def _put(self, builder: BatchBuilder, place: TopicPartition) -> asyncio.Future[Any]:
        """Wait until the producer has no batch of the partition waiting; how long, its caller decides.

        The client subtracts the time that has passed from its own limit again and again while others go first, so that
        a minute is over within a second.
        """
        while True:
            with suppress(KafkaTimeoutError):
                found: asyncio.Future[Any] = await self._producer.send_batch(
                    builder, place.topic, partition=place.partition
                )
                return found


def _filled(headers: Sequence[tuple[str, bytes | None]]) -> Sequence[tuple[str, bytes | None]]:
    return headers if all(map(_VALUE, headers)) else [(name, value or b"") for name, value in headers]
