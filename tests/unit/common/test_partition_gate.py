from unittest.mock import Mock

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Gauge

from libs.common.dead_letter_limits import DeadLetterLimits
from libs.common.partition_gate import PartitionGate
from libs.common.settle import HANDLED, Bad, Outcome
from libs.common.topics import USAGE_RECOMPUTE
from tests.unit.common.kafka_records import raw

BAD = Bad("bug", "X", "X", 1)
LIMITS = DeadLetterLimits(max_run=2, max_share=1.0)
P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


def gate(limits: DeadLetterLimits = LIMITS) -> PartitionGate:
    return PartitionGate(USAGE_RECOMPUTE, limits, Gauge("paused", "p", ("topic", "partition"), registry=None))


def test_everything_settled_is_committed() -> None:
    batch = [raw(b"", offset=5), raw(b"", offset=9), raw(b"", partition=1, offset=2)]
    verdict = gate().judge(batch, [HANDLED, BAD, HANDLED])
    assert (verdict.commit, verdict.rewind, verdict.bury) == ({P0: 10, P1: 3}, {}, [1])


def test_a_partition_is_held_at_the_record_that_the_limits_refuse() -> None:
    batch = [raw(b"", offset=at) for at in range(5)] + [raw(b"", partition=1, offset=0)]
    verdict = gate().judge(batch, [HANDLED, BAD, BAD, BAD, HANDLED, HANDLED])
    assert (verdict.commit, verdict.rewind, verdict.bury) == ({P0: 3, P1: 1}, {P0: 3}, [1, 2])
    assert verdict.held == {P0: "2 dead letters in a row"}


def test_nothing_behind_an_open_record_is_committed() -> None:
    batch = [raw(b"", offset=at) for at in range(4)]
    verdict = gate().judge(batch, [HANDLED, None, BAD, HANDLED])
    assert (verdict.commit, verdict.rewind, verdict.bury, verdict.held) == ({P0: 1}, {P0: 1}, [], {})


def test_judging_remembers_nothing() -> None:
    judge = gate()
    batch = [raw(b"", offset=at) for at in range(2)]
    for _ in range(3):
        assert judge.judge(batch, [BAD, BAD]).held == {}


outcomes = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([HANDLED, BAD, None])), max_size=60)


@given(outcomes)
def test_a_verdict_loses_no_record(case: list[tuple[int, Outcome | None]]) -> None:
    batch = [raw(b"", partition=partition, offset=at) for at, (partition, _) in enumerate(case)]
    verdict = gate().judge(batch, [outcome for _, outcome in case])
    for at, (partition, outcome) in enumerate(case):
        place = TopicPartition("t", partition)
        committed = at < verdict.commit.get(place, 0)
        again = at >= verdict.rewind.get(place, len(case))
        assert committed != again
        if committed:
            assert outcome is HANDLED or at in verdict.bury
        else:
            assert at not in verdict.bury


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(0, 2), st.integers(0, 3))
def test_a_batch_without_trouble_is_judged_as_any_other(places: list[int], last: int, bad: int) -> None:
    """The quick way for good batches leaves the same limits behind: the history goes on from it."""
    limits = DeadLetterLimits(max_run=3, max_share=0.3, window=10, least=5)
    batch = [raw(b"", partition=partition, offset=at) for at, partition in enumerate(places)]
    at_once, one_by_one = gate(limits), gate(limits)
    found = at_once.judge(batch, [HANDLED] * len(batch))
    at_once.accept(found, Mock())
    commit: dict[TopicPartition, int] = {}
    for each in batch:
        verdict = one_by_one.judge([each], [HANDLED])
        one_by_one.accept(verdict, Mock())
        commit |= verdict.commit
    assert (found.commit, found.rewind, found.bury) == (commit, {}, [])
    more = [raw(b"", partition=last, offset=100 + at) for at in range(bad)]
    assert at_once.judge(more, [BAD] * bad).held == one_by_one.judge(more, [BAD] * bad).held
