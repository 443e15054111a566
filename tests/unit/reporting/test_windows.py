"""Windows and their parts."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reporting.windows import Interval, Window, buckets, start_of, window

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
INTERVALS: tuple[Interval, ...] = ("daily", "weekly", "monthly")


def test_days_are_24_hours_up_to_now() -> None:
    assert window(NOON, None, None, None) == Window(NOON - timedelta(days=30), NOON)
    assert window(NOON, 1, None, None) == Window(NOON - timedelta(hours=24), NOON)
    assert window(NOON, 7, None, NOON - timedelta(days=7)) == Window(
        NOON - timedelta(days=14), NOON - timedelta(days=7)
    )


def test_a_window_is_told_in_utc() -> None:
    there = timezone(timedelta(hours=2))
    found = window(NOON, None, datetime(2026, 3, 1, 1, tzinfo=there), datetime(2026, 3, 2, 1, tzinfo=there))
    assert [each.isoformat() for each in (found.since, found.until)] == [
        "2026-02-28T23:00:00+00:00",
        "2026-03-01T23:00:00+00:00",
    ]


def test_what_has_not_come_yet_ends_now() -> None:
    assert window(NOON, None, NOON - MICRO, NOON + timedelta(days=1)) == Window(NOON - MICRO, NOON)


@pytest.mark.parametrize(
    ("days", "since", "until"),
    [
        (1, NOON - timedelta(days=1), None),
        (None, NOON, None),
        (None, NOON, NOON),
        (None, NOON - timedelta(days=3650) - MICRO, None),
        (None, None, datetime(1, 1, 1, tzinfo=UTC)),
        (None, None, datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2)))),
        (None, datetime(1969, 12, 31, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC)),
    ],
)
def test_what_does_not_fit_is_refused(days: int | None, since: datetime | None, until: datetime | None) -> None:
    with pytest.raises(ValueError, match=r"^(days|from|from, to): "):
        window(NOON, days, since, until)


def test_the_window_before_ends_where_this_one_begins() -> None:
    month = Window(NOON - timedelta(days=30), NOON)
    before = month.previous()
    assert (before.length, before.until, before.last) == (month.length, month.since, month.since - MICRO)


MOMENTS = st.timedeltas(timedelta(days=-2500), timedelta(days=300)).map(lambda span: NOON + span)


@given(MOMENTS, st.timedeltas(MICRO, timedelta(days=400)), st.sampled_from(INTERVALS))
def test_parts_cover_the_window_without_gap_or_overlap(since: datetime, length: timedelta, interval: Interval) -> None:
    whole = Window(since, since + length)
    parts = buckets(whole, interval)
    spans = list(parts.values())
    assert (spans[0].since, spans[-1].until) == (whole.since, whole.until)
    assert all(one.until == other.since for one, other in pairwise(spans))
    assert all(part.length > timedelta(0) for part in spans)
    assert [part.open_end for part in spans] == [True] * (len(spans) - 1) + [False]
    for start, part in parts.items():
        assert start == start_of(part.since, interval) == start_of(part.until - MICRO, interval)


@given(MOMENTS, st.sampled_from(INTERVALS))
def test_a_part_begins_where_calendars_say(moment: datetime, interval: Interval) -> None:
    start = start_of(moment, interval)
    assert start <= moment
    assert (start.hour, start.minute, start.second, start.microsecond) == (0, 0, 0, 0)
    assert interval != "weekly" or start.weekday() == 0
    assert interval != "monthly" or start.day == 1
