"""Times of a csvlog: local time with a zone abbreviation, made exact. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NUMERIC = re.compile(r"[+-]\d{2}(\d{2})?")


class UnknownZone(ValueError):
    """A time of the log whose zone nobody knows."""


class LogClock:
    """Reads times that a server with this `log_timezone` wrote; `abbreviations` are the server's own meanings.

    The hour that the end of summer time repeats is told apart by its abbreviation.
    """

    def __init__(self, log_timezone: str, abbreviations: Mapping[str, timedelta]) -> None:
        self._zone = _zone_or_none(log_timezone)
        self._abbreviations = abbreviations
        self._offsets: dict[tuple[str, str], tzinfo] = {}

    def read(self, text: str) -> datetime:
        """`2026-10-25 02:30:00.123 CEST` as a moment in UTC. Raises UnknownZone or ValueError."""
        local, _, abbreviation = text.rpartition(" ")
        # Summer time begins and ends under another abbreviation: an hour and a name fix the offset.
        key = (local[:13], abbreviation)
        offset = self._offsets.get(key)
        if offset is None:
            offset = self._offsets[key] = self._offset(datetime.fromisoformat(f"{local[:13]}:30:00"), abbreviation)
        moment = datetime.fromisoformat(local).replace(tzinfo=offset)
        return moment if offset is UTC else moment.astimezone(UTC)

    def _offset(self, local: datetime, abbreviation: str) -> tzinfo:
        for fold in (0, 1) if self._zone else ():
            moment = local.replace(tzinfo=self._zone, fold=fold)
            if moment.tzname() == abbreviation:
                return timezone(moment.utcoffset() or timedelta(0))
        if abbreviation in ("UTC", "GMT"):
            return UTC
        if _NUMERIC.fullmatch(abbreviation):
            return timezone(_numeric(abbreviation))
        try:
            return timezone(self._abbreviations[abbreviation])
        except KeyError:
            raise UnknownZone(abbreviation) from None


def _zone_or_none(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _numeric(text: str) -> timedelta:
    sign = -1 if text.startswith("-") else 1
    digits = text[1:].ljust(4, "0")
    return sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]))
