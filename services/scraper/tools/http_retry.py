"""How long to try again, and for what. Pure but for the reading of Retry-After dates."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Patience:
    """Attempts of one request and the seconds between them; a longer Retry-After means to give up at once."""

    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 8.0
    longest_retry_after: float = 60.0

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds after the n-th attempt: doubling, and anywhere in its upper half, so that clients do not march."""
        full = min(self.first_pause * 2.0 ** (attempt - 1), self.longest_pause)
        return full * (0.5 + chance / 2)


def is_passing(status: int) -> bool:
    """Whether the same request may be answered otherwise soon."""
    return status in (408, 429) or status >= 500


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for: a number or an HTTP date; None where it is neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value, now or datetime.now(UTC))
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until(value: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return math.nan
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
