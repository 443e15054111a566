"""The search for bad records, against a handler that refuses a known set."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter

from libs.common.events import UsageRecompute
from libs.common.failures import RetryPolicy
from libs.common.records import InvalidRecord, InvalidRecords, Record
from libs.common.settle import HANDLED, Bad, GaveUp, Patience, Settlement
from tests.unit.common.kafka_records import raw

TENANT = UUID(int=1)
QUICK = RetryPolicy(first=0.001, cap=0.002, budget=0.05)
Batch = Sequence[Record[UsageRecompute]]


def records(count: int) -> list[Record[UsageRecompute]]:
    event = UsageRecompute(tenant=TENANT)
    return [Record(event, "t", raw(b"", offset=offset)) for offset in range(count)]


def patience(policy: RetryPolicy = QUICK, stop: asyncio.Event | None = None) -> Patience:
    return Patience(policy, stop or asyncio.Event(), Counter("retried", "r", registry=None))


class Handler:
    """Takes good records; `bugs` make it fail, `invalid` are named; each good batch is noted."""

    def __init__(self, bugs: set[int] = frozenset(), invalid: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.bugs = bugs
        self.invalid = invalid
        self.taken: list[int] = []
        self.calls = 0

    async def __call__(self, batch: Batch) -> None:
        self.calls += 1
        offsets = [record.offset for record in batch]
        if named := {position: "named" for position, offset in enumerate(offsets) if offset in self.invalid}:
            raise InvalidRecords(named)
        if self.bugs & set(offsets):
            raise KeyError("boom")
        self.taken += offsets


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), *[st.sets(st.integers(0, n - 1))] * 2)))
async def test_exactly_the_bad_ones_are_found(case: tuple[int, set[int], set[int]]) -> None:
    count, bugs, invalid = case
    bugs = bugs - invalid
    handler = Handler(bugs, invalid)
    settlement = Settlement(records(count), handler, patience(), lambda _at, _bad: True)
    await settlement.run()
    bad = {at: each.kind for at, each in enumerate(settlement.outcomes) if isinstance(each, Bad)}
    assert bad == dict.fromkeys(bugs, "bug") | dict.fromkeys(invalid, "invalid")
    assert all(settlement.outcomes[at] is HANDLED for at in range(count) if at not in bad)
    # Each good record exactly once, in order.
    assert handler.taken == [at for at in range(count) if at not in bad]


async def test_one_bad_among_many_costs_few_calls() -> None:
    handler = Handler(bugs={137})
    settlement = Settlement(records(500), handler, patience(), lambda _at, _bad: True)
    await settlement.run()
    assert handler.calls <= 20
    bad = settlement.outcomes[137]
    assert isinstance(bad, Bad)
    assert (bad.error, "boom" in bad.reason) == ("KeyError", False)
    assert 9 <= bad.attempts <= 10


async def test_transient_trouble_is_waited_out() -> None:
    failures = iter([ConnectionResetError(), TimeoutError()])
    handled: list[int] = []

    async def handler(batch: Batch) -> None:
        for failure in failures:
            raise failure
        handled.extend(record.offset for record in batch)

    settlement = Settlement(records(3), handler, patience(), lambda _at, _bad: True)
    await settlement.run()
    assert (settlement.outcomes, handled) == ([HANDLED] * 3, [0, 1, 2])


async def test_transient_trouble_that_lasts_is_never_a_dead_letter() -> None:
    calls = 0

    async def handler(batch: Batch) -> None:
        nonlocal calls
        calls += 1
        raise ConnectionResetError

    settlement = Settlement(records(3), handler, patience(), lambda _at, _bad: True)
    with pytest.raises(GaveUp, match="ConnectionResetError"):
        await settlement.run()
    assert settlement.outcomes == [None] * 3
    assert calls > 5


async def test_a_stop_ends_the_waiting() -> None:
    stop = asyncio.Event()

    async def handler(batch: Batch) -> None:
        stop.set()
        raise ConnectionResetError

    settlement = Settlement(
        records(1), handler, patience(RetryPolicy(first=60, cap=60, budget=600), stop), lambda _at, _bad: True
    )
    with pytest.raises(GaveUp):
        await asyncio.wait_for(settlement.run(), 1)


async def test_the_search_ends_where_it_is_told_to() -> None:
    handler = Handler(bugs=set(range(100)))
    seen: list[int] = []

    def on_bad(position: int, _bad: Bad) -> bool:
        seen.append(position)
        return len(seen) < 5

    settlement = Settlement(records(100), handler, patience(), on_bad)
    await settlement.run()
    assert seen == [0, 1, 2, 3, 4]
    assert settlement.outcomes[5:] == [None] * 95


async def test_a_position_outside_of_the_batch_is_a_bug_of_the_handler() -> None:
    async def handler(batch: Batch) -> None:
        raise InvalidRecord(7, "none of mine")

    settlement = Settlement(records(2), handler, patience(), lambda _at, _bad: True)
    await settlement.run()
    assert [isinstance(each, Bad) and each.kind for each in settlement.outcomes] == ["bug", "bug"]
