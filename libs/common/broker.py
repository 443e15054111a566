"""The Kafka connection of a process: names, a FastStream broker whose settings lose nothing, pipelined sending."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from logging import DEBUG, getLogger
from operator import itemgetter
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
)
from aiokafka.partitioner import DefaultPartitioner, murmur2
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from libs.common.clock import Clock, shifted_clock
from libs.common.envelope import HeaderWriter
from libs.common.errors import TooLarge, Unavailable
from libs.common.events import AnyEvent
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.messaging_spans import publish_span
from libs.common.settings import CommonSettings
from libs.common.telemetry import current_traceparent
from libs.common.topics import Topic

# Below the broker's own limit (1,048,588 for a batch): a batch that the broker refuses leaves a gap in
# the sequence numbers of an idempotent producer, after which the partition takes nothing from it any more.
MAX_MESSAGE_BYTES: Final = 1_000_000
# A partition takes one batch at a time: what is sent at once under one key waits for a round trip per batch.
MAX_BATCH_BYTES: Final = 512 * 1024
# Records of a topic are much alike: a batch of them shrinks to a tenth, which spares more than it costs.
COMPRESSION: Final = "zstd"
_WINDOW: Final = 5_000
_VALUE: Final = itemgetter(1)
_BROKEN: Final = (OutOfOrderSequenceNumber, ProducerFenced, IllegalOperation, ProducerClosed)

NO_EXTENSIONS: Final[Mapping[str, str]] = {}


class PublishFailed(Unavailable):
    """The broker did not acknowledge in time. What was sent may arrive yet: consumers take it twice."""


def physical_name(settings: CommonSettings, name: str) -> str:
    """Name of a topic (or dead-letter topic) at the broker."""
    return settings.topic_prefix + name


def group_name(settings: CommonSettings, service: str) -> str:
    """Consumer group of a service: dashes, as outside."""
    return settings.topic_prefix + service.replace("_", "-")


def build_broker(settings: CommonSettings, service: str, *, graceful_timeout: float = 10.0) -> KafkaBroker:
    """A broker that waits for all replicas, writes each record once, never creates topics and commits nothing itself.

    `graceful_timeout` seconds are left to a handler when the broker stops.
    """
    return KafkaBroker(
        settings.kafka.split(","),
        client_id=f"tidemark-{service.replace('_', '-')}",
        acks="all",
        enable_idempotence=True,
        # Longer than a restart of the broker takes.
        request_timeout_ms=60_000,
        max_request_size=MAX_MESSAGE_BYTES,
        max_batch_size=MAX_BATCH_BYTES,
        compression_type=COMPRESSION,
        graceful_timeout=graceful_timeout,
        partitioner=_Partitioner(),
        ack_policy=AckPolicy.MANUAL,
        apply_types=False,
        logger=getLogger("tidemark.broker"),
        log_level=DEBUG,
    )


class _Partitioner(DefaultPartitioner):  # type: ignore[misc]
    """The usual one; it remembers the hashes of keys, because it is written in Python and keys come again and again."""

    _hash = staticmethod(lru_cache(maxsize=8192)(murmur2))

    @classmethod
    def __call__(cls, key: bytes | None, all_partitions: list[int], available: list[int]) -> int:
        if key is None:
            chosen: int = super().__call__(key, all_partitions, available)
            return chosen
        place: int = cls._hash(key) & 0x7FFFFFFF
        return all_partitions[place % len(all_partitions)]


class Message(NamedTuple):
    """A message as the broker gets it; `topic` is the physical name."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Publisher:
    """Sends events and returns when the broker has acknowledged them. Many at once are pipelined."""

    def __init__(
        self,
        broker: KafkaBroker,
        settings: CommonSettings,
        *,
        service: str,
        metrics: MessagingMetrics | None = None,
        clock: Clock | None = None,
        timeout: float = 60.0,
    ) -> None:
        """`timeout`: seconds without acknowledgement (of one event, or of 5,000 pipelined ones) until PublishFailed."""
        self.source = f"/tidemark/{service.replace('_', '-')}"
        self._broker = broker
        self._settings = settings
        self._metrics = metrics
        self._clock = clock or shifted_clock(settings.clock_offset)
        self._timeout = timeout
        self._renewing = asyncio.Lock()

    async def send(
        self,
        topic: Topic,
        event: AnyEvent,
        *,
        key: str,
        source: str | None = None,
        extensions: Mapping[str, str] = NO_EXTENSIONS,
        timeout: float | None = None,
    ) -> None:
        """One event; acknowledged when this returns. Raises PublishFailed, or TooLarge above 1,000,000 bytes."""
        with publish_span(topic.name):
            message = self._messages(topic, [(key, event, extensions)], source)
            _raise_first(await self.deliver(message, timeout=timeout))
        self._count(topic, 1)

    async def send_many(self, topic: Topic, events: Iterable[tuple[str, AnyEvent, Mapping[str, str]]]) -> None:
        """(key, event, extensions) each; all acknowledged when this returns, else the first failure is raised.

        An extension `traceparent` takes the place of the current trace.
        """
        with publish_span(topic.name) as span:
            left, sent = iter(events), 0
            while window := list(islice(left, _WINDOW)):
                _raise_first(await self.deliver(self._messages(topic, window, None)))
                sent += len(window)
            span.set_attribute("messaging.batch.message_count", sent)
        self._count(topic, sent)

    def _messages(
        self, topic: Topic, events: Sequence[tuple[str, AnyEvent, Mapping[str, str]]], source: str | None
    ) -> list[Message]:
        """Messages of one moment and one trace."""
        name = physical_name(self._settings, topic.name)
        headers = HeaderWriter(source or self.source, self._clock(), current_traceparent())
        return [
            Message(name, key.encode(), event.to_json(), headers(event, extensions))
            for key, event, extensions in events
        ]

    def _count(self, topic: Topic, records: int) -> None:
        if self._metrics is not None:
            self._metrics.published.labels(topic.name).inc(records)

    async def deliver(self, messages: Sequence[Message], *, timeout: float | None = None) -> list[Exception | None]:
        """Messages as they are, in order, pipelined: what became of each (None: acknowledged)."""
        limit = self._timeout if timeout is None else timeout
        outcomes: list[Exception | None] = [PublishFailed("The broker did not acknowledge in time.")] * len(messages)
        pending: dict[int, asyncio.Future[Any]] = {}
        try:
            async with asyncio.timeout(limit):
                await self._hand_over(messages, outcomes, pending)
                for future in pending.values():  # they come in order, by the hundred: few are waited for
                    if not future.done():
                        await asyncio.wait([future])
        except TimeoutError:
            pass
        for position, future in pending.items():
            if future.done():
                outcomes[position] = _as_failure(future.exception())
            else:
                future.add_done_callback(_retrieve)
        await self._renew_if_broken(outcomes)
        return outcomes

    async def _hand_over(
        self, messages: Sequence[Message], outcomes: list[Exception | None], pending: dict[int, asyncio.Future[Any]]
    ) -> None:
        producer = _producer(self._broker)
        for position, (topic, key, value, headers) in enumerate(messages):
            try:
                pending[position] = await producer.send(topic, value, key, headers=_filled(headers))
            except Exception as error:
                outcomes[position] = _as_failure(error)

    async def _renew_if_broken(self, outcomes: Sequence[Exception | None]) -> None:
        """An idempotent producer that lost its place refuses everything for ever: start a new one."""
        if not any(isinstance(error and error.__cause__, _BROKEN) for error in outcomes):
            return
        broken = _producer(self._broker)
        async with self._renewing:
            if _producer(self._broker) is broken:
                fresh = AIOKafkaProducer(**self._broker._connection_kwargs)
                await self._broker.config.broker_config.producer.connect(fresh, serializer=None)
        with suppress(Exception):
            async with asyncio.timeout(5):
                await broken.stop()


def _producer(broker: KafkaBroker) -> AIOKafkaProducer:
    # FastStream's own publish costs half of the rate and allows no binary headers.
    return broker.config.broker_config.producer._producer.producer  # type: ignore[attr-defined]


def _filled(headers: Sequence[tuple[str, bytes | None]]) -> Sequence[tuple[str, bytes | None]]:
    return headers if all(map(_VALUE, headers)) else [(name, value or b"") for name, value in headers]


def _as_failure(error: BaseException | None) -> Exception | None:
    if error is None:
        return None
    if isinstance(error, MessageSizeTooLargeError):
        failure: Exception = TooLarge(f"The event is larger than {MAX_MESSAGE_BYTES:,} bytes.")
    else:
        failure = PublishFailed(f"The event could not be published ({type(error).__name__}).")
    failure.__cause__ = error
    return failure


def _retrieve(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


def _raise_first(outcomes: Iterable[Exception | None]) -> None:
    for error in outcomes:
        if error is not None:
            raise error
