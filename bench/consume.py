"""Poll, typed batch, handler, commit: ours against FastStream one by one with pydantic, and against bare `getmany`.

All arms read the same topic from its beginning under a new group, in turn, in one process on the plain event loop;
the others with Python's own settings of the garbage collector, ours (and `calm`) with those that a service has. Timed
is from the end of the first call to the end of the last, so that joining the group does not count.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TypeAlias
from uuid import uuid4

from aiokafka import AIOKafkaConsumer
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from prometheus_client import CollectorRegistry

from bench.harness import Result
from bench.kafka import TOPIC, broker, fresh_topic, messages
from libs.common.broker import Publisher, build_broker, physical_name
from libs.common.consume import Consumers, Record
from libs.common.events import BiQueryRecord
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.process import calm_collector
from libs.common.scraped_shapes import BiQueryScraped as BiQueryModel
from libs.common.settings import CommonSettings

MESSAGES: Final = 120_000
FEW: Final = 12_000
ROUNDS: Final = 5
BATCH: Final = 2_000


@dataclass(slots=True)
class Meter:
    """Counts what went through a handler until there are `wanted`."""

    wanted: int
    seen: int = 0
    first: int = 0
    began: tuple[float, float] = (0.0, 0.0)
    ended: tuple[float, float] = (0.0, 0.0)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, count: int) -> None:
        """So many were handled just now."""
        self.seen += count
        if not self.first:
            self.first, self.began = count, _now()
        elif self.seen >= self.wanted and not self.done.is_set():
            self.ended = _now()
            self.done.set()

    @property
    def rates(self) -> "Rates":
        counted = self.seen - self.first
        wall, cpu = (end - begin for begin, end in zip(self.began, self.ended, strict=True))
        return Rates(counted / wall, counted / cpu)


@dataclass(frozen=True, slots=True)
class Rates:
    """Messages a second of wall clock and of this process's processor time."""

    wall: float
    cpu: float


Arm: TypeAlias = Callable[[CommonSettings], Awaitable[Rates]]


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


async def ours(settings: CommonSettings) -> Rates:
    """`Consumers` as a service has it: dead letters, gates, spans, metrics, commit after each batch."""
    meter = Meter(MESSAGES)
    calm_collector()

    async def handler(records: Sequence[Record[BiQueryRecord]]) -> None:
        meter.add(len(records))

    connection = build_broker(settings, "bench")
    consumers = Consumers(f"bench-{uuid4().hex[:6]}", connection, settings, MessagingMetrics(CollectorRegistry()))
    consumers.subscribe(TOPIC, BiQueryRecord, handler, max_records=BATCH)
    await consumers.start()
    try:
        await meter.done.wait()
    finally:
        await consumers.stop()
    return meter.rates


async def raw(settings: CommonSettings) -> Rates:
    """aiokafka's `getmany` alone: nothing is decoded, nothing committed."""
    meter = Meter(MESSAGES)
    consumer = AIOKafkaConsumer(
        physical_name(settings, TOPIC.name),
        bootstrap_servers=settings.kafka,
        group_id=f"raw-{uuid4()}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        while not meter.done.is_set():
            for records in (await consumer.getmany(timeout_ms=100, max_records=BATCH)).values():
                meter.add(len(records))
    finally:
        await consumer.stop()
    return meter.rates


async def calm(settings: CommonSettings) -> Rates:
    """The same with the collector's threshold that our services have."""
    calm_collector()
    return await raw(settings)


async def one_by_one(settings: CommonSettings, *, acknowledge: bool = False) -> Rates:
    """FastStream as its first page has it: a pydantic model as the argument; its logging is off."""
    meter = Meter(200 if acknowledge else FEW)
    connection = KafkaBroker(settings.kafka, logger=None)
    subscriber = connection.subscriber(
        physical_name(settings, TOPIC.name),
        group_id=f"one-{uuid4()}",
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL if acknowledge else AckPolicy.ACK_FIRST,
    )

    @subscriber
    async def handler(event: BiQueryModel, message: KafkaMessage) -> None:
        meter.add(1)
        if acknowledge:
            await message.ack()

    await connection.start()
    try:
        await meter.done.wait()
    finally:
        await connection.stop()
    return meter.rates


async def acknowledged(settings: CommonSettings) -> Rates:
    """The same with the offset committed after each message, which alone keeps at-least-once one by one."""
    return await one_by_one(settings, acknowledge=True)


ARMS: Final[dict[str, Arm]] = {"ours": ours, "raw": raw, "calm": calm, "one": one_by_one, "acknowledged": acknowledged}


async def fill(settings: CommonSettings) -> None:
    """Put the records on the topic as our producers do."""
    connection = build_broker(settings, "bench")
    await connection.connect()
    try:
        await Publisher(connection, settings, service="bench").send_many(TOPIC, messages(MESSAGES))
    finally:
        await connection.stop()


async def rounds(names: Iterable[str] = ARMS, count: int = ROUNDS) -> dict[str, list[Rates]]:
    """Rates of each arm, round by round."""
    found: dict[str, list[Rates]] = {name: [] for name in names}
    thresholds = gc.get_threshold()
    async with broker() as kafka, fresh_topic(kafka) as settings:
        await fill(settings)
        for _ in range(count):
            for name, rates in found.items():
                gc.collect()
                gc.set_threshold(*thresholds)
                rates.append(await ARMS[name](settings))
    return found


def ratio(found: dict[str, list[Rates]], name: str, to: str) -> float:
    """Median of the rounds' ratios by the clock."""
    return median(one.wall / other.wall for one, other in zip(found[name], found[to], strict=True))


def measure() -> list[Result]:
    """Ours to each alternative."""
    found = asyncio.run(rounds())
    for name, rates in found.items():
        print(
            f"  {name}: {median(each.wall for each in rates):,.0f}/s, "
            f"{median(each.cpu for each in rates):,.0f} a second of processor"
        )
    value = median(each.wall for each in found["ours"])
    to_one, to_raw = ratio(found, "ours", "one"), ratio(found, "ours", "raw")
    print(f"  ours to getmany with our collector's threshold: {ratio(found, 'ours', 'calm'):.2f}")
    return [
        Result("consume", value, "msg/s", to_one, ">=10x_one_by_one", to_one >= 10),
        Result("consume_raw", value, "msg/s", to_raw, ">=0.5x_getmany", to_raw >= 0.5),
    ]
