"""Records that wait for their turn: in order, and never in front of what will be read before them."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libs.common.ahead import Ahead, Gathered
from libs.common.settle import HANDLED
from tests.unit.common.kafka_records import raw


def records(partition: int, start: int, stop: int) -> list[Any]:
    return [raw(b"{}", partition=partition, offset=offset) for offset in range(start, stop)]


def gathered(raws: list[Any]) -> Gathered[Any]:
    return Gathered.of(raws, [HANDLED] * len(raws))


def put(ahead: Ahead[Any], *portions: list[Any]) -> None:
    for portion in portions:
        ahead.put(gathered(portion))


def places(raws: list[Any]) -> list[tuple[int, int]]:
    return [(each.partition, each.offset) for each in raws]


def test_all_that_waits_is_taken_at_once_in_order() -> None:
    ahead: Ahead[Any] = Ahead(10, 2)
    put(ahead, records(0, 0, 2), records(1, 7, 9), records(0, 2, 4))
    taken = ahead.take()
    assert places(taken.raws) == [(0, 0), (0, 1), (1, 7), (1, 8), (0, 2), (0, 3)]
    assert (len(taken.decoded), len(ahead)) == (6, 0)
    assert (taken.first, taken.last) == ({0: 0, 1: 7}, {0: 3, 1: 8})


def test_what_is_read_again_waits_no_more() -> None:
    ahead: Ahead[Any] = Ahead(10, 2)
    put(ahead, records(0, 4, 8), records(1, 0, 2), records(0, 2, 5))
    assert places(ahead.take().raws) == [(1, 0), (1, 1), (0, 2), (0, 3), (0, 4)]


def test_a_partition_of_which_earlier_records_wait_is_named() -> None:
    ahead: Ahead[Any] = Ahead(10, 2)
    put(ahead, records(0, 2, 5), records(1, 9, 10))
    assert ahead.reread(gathered(records(0, 4, 8) + records(1, 5, 9))) == {0}
    assert ahead.reread(gathered([])) == set()


def test_partitions_that_are_lost_go() -> None:
    batch = gathered(records(0, 2, 4) + records(1, 7, 8))
    batch.drop({0})
    assert (places(batch.raws), batch.decoded, batch.first, batch.last) == ([(1, 7)], [HANDLED], {1: 7}, {1: 7})
    batch.drop({1})
    assert (batch.raws, batch.decoded, batch.first, batch.last) == ([], [], {}, {})


async def test_whoever_brings_more_waits_for_room() -> None:
    ahead: Ahead[Any] = Ahead(4, 2)
    put(ahead, records(0, 0, 2))
    await ahead.room()
    put(ahead, records(0, 2, 4))
    waiting = asyncio.create_task(ahead.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    ahead.take()
    await asyncio.wait_for(waiting, 60)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 6), st.booleans()), max_size=30))
def test_of_each_partition_offsets_rise_whatever_is_read_again(steps: list[tuple[int, int, int, bool]]) -> None:
    """Portions from anywhere, as after any seek; sometimes all is taken."""
    ahead: Ahead[Any] = Ahead(1_000, 6)
    waiting: dict[int, list[int]] = {}
    for partition, start, count, taking in steps:
        put(ahead, records(partition, start, start + count))
        kept = [offset for offset in waiting.get(partition, []) if offset < start]
        waiting[partition] = [*kept, *range(start, start + count)]
        if taking:
            batch = ahead.take()
            taken = places(batch.raws)
            assert {each: (offsets[0], offsets[-1]) for each, offsets in waiting.items()} == {
                each: (batch.first[each], batch.last[each]) for each in batch.first
            }
            assert {each: [o for p, o in taken if p == each] for each in waiting} == waiting
            waiting = {}
    assert len(ahead) == sum(map(len, waiting.values()))
