"""Spans of time that reports are about. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from libs.common.event_rules import EARLIEST
from services.reporting.figures import MICROSECOND

MOST_DAYS: Final = 3650
DEFAULT_DAYS: Final = 30

Interval: TypeAlias = Literal["daily", "weekly", "monthly"]


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` to `until`. Both ends belong to it, or, where `open_end`, only the first."""

    since: datetime
    until: datetime
    open_end: bool = False

    @property
    def length(self) -> timedelta:
        return self.until - self.since

    @property
    def last(self) -> datetime:
        """The last moment inside; moments are whole microseconds."""
        return self.until - MICROSECOND if self.open_end else self.until

    def previous(self) -> "Window":
        """The one of the same length that ends where this one begins."""
        return Window(self.since - self.length, self.since, open_end=True)


def window(now: datetime, days: int | None, since: datetime | None, until: datetime | None) -> Window:
    """The window asked for, in UTC: `days` up to now, or the explicit one. Raises ValueError with what does not fit."""
    if days is not None and since is not None:
        raise ValueError("days: give days or from, not both")
    try:
        end = min(_in_utc(until, now), now)
        begin = _in_utc(since, end - timedelta(days=days or DEFAULT_DAYS))
    except OverflowError:
        raise ValueError("from, to: must lie within the calendar") from None
    if begin >= end:
        raise ValueError("from: must be earlier than to, and in the past")
    if begin < EARLIEST:
        raise ValueError("from: nothing is recorded before 1970")
    if end - begin > timedelta(days=MOST_DAYS):
        raise ValueError(f"from: at most {MOST_DAYS} days before to")
    return Window(begin, end)


def _in_utc(moment: datetime | None, default: datetime) -> datetime:
    return default if moment is None else moment.astimezone(UTC)


def start_of(moment: datetime, interval: Interval) -> datetime:
    """Beginning of the UTC day, of the week (Monday), or of the month that holds a moment in UTC."""
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if interval == "weekly":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "monthly" else day


def _following(start: datetime, interval: Interval) -> datetime:
    if interval == "monthly":
        return (start + timedelta(days=31)).replace(day=1)
    return start + timedelta(days=7 if interval == "weekly" else 1)


def buckets(whole: Window, interval: Interval) -> dict[datetime, Window]:
    """The parts of a window in order, by the start of their day, week or month; the first and last may be cut."""
    parts: dict[datetime, Window] = {}
    start = start_of(whole.since, interval)
    while start < whole.until:
        following = _following(start, interval)
        is_last = following >= whole.until
        end = whole.until if is_last else following
        parts[start] = Window(max(start, whole.since), end, whole.open_end if is_last else True)
        start = following
    return parts
