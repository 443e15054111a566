"""Decides how far a batch may be committed, which records are buried, and which partitions dead-letter limits hold."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError
from prometheus_client import Gauge

from libs.common.dead_letter_limits import DeadLetterLimits, PartitionHistory
from libs.common.settle import HANDLED, Bad, Outcome
from libs.common.topics import Topic

_log = structlog.get_logger()


@dataclass(slots=True)
class Verdict:
    """Next offset to commit and to read again, by partition; positions of the records to bury; who is held and why."""

    commit: dict[TopicPartition, int] = field(default_factory=dict)
    rewind: dict[TopicPartition, int] = field(default_factory=dict)
    bury: list[int] = field(default_factory=list)
    held: dict[TopicPartition, str] = field(default_factory=dict)
    histories: dict[TopicPartition, PartitionHistory] = field(default_factory=dict)


class PartitionGate:
    """Limits of one subscription, partition by partition."""

    def __init__(self, topic: Topic, limits: DeadLetterLimits, paused: Gauge) -> None:
        self._topic = topic
        self._limits = limits
        self._paused = paused
        self._histories: dict[TopicPartition, PartitionHistory] = {}
        self._held: dict[TopicPartition, str] = {}
        self._timers: dict[TopicPartition, asyncio.TimerHandle] = {}

    def judge(self, batch: Sequence["ConsumerRecord[bytes, bytes]"], outcomes: Sequence[Outcome | None]) -> Verdict:
        """In each partition all is settled up to the first open record, or the first that the limits refuse to bury."""
        if outcomes.count(HANDLED) == len(batch):
            return self._all_good(batch)
        verdict = Verdict()
        for position, (raw, outcome) in enumerate(zip(batch, outcomes, strict=True)):
            partition = TopicPartition(raw.topic, raw.partition)
            if partition in verdict.rewind:
                continue
            history = verdict.histories.get(partition)
            if history is None:
                history = verdict.histories[partition] = self._history(partition).copy()
            refusal = history.refuses() if isinstance(outcome, Bad) else None
            if outcome is None or refusal:
                verdict.rewind[partition] = raw.offset
                if refusal:
                    verdict.held[partition] = refusal
                continue
            if isinstance(outcome, Bad):
                verdict.bury.append(position)
            else:
                history.good()
            verdict.commit[partition] = raw.offset + 1
        return verdict

    def _all_good(self, batch: Sequence["ConsumerRecord[bytes, bytes]"]) -> Verdict:
        verdict = Verdict()
        counts = Counter([raw.partition for raw in batch])
        for number, offset in {raw.partition: raw.offset for raw in batch}.items():
            partition = TopicPartition(batch[0].topic, number)
            history = verdict.histories[partition] = self._history(partition).copy()
            history.good(counts[number])
            verdict.commit[partition] = offset + 1
        return verdict

    def _history(self, partition: TopicPartition) -> PartitionHistory:
        return self._histories.get(partition) or PartitionHistory(self._limits)

    def accept(self, verdict: Verdict, consumer: AIOKafkaConsumer) -> None:
        """The verdict was carried out: remember it, go back where something is open, hold who must wait."""
        self._histories.update(verdict.histories)
        for partition, offset in verdict.rewind.items():
            with suppress(IllegalStateError):
                consumer.seek(partition, offset)
        for partition, reason in verdict.held.items():
            self._hold(partition, reason, consumer)

    def _hold(self, partition: TopicPartition, reason: str, consumer: AIOKafkaConsumer) -> None:
        self._held[partition] = reason
        self._paused.labels(self._topic.name, str(partition.partition)).set(1)
        _log.error("dead-letter limit reached", topic=self._topic.name, partition=partition.partition, reason=reason)
        with suppress(IllegalStateError):
            consumer.pause(partition)
        loop = asyncio.get_running_loop()
        self._timers[partition] = loop.call_later(self._limits.cool_off, self._probe, partition, consumer)

    def _probe(self, partition: TopicPartition, consumer: AIOKafkaConsumer) -> None:
        self._history(partition).half_open()
        self._timers.pop(partition, None)
        with suppress(IllegalStateError):
            consumer.resume(partition)

    def release(self, partitions: Iterable[TopicPartition]) -> None:
        """Records went through again: these partitions are no longer held."""
        for partition in partitions:
            if partition in self._held and partition not in self._timers:
                del self._held[partition]
                self._paused.labels(self._topic.name, str(partition.partition)).set(0)
                _log.info("partition released", topic=self._topic.name, partition=partition.partition)

    def assigned(self, partitions: Iterable[TopicPartition], consumer: AIOKafkaConsumer) -> None:
        """After a rebalance: what is still held stays paused; what went elsewhere is forgotten."""
        kept = set(partitions)
        for partition in [*self._histories, *self._held]:
            if partition not in kept:
                self._forget(partition)
        for partition in kept & self._timers.keys():
            consumer.pause(partition)

    def _forget(self, partition: TopicPartition) -> None:
        self._histories.pop(partition, None)
        if timer := self._timers.pop(partition, None):
            timer.cancel()
        if partition in self._held:
            del self._held[partition]
            self._paused.labels(self._topic.name, str(partition.partition)).set(0)

    def close(self) -> None:
        """Stop waiting."""
        for timer in self._timers.values():
            timer.cancel()

    @property
    def reason(self) -> str | None:
        """Why the subscription is not ready, if it holds a partition."""
        held = [f"{self._topic.name}/{each.partition}: {why}" for each, why in sorted(self._held.items())]
        return "paused by dead-letter limits: " + ", ".join(held) if held else None
