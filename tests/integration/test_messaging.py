"""Handling, retries, dead letters, their limits and their replay, on the real broker. Each test prints its figures."""

import asyncio
import gc
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from libs.common import consume, subscription
from libs.common.consume import Consumers, DeadLetter, DeadLetterLimits, Record
from libs.common.envelope import Envelope
from libs.common.events import UsageRecompute
from libs.common.records import InvalidRecords
from libs.common.replay import replay
from tests.support.messaging import Bench, fresh_bench, numbers, until
from tests.support.servers import Servers

Batch = Sequence[Record[UsageRecompute]]
SECRET = "s3cret-literal"
NO_LIMITS = DeadLetterLimits(max_run=10_000, max_share=1.0)


@pytest.fixture
async def bench(servers: Servers) -> Bench:
    return await fresh_bench(servers.kafka)


class Taker:
    """Takes numbers; fails on `bugs` always, names `invalid`, stumbles over `shaky` once each."""

    def __init__(self, bugs: set[int] | None = None, invalid: set[int] | None = None, shaky: set[int] | None = None):
        self.bugs = bugs or set()
        self.invalid = invalid or set()
        self.shaky = shaky or set()
        self.taken: Counter[int] = Counter()

    async def __call__(self, batch: Batch) -> None:
        found = numbers(batch)
        if stumbled := self.shaky & set(found):
            self.shaky -= {min(stumbled)}
            raise ConnectionResetError
        if named := {at: "named by the handler" for at, number in enumerate(found) if number in self.invalid}:
            raise InvalidRecords(named)
        if self.bugs & set(found):
            raise ValueError(SECRET)
        self.taken.update(found)


async def test_poison_does_not_block_and_does_not_vanish(bench: Bench) -> None:
    bugs, invalid, shaky = set(range(0, 1000, 100)), {55, 555}, set(range(7, 1000, 20))
    await bench.publish(range(500))
    tenant = str(bench.tenant)
    garbage: list[bytes | None] = [
        b"{broken",
        b"\xff\xfe",
        b'{"tenant": 7}',
        b'{"space_id": null}',
        f'{{"tenant": "{tenant}", "space_id": "{SECRET}"}}'.encode(),
        b"[]",
    ]
    await bench.write(*garbage)
    await bench.write(b"{}", headers=[("ce_tenant", b"acme"), ("odd", b"\xff")], partition=1)
    await bench.write(f'{{"tenant": "{tenant}"}}'.encode(), headers=[("ce_tenant", b"0" * 32)], partition=1)
    await bench.write(None)
    await bench.publish(range(500, 1000))
    taker = Taker(bugs, invalid, shaky)
    letters: list[DeadLetter] = []

    async def hook(letter: DeadLetter) -> None:
        letters.append(letter)

    async with bench.consumers(taker, limits=NO_LIMITS, on_dead_letter=hook) as consumers:
        seconds = await until(lambda: len(letters) == 20 and len(taker.taken) == 988)
        assert consumers.ready() is None
    dead = await bench.read(bench.dead_letters)
    lag = 1009 - await bench.committed(0) - await bench.committed(1)
    print(f"POISON handled={len(taker.taken)} dlq={len(dead)} blocked={lag} seconds={seconds:.1f}")
    assert (len(dead), lag) == (20, 0)
    assert set(taker.taken.values()) == {1}
    assert set(taker.taken) == set(range(1000)) - bugs - invalid
    kinds = Counter(dict(each.headers)["dl-kind"] for each in dead)
    assert kinds == {b"bug": 10, b"invalid": 10}
    assert not any(SECRET.encode() in value for each in dead for _, value in each.headers)

    taker.bugs, taker.invalid = set(), set()
    first = await replay(bench.settings, bench.topic, 5)
    rest = await replay(bench.settings, bench.topic, 100)
    assert (first.read, first.left, rest.read, rest.left) == (5, 15, 15, 0)
    async with bench.consumers(taker, limits=NO_LIMITS):
        await until(lambda: len(taker.taken) == 1000)
    # What nobody can repair comes back, and stays after three replays.
    reports = []
    for _ in range(3):
        letters.clear()
        reports.append(await replay(bench.settings, bench.topic, 100))
        async with bench.consumers(taker, limits=NO_LIMITS, on_dead_letter=hook):
            await until(lambda: len(letters) == reports[-1].replayed)
    figures = " ".join(f"{report.replayed}/{report.kept}" for report in reports)
    print(f"REPLAY handled={len(taker.taken)} replayed/kept={figures}")
    assert [(report.replayed, report.kept) for report in reports] == [(8, 0), (8, 0), (0, 8)]


