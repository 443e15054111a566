"""One topic as one service reads it: decode, handle, bury, commit, in that order, for each batch.

While a batch is settled the next one gathers: what comes is fetched and decoded in small portions, which stay in the
processor's caches, and waits for its turn. Where the consumer went back meanwhile it is dropped then: it will be read
again, behind what must go before it.
"""

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from pydantic import ValidationError

from libs.common.ahead import Ahead, Gathered
from libs.common.broker import Publisher
from libs.common.clock import Clock
from libs.common.dead_letter import DeadLetter, dead_letter, to_message, without_body
from libs.common.dead_letter_limits import DeadLetterLimits
from libs.common.decode import Decoder
from libs.common.envelope import TRACEPARENT, EnvelopeError, header_map, moment_of
from libs.common.errors import TooLarge
from libs.common.failures import RetryPolicy, describe
from libs.common.handover import Message
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.messaging_spans import process_span
from libs.common.partition_gate import PartitionGate, Verdict
from libs.common.records import E, Handler, Raw, Record
from libs.common.settle import HANDLED, Bad, GaveUp, Outcome, Patience, Settlement
from libs.common.topics import Topic
from libs.common.turns import Turns

DeadLetterHook = Callable[[DeadLetter], Awaitable[None]]

# Below the time that the group waits for its members to join again (rebalance_timeout_ms).
_REVOKE_PATIENCE = 20.0
# Twice the retry budget; well below max_poll_interval_ms, after which the member is taken for dead.
_STUCK_AFTER = 120.0
_COMMIT_SECONDS = 10.0
_POSITION_SECONDS = 5.0
_DECODED_AT_ONCE = 100
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Carrier:
    """What all subscriptions of a process share."""

    group: str
    publisher: Publisher
    metrics: MessagingMetrics
    clock: Clock
    limits: DeadLetterLimits
    retry: RetryPolicy


