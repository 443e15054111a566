"""Ids that sort by time."""

from datetime import UTC, datetime, timedelta

from libs.common.ids import uuid7

NOON = datetime(2026, 3, 18, 12, 0, 0, 123_456, tzinfo=UTC)


def test_it_says_its_time_and_its_version() -> None:
    made = uuid7(NOON)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == int(NOON.timestamp() * 1000)


def test_later_ones_sort_behind_earlier_ones() -> None:
    moments = [NOON + timedelta(milliseconds=10 * n) for n in range(100)]
    made = [uuid7(moment) for moment in moments]
    assert made == sorted(made)
    assert len({uuid7(NOON) for _ in range(1000)}) == 1000
