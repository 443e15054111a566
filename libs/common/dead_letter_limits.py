"""When dead-lettering must stop: a bad deploy must not drain a topic into its dead letters.

Pure. Per partition, like arroyo's DlqLimit: too many bad records in a row, or too large a share of the last
ones. Once a limit is reached the partition is held at the bad record; after a pause it is half open: one bad
record may go, the next one holds again, a good one closes the matter.
"""

from collections import deque
from dataclasses import dataclass
from itertools import repeat
from typing import Self


@dataclass(frozen=True, slots=True)
class DeadLetterLimits:
    """`max_run` in a row; `max_share` of the last `window` records, once `least` were seen; pauses in seconds."""

    max_run: int = 50
    max_share: float = 0.3
    window: int = 500
    least: int = 100
    cool_off: float = 60.0


class PartitionHistory:
    """What became of the latest records of one partition."""

    def __init__(self, limits: DeadLetterLimits) -> None:
        self._limits = limits
        self._run = 0
        self._latest: deque[bool] = deque(maxlen=limits.window)

    def copy(self) -> Self:
        """A history that may be continued without changing this one."""
        twin = type(self)(self._limits)
        twin._run = self._run
        twin._latest.extend(self._latest)
        return twin

    def good(self, count: int = 1) -> None:
        """Records went through."""
        self._run = 0
        self._latest.extend(repeat(False, min(count, self._limits.window)))

    def refuses(self) -> str | None:
        """Why one more bad record must not be dead-lettered; None counts it and lets it go."""
        limits = self._limits
        if self._run >= limits.max_run:
            return f"{self._run} dead letters in a row"
        bad = sum(self._latest) + 1
        seen = min(len(self._latest) + 1, limits.window)
        if seen >= limits.least and bad > limits.max_share * seen:
            return f"{bad} of the last {seen} records are bad"
        self._run += 1
        self._latest.append(True)
        return None

    def half_open(self) -> None:
        """After the pause: one bad record may go."""
        self._run = self._limits.max_run - 1
        self._latest.clear()