class Subscription(ConsumerRebalanceListener, Generic[E]):  # type: ignore[misc]
    """Nothing is committed before its handler returned, or its dead letter was acknowledged and its hook called."""

    def __init__(
        self,
        topic: Topic,
        dead_letter_topic: str,
        decoder: Decoder[E],
        handler: Handler[E],
        on_dead_letter: DeadLetterHook | None,
        carrier: Carrier,
        ahead: Ahead[E],
    ) -> None:
        self.topic = topic
        self._dead_letter_topic = dead_letter_topic
        self._decoder = decoder
        self._handler = handler
        self._on_dead_letter = on_dead_letter
        self._carrier = carrier
        self._gate = PartitionGate(topic, carrier.limits, carrier.metrics.paused)
        self._interrupt = asyncio.Event()
        self._turns = Turns()
        self._ahead = ahead
        self._stopping = False
        self._trouble: str | None = None
        self._since: float | None = None
        self._next: dict[TopicPartition, int] = {}
        self._committing: asyncio.Task[None] | None = None
        retried = carrier.metrics.retried.labels(topic.name)
        self._patience = Patience(carrier.retry, self._interrupt, retried)
        self.consumer: Callable[[], AIOKafkaConsumer | None] = lambda: None

    @property
    def reason(self) -> str | None:
        """Why the service is not ready, as far as this topic goes."""
        if self._since is not None and (seconds := time.monotonic() - self._since) > _STUCK_AFTER:
            return f"{self.topic.name}: one batch is in hand for {seconds:.0f} s"
        return self._gate.reason or self._trouble

    async def stop(self, seconds: float) -> None:
        """Retry no more, let the batch in hand finish and commit; the one behind it is left to the next process."""
        self._stopping = True
        self._interrupt.set()
        self._gate.close()
        self._ahead.clear()
        await self._turns.end(seconds)
        await self.committed()

    async def __call__(self, batch: list[Raw]) -> None:
        """Decode a portion of the consumer, empty it, and see to it that it is settled with what waits already.

        Never raises, but for cancellation: FastStream would go on behind the portion.
        """
        turn, fetched = self._turns.round, tuple(batch)
        batch.clear()
        decoded = await self._decoded(fetched)
        if self._is_on(turn):
            self._ahead.put(Gathered.of(fetched, decoded))
            if not self._turns.busy:
                self._turns.take(self._settled_next())
        await self._ahead.room()

    async def _settled_next(self) -> None:
        """Settle what waits; what has come meanwhile is next. Never raises, but for cancellation."""
        consumer, turn, batch = self.consumer(), self._turns.round, self._ahead.take()
        assert consumer is not None
        batch.drop(await self._left(batch, consumer, turn) | self._ahead.reread(batch))
        if batch.raws and self._is_on(turn):
            await self._settled(batch, consumer)
        if len(self._ahead) and not self._stopping:
            self._turns.take(self._settled_next())

    def _is_on(self, turn: int) -> bool:
        return turn == self._turns.round and not self._stopping

    async def _left(self, batch: Gathered[E], consumer: AIOKafkaConsumer, turn: int) -> set[int]:
        """The partitions that are no longer ours, or in which the consumer went back to before the batch's end."""
        while self._is_on(turn):
            try:
                async with asyncio.timeout(_POSITION_SECONDS):
                    return await _not_passed(batch, consumer)
            except (KafkaError, TimeoutError) as error:
                _log.warning("position not known", topic=self.topic.name, error=describe(error))
                await asyncio.sleep(1)
        return set()

    async def _settled(self, batch: Gathered[E], consumer: AIOKafkaConsumer) -> None:
        """Settle one batch. Never raises, but for cancellation."""
        self._next = _places(batch) | self._next
        self._since = time.monotonic()
        try:
            await self._settle(batch.raws, batch.decoded, consumer)
            self._trouble = None
        except GaveUp as error:
            self._retreat(batch, consumer, str(error))
        except Exception as error:
            # Ours, not the handler's: the batch stays uncommitted and is read again.
            _log.error("batch not settled", topic=self.topic.name, error=describe(error))
            self._retreat(batch, consumer, describe(error))
            await asyncio.sleep(1)
        finally:
            self._since = None

    async def _settle(
        self, batch: Sequence[Raw], decoded: Sequence[Record[E] | Outcome], consumer: AIOKafkaConsumer
    ) -> None:
        with process_span(self.topic.name, self._carrier.group, len(batch), _traceparents(batch, decoded)):
            outcomes: list[Outcome | None] = [None if isinstance(each, Record) else each for each in decoded]
            await self._handle(batch, decoded, outcomes)
            verdict = self._gate.judge(batch, outcomes)
            await self._bury(batch, outcomes, verdict)
            await self._commit(verdict, consumer)
        self._gate.accept(verdict, consumer)
        self._gate.release(verdict.commit.keys() - verdict.held.keys())
        self._count(decoded, outcomes)

    async def _decoded(self, batch: Sequence[Raw]) -> list[Record[E] | Outcome]:
        """Each record or what is wrong with it; now and then the client may ask for more, and read it."""
        decoded: list[Record[E] | Outcome] = []
        for start in range(0, len(batch), _DECODED_AT_ONCE):
            await asyncio.sleep(0)
            decoded += [self._decode(raw) for raw in batch[start : start + _DECODED_AT_ONCE]]
        return decoded

    def _decode(self, raw: Raw) -> Record[E] | Outcome:
        if raw.value is None:
            return HANDLED  # a tombstone: deletions are records here
        try:
            return self._decoder(raw)
        except (EnvelopeError, ValidationError) as error:
            return Bad("invalid", type(error).__name__, describe(error), attempts=1)
        except Exception as error:
            return Bad("bug", type(error).__name__, describe(error), attempts=1)

    async def _handle(
        self, batch: Sequence[Raw], decoded: Sequence[Record[E] | Outcome], outcomes: list[Outcome | None]
    ) -> None:
        places = [place for place, each in enumerate(decoded) if isinstance(each, Record)]
        records = [each for each in decoded if isinstance(each, Record)]
        settled: list[Outcome | None] = [None] * len(records)

        def on_bad(position: int, bad: Bad) -> bool:
            outcomes[places[position]] = bad
            for place, outcome in zip(places, settled, strict=True):
                outcomes[place] = outcome
            return not self._gate.judge(batch, outcomes).held

        await Settlement(records, self._handler, self._patience, on_bad, settled).run()
        for place, outcome in zip(places, settled, strict=True):
            outcomes[place] = outcome

    async def _bury(self, batch: Sequence[Raw], outcomes: Sequence[Outcome | None], verdict: Verdict) -> None:
        letters: list[tuple[DeadLetter, Raw]] = []
        for position in verdict.bury:
            bad, raw = outcomes[position], batch[position]
            assert isinstance(bad, Bad)
            letter = dead_letter(
                self.topic, raw, kind=bad.kind, error=bad.error, reason=bad.reason, attempts=bad.attempts
            )
            letters.append((letter, raw))
        if not letters:
            return
        await self._patience.call(partial(self._send, letters))
        for letter, _ in letters:
            self._carrier.metrics.dead_lettered.labels(self.topic.name, letter.kind).inc()
            _log.error(
                "record dead-lettered",
                topic=self.topic.name,
                partition=letter.partition,
                offset=letter.offset,
                kind=letter.kind,
                error=letter.reason,
                event_id=letter.envelope.id,
            )
            await self._tell(letter)

    async def _send(self, letters: Sequence[tuple[DeadLetter, Raw]]) -> None:
        at = self._carrier.clock()
        messages = [
            to_message(
                letter,
                raw.value,
                topic=self.topic,
                physical=self._dead_letter_topic,
                group=self._carrier.group,
                at=at,
            )
            for letter, raw in letters
        ]
        outcomes = await self._carrier.publisher.deliver(messages)
        again: list[Message] = []
        for message, (_, raw), failure in zip(messages, letters, outcomes, strict=True):
            if isinstance(failure, TooLarge):
                again.append(without_body(message, raw.value or b""))
            elif failure is not None:
                raise failure
        if again and any(failures := await self._carrier.publisher.deliver(again)):
            raise next(failure for failure in failures if failure is not None)

    async def _tell(self, letter: DeadLetter) -> None:
        hook = self._on_dead_letter
        if hook is None:
            return
        try:
            await self._patience.call(partial(hook, letter))
        except GaveUp:
            raise
        except Exception as error:
            # A hook must not block the partition: what it would have noted is missing until a deadline closes it.
            self._carrier.metrics.hook_failures.labels(self.topic.name).inc()
            _log.error("dead-letter hook failed", topic=self.topic.name, error=describe(error))

    async def _commit(self, verdict: Verdict, consumer: AIOKafkaConsumer) -> None:
        """Begin to commit, behind what is being committed: the next batch is handled in the meantime."""
        await self.committed()
        if verdict.commit:
            self._committing = asyncio.create_task(self._commit_offsets(verdict.commit, consumer))
        if self._stopping:
            await self.committed()

    async def committed(self) -> None:
        """Wait for the commit that is under way."""
        if self._committing is not None:
            await asyncio.shield(self._committing)

    async def _commit_offsets(self, offsets: Mapping[TopicPartition, int], consumer: AIOKafkaConsumer) -> None:
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                await consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError):
            # The group has moved on: another member reads these records again, handlers take them twice.
            _log.warning("offsets not committed after a rebalance", topic=self.topic.name)
        except TimeoutError:
            # After a crash of the broker the client may wait for a coordinator for minutes. The next commit covers
            # these records; if there is none, handlers take them twice.
            _log.warning("offsets not committed in time", topic=self.topic.name)
        except KafkaError as error:
            _log.warning("offsets not committed", topic=self.topic.name, error=describe(error))
        self._next.update(offsets)

    def _retreat(self, batch: Gathered[E], consumer: AIOKafkaConsumer, reason: str) -> None:
        """Read the batch again; say why the service is not ready."""
        if not self._stopping:
            self._trouble = f"{self.topic.name}: {reason}; trying on"
            _log.warning("batch postponed", topic=self.topic.name, error=reason)
        for place, offset in _places(batch).items():
            with suppress(IllegalStateError):
                consumer.seek(place, offset)

    def _count(self, decoded: Sequence[Record[E] | Outcome], outcomes: Sequence[Outcome | None]) -> None:
        metrics = self._carrier.metrics
        done = [each for each, outcome in zip(decoded, outcomes, strict=True) if outcome is HANDLED]
        metrics.handled.labels(self.topic.name).inc(len(done))
        # Of records that were sent at once the time is the same: it is read once.
        times = Tally([each.written_time for each in done if type(each) is Record])
        metrics.event_age.observe(
            self.topic.name, self._carrier.clock(), [(moment_of(written), count) for written, count in times.items()]
        )

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Let the batch in hand finish and commit, interrupt its retries, drop the one behind it."""
        self._interrupt.set()
        self._turns.call_off()
        self._ahead.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_REVOKE_PATIENCE):
                await self._turns.free()
                await self.committed()
        for each in revoked:
            self._next.pop(each, None)
            with suppress(KeyError):
                self._carrier.metrics.lag.remove(self.topic.name, str(each.partition))

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Hold again what is held."""
        if not self._stopping:
            self._interrupt.clear()
        consumer = self.consumer()
        if consumer is not None:
            self._gate.assigned(assigned, consumer)

    async def report_lag(self) -> None:
        """Records between what is committed here and the end of each partition."""
        consumer = self.consumer()
        if consumer is None:
            return
        assigned = consumer.assignment()
        ends = await consumer.end_offsets(assigned) if assigned else {}
        for place, end in ends.items():
            done = self._next.get(place)
            if done is None:
                done = await consumer.position(place)
            self._carrier.metrics.lag.labels(self.topic.name, str(place.partition)).set(max(0, end - done))


def _places(batch: Gathered[E]) -> dict[TopicPartition, int]:
    """Offset of the first record of each partition."""
    return {TopicPartition(batch.raws[0].topic, number): offset for number, offset in batch.first.items()}


async def _not_passed(batch: Gathered[E], consumer: AIOKafkaConsumer) -> set[int]:
    """Partitions that are not ours, or whose position does not lie behind all records of the batch."""
    behind: set[int] = set()
    for partition, last in batch.last.items():
        try:
            if await consumer.position(TopicPartition(batch.raws[0].topic, partition)) > last:
                continue
        except IllegalStateError:
            pass
        behind.add(partition)
    return behind


def _traceparents(batch: Sequence[Raw], decoded: Sequence[Record[E] | Outcome]) -> list[str | None]:
    """Those of the batch, in order, each once."""
    found = [
        each.written_traceparent if type(each) is Record else header_map(raw.headers).get(TRACEPARENT)
        for raw, each in zip(batch, decoded, strict=True)
    ]
    return [each.decode("ascii", "replace") if each else None for each in dict.fromkeys(found)]
