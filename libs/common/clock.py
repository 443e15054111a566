"""The one clock of business time. Tokens, leases and queues use real time instead."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

FUTURE_TOLERANCE = timedelta(minutes=5)


def shifted_clock(offset_seconds: float = 0.0) -> Clock:
    """A clock in UTC that runs `offset_seconds` ahead of real time."""
    offset = timedelta(seconds=offset_seconds)
    return lambda: datetime.now(UTC) + offset


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z`, microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
