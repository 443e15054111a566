"""Our Publisher against aiokafka's producer, pipelined: the same acknowledgements, keys, bytes and headers.

Ours writes each record's JSON and envelope; aiokafka's arm is given both ready made and only sends.
"""

import asyncio
import gc
import time
from statistics import median
from typing import Final

from aiokafka import AIOKafkaProducer

from bench.harness import Result
from bench.kafka import TOPIC, broker, fresh_topic, messages
from libs.common.broker import COMPRESSION, MAX_BATCH_BYTES, Publisher, build_broker, physical_name
from libs.common.clock import shifted_clock
from libs.common.envelope import HeaderWriter
from libs.common.events import BiQueryScraped
from libs.common.handover import MAX_MESSAGE_BYTES
from libs.common.process import calm_collector
from libs.common.settings import CommonSettings

MESSAGES: Final = 50_000
ROUNDS: Final = 5
_WINDOW: Final = 5_000
_TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Events = list[tuple[str, BiQueryScraped, dict[str, str]]]
Ready = list[tuple[bytes, bytes, list[tuple[str, bytes]]]]


async def ours(settings: CommonSettings, events: Events) -> tuple[float, float]:
    """`send_many`: envelope, JSON, span, all acknowledged at the end."""
    connection = build_broker(settings, "bench")
    await connection.connect()
    try:
        publisher = Publisher(connection, settings, service="bench")
        await publisher.send_many(TOPIC, events[:100])
        began = time.perf_counter(), time.process_time()
        await publisher.send_many(TOPIC, events)
        return time.perf_counter() - began[0], time.process_time() - began[1]
    finally:
        await connection.stop()


async def bare(settings: CommonSettings, ready: Ready) -> tuple[float, float]:
    """`send` in a loop, as many at once as ours, then wait for the acknowledgements."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka,
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_MESSAGE_BYTES,
        max_batch_size=MAX_BATCH_BYTES,
        compression_type=COMPRESSION,
    )
    await producer.start()
    name = physical_name(settings, TOPIC.name)
    try:
        await producer.send_and_wait(name, ready[0][1], ready[0][0], headers=ready[0][2])
        began = time.perf_counter(), time.process_time()
        for first in range(0, len(ready), _WINDOW):
            window = ready[first : first + _WINDOW]
            futures = [await producer.send(name, value, key, headers=headers) for key, value, headers in window]
            await asyncio.gather(*futures)
        return time.perf_counter() - began[0], time.process_time() - began[1]
    finally:
        await producer.stop()


def _ready(events: Events) -> Ready:
    write = HeaderWriter("/tidemark/bench", shifted_clock()(), _TRACE)
    return [(key.encode(), event.to_json(), write(event, extensions)) for key, event, extensions in events]


async def rounds() -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Seconds of wall clock and processor of each arm, in turn."""
    events = [(key, event, {**place, "traceparent": _TRACE}) for key, event, place in messages(MESSAGES)]
    ready = _ready(events)
    one, other = [], []
    async with broker() as kafka, fresh_topic(kafka) as settings:
        for _ in range(ROUNDS):
            one.append(await ours(settings, events))
            other.append(await bare(settings, ready))
    return one, other


def measure() -> list[Result]:
    """Ours to the bare producer."""
    thresholds = gc.get_threshold()
    calm_collector()  # as a service has it, for both arms
    try:
        one, other = asyncio.run(rounds())
    finally:
        gc.set_threshold(*thresholds)
    for name, seconds in (("ours", one), ("aiokafka", other)):
        wall, cpu = (MESSAGES / median(each[at] for each in seconds) for at in (0, 1))
        print(f"  {name}: {wall:,.0f}/s, {cpu:,.0f} a second of processor")
    ratio = median(theirs[0] / mine[0] for mine, theirs in zip(one, other, strict=True))
    value = MESSAGES / median(each[0] for each in one)
    return [Result("produce", value, "msg/s", ratio, ">=0.6x_aiokafka", ratio >= 0.6)]
