"""When schedules run: time zones, both changes of the clocks, what is refused."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.cron import BadSchedule, Cron
from tests.support.examples import examples

BERLIN = ZoneInfo("Europe/Berlin")


def runs(expression: str, after: datetime, until: datetime, timezone: str = "Europe/Berlin") -> list[str]:
    cron, found = Cron(expression, timezone), []
    while (after := cron.next_after(after)) < until:
        found.append(after.astimezone(ZoneInfo(timezone)).isoformat()[5:])
    return found


def day(year: int, month: int, number: int) -> tuple[datetime, datetime]:
    """A day in Berlin, in UTC, from just before its midnight."""
    first = datetime(year, month, number, tzinfo=BERLIN)
    return first.astimezone(UTC) - timedelta(microseconds=1), (first + timedelta(days=1)).astimezone(UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["03-29T03:00:00+02:00"]),  # there is no half past two: right behind the gap
        ("30 3 * * *", ["03-29T03:30:00+02:00"]),
        ("0 1,2,3 * * *", ["03-29T01:00:00+01:00", "03-29T03:00:00+02:00"]),
    ],
)
def test_clocks_go_forward(expression: str, expected: list[str]) -> None:
    assert runs(expression, *day(2026, 3, 29)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["10-25T02:30:00+02:00"]),  # comes twice, runs once
        ("30 3 * * *", ["10-25T03:30:00+01:00"]),
        ("15 1-3 * * *", ["10-25T01:15:00+02:00", "10-25T02:15:00+02:00", "10-25T03:15:00+01:00"]),
    ],
)
def test_clocks_go_back(expression: str, expected: list[str]) -> None:
    assert runs(expression, *day(2026, 10, 25)) == expected


@pytest.mark.parametrize(("date", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 7, 1), 24)])
def test_what_runs_each_hour_runs_in_each_real_hour(date: tuple[int, int, int], hours: int) -> None:
    after, until = day(*date)
    assert len(runs("0 * * * *", after, until)) == hours
    assert len(runs("*/15 * * * *", after, until)) == 4 * hours


def test_a_year_of_days_is_one_run_a_day() -> None:
    first, last = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    found = runs("30 2 * * *", first, last)
    assert (len(found), len({run[:5] for run in found})) == (365, 365)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 6 * * MON-FRI", datetime(2026, 11, 20, 12, tzinfo=UTC), datetime(2026, 11, 23, 6, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 0 L * *", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)),
        ("5 4 * * *", datetime(2026, 1, 1, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 4, 5, tzinfo=UTC)),
        ("5 4  * * *", datetime(2026, 1, 1, 4, 4, 59, 999999, tzinfo=UTC), datetime(2026, 1, 1, 4, 5, tzinfo=UTC)),
    ],
)
def test_next_run(expression: str, after: datetime, expected: datetime) -> None:
    assert Cron(expression, "UTC").next_after(after) == expected


@pytest.mark.parametrize(
    ("expression", "timezone", "reason"),
    [
        ("", "UTC", "five fields"),
        ("* * * *", "UTC", "five fields"),
        ("0 * * * * *", "UTC", "five fields"),  # seconds are finer than the tick
        ("@daily", "UTC", "five fields"),
        ("0 0 * * *\n", "UTC", "five fields"),
        ("61 * * * *", "UTC", "bad minute"),
        ("* 24 * * *", "UTC", "bad hour"),
        ("0 0 30 2 *", "UTC", "bad day-of-month"),
        ("0 0 31 6-6 1#5/3", "UTC", "bad"),
        ("0 0 * * 1#1/2", "UTC", "bad day-of-week"),
        ("*/0 * * * *", "UTC", "bad minute"),
        ("* * * * *" + " " * 200, "UTC", "five fields"),
        ("* * * * *", "Mars/Olympus", "time zone"),
        ("* * * * *", "", "time zone"),
        ("* * * * *", "Europe", "time zone"),
        ("* * * * *", "../../etc/passwd", "time zone"),
        ("* * * * *", "/etc/localtime", "time zone"),
        ("* * * * *", "a\0b", "time zone"),
        ("* * * * *", "\ud800", "time zone"),
    ],
)
def test_what_is_no_schedule_is_refused(expression: str, timezone: str, reason: str) -> None:
    with pytest.raises(BadSchedule, match=reason):
        Cron(expression, timezone).check()


@settings(max_examples=examples(300))
@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(st.text("0123456789*/,-#LWMON", min_size=1, max_size=6), min_size=5, max_size=5).map(" ".join),
    ),
    st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)),  # noqa: DTZ001 (aware below)
)
def test_any_text_is_a_schedule_or_refused(expression: str, moment: datetime) -> None:
    after = moment.replace(tzinfo=UTC)
    try:
        found = Cron(expression, "Europe/Berlin").next_after(after)
    except BadSchedule:
        return
    assert found > after
    assert (found.second, found.microsecond) == (0, 0)
