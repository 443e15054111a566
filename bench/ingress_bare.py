"""The bare arm of the benchmark of ingress, a process of its own: callers that send ready messages and wait for them.

Reads a Bare as JSON from standard input and prints a Sent as JSON.
"""

import asyncio
import os
import sys
import time

import msgspec
import uvloop
from aiokafka import AIOKafkaProducer

from libs.common.process import calm_collector

_VALUE = (
    b'{"tenant":"11111111-1111-4111-8111-111111111111","deployment_id":"11111111-1111-4111-8111-111111111111",'
    b'"component_id":null,"component_ref":"shop-1","environment_id":null,"environment_ref":"production",'
    b'"version":"2026.3.18","status":"SUCCEEDED","started_at":"2026-03-18T15:20:00Z",'
    b'"finished_at":"2026-03-18T15:30:00Z","recorded_at":"2026-03-18T15:30:00Z",'
    b'"commit_sha":"0af7651916cd43dd8448eb211c80319cb7ad6b71","commit_at":"2026-03-18T12:00:00Z",'
    b'"deployed_by":"ada@example.com","source":"//ci.example.com/shop","sequence":0,"is_rework":false,'
    b'"rolls_back_current":false,"metadata":{"url":"https://ci.example.com/shop/runs/4711","branch":"main"}}'
)
_HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"11111111-1111-4111-8111-111111111111"),
    ("ce_type", b"tidemark.deployment_recorded"),
    ("ce_source", b"//ci.example.com/shop"),
    ("ce_time", b"2026-03-18T15:30:00Z"),
    ("ce_tenant", b"11111111-1111-4111-8111-111111111111"),
    ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("content-type", b"application/json"),
]


class Bare(msgspec.Struct, frozen=True):
    """Where to, how much at once, and for how long; `size` messages a call."""

    kafka: str
    topic: str
    max_message: int
    max_batch: int
    compression: str
    callers: int
    size: int = 1
    seconds: float = 1.0


class Sent(msgspec.Struct, frozen=True):
    """What the broker acknowledged, in which time; processor time in seconds."""

    events: int
    seconds: float
    cpu: float


async def _caller(producer: AIOKafkaProducer, bare: Bare, number: int, until: float) -> int:
    sent = 0
    while time.perf_counter() < until:
        keys = [b"shop-%d:production" % ((number + each) % 64) for each in range(bare.size)]
        futures = [await producer.send(bare.topic, _VALUE, key, headers=_HEADERS) for key in keys]
        for future in futures:
            await future
        sent += bare.size
    return sent


async def _run(bare: Bare) -> Sent:
    producer = AIOKafkaProducer(
        bootstrap_servers=bare.kafka,
        acks="all",
        enable_idempotence=True,
        max_request_size=bare.max_message,
        max_batch_size=bare.max_batch,
        compression_type=bare.compression,
    )
    await producer.start()
    try:
        await producer.send_and_wait(bare.topic, _VALUE, b"warm", headers=_HEADERS)
        began, spent = time.perf_counter(), sum(os.times()[:2])
        callers = (_caller(producer, bare, number, began + bare.seconds) for number in range(bare.callers))
        events = sum(await asyncio.gather(*callers))
        return Sent(events, time.perf_counter() - began, sum(os.times()[:2]) - spent)
    finally:
        await producer.stop()


def main() -> None:
    """Send what standard input says."""
    calm_collector()
    bare = msgspec.json.decode(sys.stdin.buffer.read(), type=Bare)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.buffer.write(msgspec.json.encode(runner.run(_run(bare))))


if __name__ == "__main__":
    main()
