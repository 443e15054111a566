"""Times of a log in any zone, exact, also in the hour that comes twice."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.log_miner.warehouses.log_time import LogClock, UnknownZone

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "GMT")


@pytest.mark.parametrize(
    ("zone", "text", "moment"),
    [
        ("UTC", "2026-11-21 09:31:25.475 UTC", "2026-11-21T09:31:25.475Z"),
        ("Europe/Berlin", "2026-07-01 12:00:00.000 CEST", "2026-07-01T10:00:00Z"),
        ("Europe/Berlin", "2026-10-25 02:30:00.123 CEST", "2026-10-25T00:30:00.123Z"),
        ("Europe/Berlin", "2026-10-25 02:30:00.123 CET", "2026-10-25T01:30:00.123Z"),
        ("Europe/Berlin", "2026-03-29 01:59:59.999 CET", "2026-03-29T00:59:59.999Z"),
        ("Europe/Berlin", "2026-03-29 03:00:00.000 CEST", "2026-03-29T01:00:00Z"),
        ("America/Sao_Paulo", "2026-11-21 06:31:25.475 -03", "2026-11-21T09:31:25.475Z"),
        ("Asia/Kathmandu", "2026-11-21 15:16:25.000 +0545", "2026-11-21T09:31:25Z"),
        # The setting was changed since the line was written.
        ("Europe/Berlin", "2026-11-21 09:31:25.475 UTC", "2026-11-21T09:31:25.475Z"),
        ("UTC", "2026-11-21 04:31:25.475 EST", "2026-11-21T09:31:25.475Z"),
        ("No/Such_Zone", "2026-11-21 09:31:25.475 GMT", "2026-11-21T09:31:25.475Z"),
    ],
)
def test_moments(zone: str, text: str, moment: str) -> None:
    clock = LogClock(zone, {"EST": timedelta(hours=-5)})
    assert clock.read(text) == datetime.fromisoformat(moment)


@given(st.sampled_from(ZONES), st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001
def test_what_a_server_writes_is_read_back(zone: str, naive: datetime) -> None:
    moment = naive.replace(microsecond=naive.microsecond // 1000 * 1000, tzinfo=UTC)
    local = moment.astimezone(ZoneInfo(zone))
    written = f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d} {local.tzname()}"
    assert LogClock(zone, {}).read(written) == moment


def test_an_unknown_abbreviation_is_not_guessed() -> None:
    with pytest.raises(UnknownZone):
        LogClock("UTC", {}).read("2026-11-21 09:31:25.475 IST")
