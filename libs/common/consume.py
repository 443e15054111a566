"""Consumers of one service: subscribe, start, watch, stop. The rules of handling are in `subscription.py`.

A handler is given the good records of a batch, in order of each partition, and may raise:

- a failure that passes by itself (`failures.is_transient`): it is called again, with pauses. When the budget is
  used up nothing is committed, the batch is read again, `ready()` tells why; this never ends in dead letters;
- `InvalidRecord(position, reason)`: that record is dead-lettered, the others are given again;
- anything else: a bug. The batch is halved down to the bad records; those are dead-lettered.

Hence a handler may see a record several times and must write so that this changes nothing. Too many dead letters
hold a partition (`dead_letter_limits.py`): `ready()` tells why; a restart, or each `cool_off`, lets one record try.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, cast, overload

from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka import Topic as KafkaTopic
from faststream.kafka.message import FAKE_CONSUMER
from pydantic import TypeAdapter

from libs.common.ahead import Ahead
from libs.common.broker import Publisher, group_name, physical_name
from libs.common.clock import Clock, shifted_clock
from libs.common.dead_letter import DeadLetter
from libs.common.dead_letter_limits import DeadLetterLimits
from libs.common.decode import Decoder
from libs.common.failures import RetryPolicy, is_transient
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.records import E, Handler, InvalidRecord, InvalidRecords, Raw, Record
from libs.common.settings import CommonSettings
from libs.common.subscription import Carrier, DeadLetterHook, Subscription
from libs.common.topics import Topic

__all__ = [
    "Consumers",
    "DeadLetter",
    "DeadLetterLimits",
    "InvalidRecord",
    "InvalidRecords",
    "Record",
    "RetryPolicy",
    "is_transient",
]
_LAG_INTERVAL = 5.0
_FETCH_BYTES = 3 * 1024 * 1024
# Of compressed ones; generous.
_BYTES_A_RECORD = 512
# Small enough to be decoded while the processor's caches hold it.
_PORTION = 500


class Consumers:
    """All subscriptions of one service on one broker. Start after the database, stop before it."""

    def __init__(
        self,
        service: str,
        broker: KafkaBroker,
        settings: CommonSettings,
        metrics: MessagingMetrics,
        *,
        clock: Clock | None = None,
        limits: DeadLetterLimits | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._group = group_name(settings, service)
        clock = clock or shifted_clock(settings.clock_offset)
        publisher = Publisher(broker, settings, service=service, clock=clock)
        self._carrier = Carrier(
            self._group, publisher, metrics, clock, limits or DeadLetterLimits(), retry or RetryPolicy()
        )
        self._subscriptions: list[tuple[Subscription[Any], Any]] = []
        self._lag_task: asyncio.Task[None] | None = None

    @overload
    def subscribe(
        self,
        topic: Topic,
        model: type[E] | TypeAdapter[E],
        handler: Handler[E],
        *,
        max_records: int = 500,
        on_dead_letter: Callable[[DeadLetter], Awaitable[None]] | None = None,
    ) -> None: ...

    @overload
    def subscribe(
        self,
        topic: Topic,
        model: object,
        handler: Handler[Any],
        *,
        max_records: int = 500,
        on_dead_letter: Callable[[DeadLetter], Awaitable[None]] | None = None,
    ) -> None: ...

    def subscribe(
        self,
        topic: Topic,
        model: Any,
        handler: Handler[Any],
        *,
        max_records: int = 500,
        on_dead_letter: DeadLetterHook | None = None,
    ) -> None:
        """Handle the events of a topic; `model` is an event class or a union of them.

        `on_dead_letter` is called after the broker has taken a dead letter and before its offset is committed.
        It is repeated while it fails in passing; another failure of it is logged and counted.
        """
        portion = min(max_records, _PORTION)
        subscription: Subscription[Any] = Subscription(
            topic,
            physical_name(self._settings, topic.dead_letter),
            Decoder(topic, model, self._settings.default_tenant),
            handler,
            on_dead_letter,
            self._carrier,
            Ahead(max_records, portion),
        )
        subscriber = self._broker.subscriber(
            KafkaTopic(physical_name(self._settings, topic.name), declare=False),
            batch=True,
            max_records=portion,
            batch_timeout_ms=100,
            # A partition is asked again when all that it sent is taken: so it sends a batch, not a part of one.
            max_partition_fetch_bytes=max(_FETCH_BYTES, max_records * _BYTES_A_RECORD),
            group_id=self._group,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1_000,
            rebalance_timeout_ms=30_000,
            max_poll_interval_ms=300_000,
            listener=subscription,
            parser=_as_it_is,
            decoder=_raw_batch,
            no_reply=True,
        )
        subscription.consumer = lambda: subscriber.consumer
        subscriber(subscription.__call__)
        self._subscriptions.append((subscription, subscriber))

    async def start(self) -> None:
        """Connect and consume. Raises what the broker's client raises: the platform starts the process again."""
        await self._broker.connect()
        # Together, so that the group settles once and not once for each subscription.
        await asyncio.gather(*(subscriber.start() for _, subscriber in self._subscriptions))
        self._lag_task = asyncio.create_task(self._watch_lag())

    async def stop(self) -> None:
        """Begin nothing more, finish and commit the batches in hand, leave the group, disconnect."""
        if self._lag_task is not None:
            self._lag_task.cancel()
        patience = self._broker.config.graceful_timeout or 0.0
        await asyncio.gather(*(subscription.stop(patience) for subscription, _ in self._subscriptions))
        await self._broker.stop()

    def ready(self) -> str | None:
        """None, or why the service is not ready."""
        if self._lag_task is None:
            return "consumers are not started"
        reasons = [subscription.reason for subscription, _ in self._subscriptions]
        reasons += [
            f"the consumer of {subscription.topic.name} is not running"
            for subscription, subscriber in self._subscriptions
            if all(task.done() for task in subscriber.tasks)
        ]
        return "; ".join(filter(None, reasons)) or None

    async def _watch_lag(self) -> None:
        while True:
            for subscription, _ in self._subscriptions:
                with suppress(KafkaError, TimeoutError):
                    async with asyncio.timeout(_LAG_INTERVAL):
                        await subscription.report_lag()
            await asyncio.sleep(_LAG_INTERVAL)


async def _as_it_is(batch: Sequence[Raw]) -> KafkaMessage:
    # FastStream's own parser decodes headers as UTF-8: one bad byte would lose the whole batch.
    # And the message of the context outlives its handling, in every timer that was set meanwhile: the event loop keeps
    # cancelled timers by the hundred. So it holds the batch in a list, which the subscription empties.
    return KafkaMessage(body=list(batch), raw_message=tuple(batch[:1]), consumer=FAKE_CONSUMER)


async def _raw_batch(message: KafkaMessage) -> list[Raw]:
    return cast(list[Raw], message.body)