async def test_a_bad_deploy_does_not_drain_the_topic(bench: Bench) -> None:
    await bench.publish(range(600))
    taker = Taker(bugs=set(range(600)))
    registry = CollectorRegistry()
    patient = DeadLetterLimits(max_run=10, max_share=1.0, cool_off=3600)
    async with bench.consumers(taker, limits=patient, registry=registry) as consumers:
        await until(lambda: _both_held(consumers))
        held = len(await bench.read(bench.dead_letters))
        committed = await bench.committed(0) + await bench.committed(1)
        paused = registry.get_sample_value("tidemark_consumer_paused", {"topic": bench.topic.name, "partition": "0"})
        assert (held, committed, paused) == (20, 20, 1)
    print(f"LIMIT offered=600 held_at={held}")


def _both_held(consumers: Consumers) -> bool:
    return "/0" in (consumers.ready() or "") and "/1" in (consumers.ready() or "")


async def test_a_held_topic_is_tried_one_record_at_a_time(bench: Bench) -> None:
    await bench.publish(range(600))
    taker = Taker(bugs=set(range(600)))
    letters: list[float] = []

    async def hook(_letter: DeadLetter) -> None:
        letters.append(time.monotonic())

    limits = DeadLetterLimits(max_run=10, max_share=1.0, cool_off=1.0)
    async with bench.consumers(taker, limits=limits, on_dead_letter=hook) as consumers:
        await until(lambda: _both_held(consumers))
        await until(lambda: len(letters) >= 24)
        # After the first ten of each partition: one in a second each, at most.
        tried, seconds = len(letters) - 20, letters[-1] - letters[0]
        assert tried <= 2 * (seconds + 1)
        taker.bugs = set()
        await until(lambda: consumers.ready() is None and len(taker.taken) + len(letters) == 600)
    dead = len(await bench.read(bench.dead_letters))
    print(f"LIMIT_TRIED offered=600 tried={tried} seconds={seconds:.1f} dlq={dead} handled={len(taker.taken)}")
    assert dead + len(taker.taken) == 600


async def test_lasting_trouble_is_waited_for_and_never_buried(bench: Bench) -> None:
    await bench.publish(range(50))
    broken, taken = True, set[int]()

    async def handler(batch: Batch) -> None:
        if broken:
            raise ConnectionResetError(SECRET)
        taken.update(numbers(batch))

    async with bench.consumers(handler) as consumers:
        await until(lambda: consumers.ready())
        reason = consumers.ready()
        assert await bench.committed(0) + await bench.committed(1) == 0
        broken = False
        recovered = await until(lambda: consumers.ready() is None and len(taken) == 50)
    dead = len(await bench.read(bench.dead_letters))
    print(f"OUTAGE handled={len(taken)} dlq={dead} recovered_s={recovered:.1f} reason={reason!r}")
    assert dead == 0
    assert reason is not None
    assert SECRET not in reason


async def test_nothing_is_committed_before_the_handler_returned(bench: Bench) -> None:
    await bench.publish([1])
    entered, leave = asyncio.Event(), asyncio.Event()

    async def handler(batch: Batch) -> None:
        entered.set()
        await leave.wait()

    async with bench.consumers(handler):
        await entered.wait()
        during = await bench.committed(0) + await bench.committed(1)
        leave.set()
    assert (during, await bench.committed(0) + await bench.committed(1)) == (0, 1)


async def test_a_handler_that_hangs_shows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "_STUCK_AFTER", 0.2)
    await bench.publish([1])
    leave = asyncio.Event()

    async def handler(batch: Batch) -> None:
        await leave.wait()

    async with bench.consumers(handler) as consumers:
        await until(lambda: "in hand" in (consumers.ready() or ""))
        leave.set()
        await until(lambda: consumers.ready() is None)


async def test_the_hook_comes_after_the_dead_letter_and_before_the_commit(bench: Bench) -> None:
    await bench.write(b"{broken", headers=[("ce_jobid", b"j"), ("ce_jobseq", b"3")])
    seen: list[tuple[int, int]] = []
    envelopes: list[Envelope] = []

    async def hook(letter: DeadLetter) -> None:
        seen.append((len(await bench.read(bench.dead_letters)), await bench.committed(0)))
        envelopes.append(letter.envelope)
        if len(seen) == 1:
            raise ConnectionResetError

    async with bench.consumers(Taker(), on_dead_letter=hook):
        await until(lambda: len(seen) == 2)
    assert (seen, await bench.committed(0)) == ([(1, 0), (1, 0)], 1)
    assert envelopes[0].extensions == {"jobid": "j", "jobseq": "3"}


