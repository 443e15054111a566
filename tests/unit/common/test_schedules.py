"""Pauses of failing connectors."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from libs.common.schedules import Planned, after_failure, job_id_of, pause

AT = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)


def planned(cron: str, timezone: str = "UTC") -> Planned:
    return Planned(uuid4(), uuid4(), cron, timezone, AT, None, None, 0)


@pytest.mark.parametrize(
    ("failures", "minutes"), [(1, 5), (2, 10), (3, 20), (8, 640), (9, 1280), (10, 1380), (11, 1380), (10_000, 1380)]
)
def test_pause(failures: int, minutes: int) -> None:
    assert pause(failures) == timedelta(minutes=minutes)


@pytest.mark.parametrize("failures", [1, 5, 50])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_what_runs_daily_loses_no_day_however_often_it_fails(failures: int, zone: str) -> None:
    """The clocks in Berlin go forward in this night."""
    schedule = planned("30 2 * * *", zone)
    due = schedule.after(AT - timedelta(days=1))
    following = after_failure(schedule, failures, due, due + timedelta(minutes=20))
    assert following == schedule.after(due)
    assert after_failure(schedule, failures, following, following) == schedule.after(following)


def test_what_runs_often_rests_longer_and_longer() -> None:
    schedule, due, rests = planned("*/5 * * * *"), AT, []
    for failures in range(1, 13):
        following = after_failure(schedule, failures, due, due + timedelta(seconds=30))
        rests.append(int((following - due).total_seconds() // 60))
        due = following
    assert rests == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1380, 1380, 1380]


def test_a_failure_noted_late_never_plans_the_past() -> None:
    now = AT + timedelta(days=3)
    assert after_failure(planned("0 * * * *"), 1, AT, now) > now


def test_a_due_job_has_one_id() -> None:
    schedule = planned("0 * * * *")
    assert job_id_of(schedule) == job_id_of(schedule)
    assert job_id_of(schedule) != job_id_of(planned("0 * * * *"))
