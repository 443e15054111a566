"""The Kafka connection of a process: names, a FastStream broker whose settings lose nothing, pipelined sending."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from logging import DEBUG, getLogger
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
)
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from libs.common.clock import Clock, shifted_clock
from libs.common.envelope import HeaderWriter
from libs.common.errors import TooLarge, Unavailable
from libs.common.events import AnyEvent
from libs.common.handover import MAX_MESSAGE_BYTES, Handover, Message, Partitioner, Queues
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.messaging_spans import publish_span
from libs.common.settings import CommonSettings
from libs.common.telemetry import current_traceparent
from libs.common.topics import Topic

# A partition takes one batch at a time: what is sent at once under one key waits for a round trip per batch.
MAX_BATCH_BYTES: Final = MAX_MESSAGE_BYTES
# Records of a topic are much alike: a batch of them shrinks to a tenth, which spares more than it costs.
COMPRESSION: Final = "zstd"
_WINDOW: Final = 5_000
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
        partitioner=Partitioner(),
        ack_policy=AckPolicy.MANUAL,
        apply_types=False,
        logger=getLogger("tidemark.broker"),
        log_level=DEBUG,
    )


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
        self._queues: Queues = defaultdict(asyncio.Lock)

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
        handover = Handover(_producer(self._broker), self._queues)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout if timeout is None else timeout):
                await handover.give(messages)
                await handover.wait()
        outcomes: list[Exception | None] = [PublishFailed("The broker did not acknowledge in time.")] * len(messages)
        for position, error in handover.failed.items():
            outcomes[position] = _as_failure(error)
        for future, positions in handover.pending:
            if not future.done():
                future.add_done_callback(_retrieve)
                continue
            outcome = _as_failure(future.exception())
            for position in positions:
                outcomes[position] = outcome
        await self._renew_if_broken(outcomes)
        return outcomes

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