async def test_a_hook_that_is_broken_does_not_block(bench: Bench) -> None:
    await bench.write(b"{broken")
    await bench.publish([1])
    registry, taker = CollectorRegistry(), Taker()

    async def hook(letter: DeadLetter) -> None:
        raise KeyError

    async with bench.consumers(taker, on_dead_letter=hook, registry=registry):
        await until(lambda: taker.taken)
        failures = ("tidemark_dead_letter_hook_failures_total", {"topic": bench.topic.name})
        await until(lambda: registry.get_sample_value(*failures) == 1)
    assert await bench.committed(0) >= 1


async def test_a_message_too_large_to_be_sent_again_is_buried_without_its_body(bench: Bench) -> None:
    await bench.write(b"[" + b" " * 1_048_000)
    await bench.publish([1])
    taker = Taker()
    letters: list[DeadLetter] = []

    async def hook(letter: DeadLetter) -> None:
        letters.append(letter)

    async with bench.consumers(taker, on_dead_letter=hook):
        await until(lambda: taker.taken and letters)
    [dead] = await bench.read(bench.dead_letters)
    headers = dict(dead.headers)
    assert (dead.value, headers["dl-body-length"], len(headers["dl-body-sha256"])) == (b"", b"1048001", 64)
    report = await replay(bench.settings, bench.topic, 10)
    assert (report.replayed, report.kept) == (0, 1)


async def test_a_clean_stop_finishes_and_repeats_nothing(bench: Bench) -> None:
    await bench.publish(range(2000))
    taken: Counter[int] = Counter()

    async def handler(batch: Batch) -> None:
        await asyncio.sleep(0.02)
        taken.update(numbers(batch))

    stops = 0
    while len(taken) < 2000:
        before = len(taken)
        async with bench.consumers(handler, max_records=50):
            await until(lambda: len(taken) > before)  # noqa: B023 (it is waited for here)
            await asyncio.sleep(0.1)
        stops += 1
    twice = sum(count - 1 for count in taken.values())
    print(f"STOP stops={stops} handled={len(taken)} lost={2000 - len(taken)} twice={twice}")
    assert stops > 1
    assert twice == 0


async def test_members_that_come_and_go_lose_nothing(bench: Bench) -> None:
    taken: Counter[int] = Counter()

    async def handler(batch: Batch) -> None:
        await asyncio.sleep(0.01)
        taken.update(numbers(batch))

    async with bench.consumers(handler, max_records=20) as first:
        feeding = asyncio.create_task(bench.publish(range(3000)))
        for _ in range(2):
            async with bench.consumers(handler, max_records=20):
                await asyncio.sleep(1.5)
        await feeding
        await until(lambda: len(taken) == 3000 and first.ready() is None)
    twice = sum(count - 1 for count in taken.values())
    print(f"REBALANCE handled={len(taken)} lost={3000 - len(taken)} twice={twice}")
    assert set(taken) == set(range(3000))


async def test_lag_and_age_are_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consume, "_LAG_INTERVAL", 0.2)
    await bench.publish(range(10))
    registry, leave = CollectorRegistry(), asyncio.Event()

    async def handler(batch: Batch) -> None:
        await leave.wait()

    def total(name: str) -> float:
        return sum(sample.value for family in registry.collect() for sample in family.samples if sample.name == name)

    async with bench.consumers(handler, registry=registry):
        await until(lambda: total("tidemark_consumer_lag_records") == 10)
        leave.set()
        await until(lambda: total("tidemark_consumer_lag_records") == 0)
        assert total("tidemark_event_age_seconds_count") == 10
        assert total("tidemark_records_handled_total") == 10


async def test_no_batch_stays_in_memory(bench: Bench) -> None:
    """The event loop keeps cancelled timers, which keep the context in which they were set."""
    await bench.publish(range(2000))
    alive: list[weakref.ref[Any]] = []
    taken = 0

    async def handler(batch: Batch) -> None:
        nonlocal taken
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        taken += len(batch)
        alive.extend(weakref.ref(record.raw) for record in batch)

    gc.collect()
    gc.disable()
    try:
        async with bench.consumers(handler, max_records=100):
            await until(lambda: taken == 2000)
            held = sum(each() is not None for each in alive)
    finally:
        gc.enable()
    print(f"BATCHES handled={taken} held={held}")
    assert held <= 200
