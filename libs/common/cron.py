"""When a schedule runs: five fields of cron in a time zone, as Debian's cron reads them. Pure.

A run that the change of clocks leaves out comes right behind the gap; one in the hour that comes twice runs once,
unless the schedule says `*` for its minutes or hours.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

LONGEST: Final = 200
_WRITTEN = re.compile(r"[0-9A-Za-z*,/#-]+(?: +[0-9A-Za-z*,/#-]+){4}", re.ASCII)
_ANY_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


class BadSchedule(ValueError):
    """The text says what is wrong with it, for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields (minute, hour, day of month, month, day of week) and the time zone that they are read in."""

    expression: str
    timezone: str

    def next_after(self, moment: datetime) -> datetime:
        """The first run strictly after a moment, in UTC. Raises BadSchedule."""
        zone = _zone(self.timezone)
        if len(self.expression) > LONGEST or not _WRITTEN.fullmatch(self.expression):
            raise BadSchedule("a schedule has five fields of cron: minute, hour, day of month, month, day of week")
        try:
            found = next(CronSim(self.expression, moment.astimezone(zone)))
        except StopIteration:
            raise BadSchedule("no day ever fits this schedule") from None
        except (CronSimError, AssertionError, TypeError, ValueError, OverflowError) as error:
            reason = str(error).lower() if isinstance(error, CronSimError) else "bad field"
            raise BadSchedule(f"the schedule has a {reason}") from None
        return found.astimezone(UTC)

    def check(self) -> None:
        """Raise BadSchedule unless it runs some day."""
        self.next_after(_ANY_YEAR)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # KeyError: a name that nobody knows; the rest: paths of all kinds
        raise BadSchedule("the time zone is none of the IANA names, such as Europe/Berlin or UTC") from None
