"""Rules of usage analytics: names and matching keys, the order of what is known, popularity. Pure."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID, uuid5

from libs.common.clock import FUTURE_TOLERANCE
from libs.common.sql import Dialect, parse_table_name

WINDOW: Final = timedelta(days=30)
TOP_COLUMNS: Final = 10
LARGEST_COUNT: Final = 2**53
"""Counts stop here: the largest integer that every JSON reader takes exactly."""
NO_SYNC: Final = -1
"""`sync_seq` of a record that no job sent: it ranks below every job's record of the same resource."""

_KEYS: Final = UUID("5d2a0c5e-6a0b-5f0e-9a3c-2f6d0f0b7c11")
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class Rank(NamedTuple):
    """Order of what is known of one resource: the sync that saw it, its place there, when it was said."""

    sync_seq: int
    job_seq: int
    said_at: datetime


@dataclass(frozen=True, slots=True)
class Recency:
    """How the recency factor decays: `scale` now, half of it after `half_life_days`."""

    scale: float = 10.0
    half_life_days: float = 7.0

    def factor(self, last_queried_at: datetime | None, now: datetime) -> float:
        """0 for a product that was never queried."""
        if last_queried_at is None:
            return 0.0
        days = (now - last_queried_at) / timedelta(days=1)
        return self.scale * math.pow(0.5, days / self.half_life_days)


def popularity(query_count: int, unique_users: int, recency_factor: float) -> float:
    """Score from 0 to 100, by the formula of the specification."""
    raw = 0.5 * math.log2(1 + query_count) + 0.3 * unique_users + 0.2 * recency_factor
    return min(100.0, raw / 10.0 * 100)


def match_key(dialect: Dialect, parts: Sequence[str]) -> UUID:
    """Digest of a folded name. Names of two dialects never meet: each folds by its own rule."""
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in parts)
    return uuid5(_KEYS, f"{dialect.value}:{quoted}")


def suffix_keys(dialect: Dialect, parts: Sequence[str]) -> list[UUID]:
    """Keys of the whole name, then of its ends, longest first."""
    return [match_key(dialect, parts[start:]) for start in range(len(parts))]


class ClaimKey(NamedTuple):
    """A key under which a typed table name is found; `claim` is the key of the whole name in the same dialect."""

    key: UUID
    claim: UUID
    whole: bool


def claim_keys(name: str) -> list[ClaimKey]:
    """Keys of a typed name in every dialect in which it is one. Raises ValueError where it is none in any."""
    keys: list[ClaimKey] = []
    for dialect in Dialect:
        try:
            claimed = parse_table_name(name, dialect)
        except ValueError:
            continue
        whole, *ends = suffix_keys(dialect, claimed.parts)
        keys += [ClaimKey(whole, whole, True), *(ClaimKey(end, whole, False) for end in ends)]
    if not keys:
        parse_table_name(name, Dialect.POSTGRES)
    return keys


UnmatchedReason = Literal["no_product", "too_short", "ambiguous"]


def unmatched_reason(longer_claims: int) -> UnmatchedReason:
    """Why no product claims a table, from the number of different full names that end in its name."""
    if longer_claims == 0:
        return "no_product"
    return "too_short" if longer_claims == 1 else "ambiguous"


def counted_moment(executed_at: datetime, now: datetime) -> datetime | None:
    """When an execution counts: clamped to now up to five minutes ahead, None (refuse it) beyond."""
    if executed_at > now + FUTURE_TOLERANCE:
        return None
    return min(executed_at, now)


def in_utc(moment: datetime) -> datetime:
    """In UTC; a moment that UTC cannot express (year 0 or 10000) is the nearest one that it can."""
    if moment.tzinfo is UTC:
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _FIRST if moment.year == 1 else _LAST


def storable(text: str | None) -> str | None:
    """Without what Postgres does not take in a text."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return _UNSTORABLE.sub("\ufffd", text)


def chart_key(resource_type: str, resource_id: str, dashboard_id: str | None) -> UUID:
    """What a reference counts as: a chart on three dashboards (`dashboard:chart` each) is one."""
    if resource_type == "dashboard_chart":
        chart = resource_id.removeprefix(f"{dashboard_id}:") if dashboard_id else resource_id
        return uuid5(_KEYS, f"chart\n{chart}")
    return uuid5(_KEYS, f"{resource_type}\n{resource_id}")


def text_key(text: str) -> UUID:
    """Digest by which patterns of one text are grouped."""
    return uuid5(_KEYS, f"text\n{text}")


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted half-open ranges that hold exactly these numbers."""
    distinct = set(numbers)
    if distinct and (last := max(distinct)) - (first := min(distinct)) + 1 == len(distinct):
        return [(first, last + 1)]
    found: list[tuple[int, int]] = []
    for number in sorted(distinct):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


def days_between(since: datetime, until: datetime) -> list[date]:
    """The UTC days that a window touches, first to last."""
    first = since.astimezone(UTC).date()
    return [first + timedelta(days=n) for n in range((until.astimezone(UTC).date() - first).days + 1)]
