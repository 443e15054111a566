"""One piece of work at a time, in the background, while the next one is made ready."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

_CANCELLING_SECONDS: Final = 5.0


class Turns:
    """Whoever waits for its turn looks behind it whether `round` is still the one that it came in."""

    def __init__(self) -> None:
        self.round = 0
        self._work: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is in work."""
        return self._work is not None and not self._work.done()

    async def free(self) -> None:
        """Wait until nothing is in work, however it ended."""
        if self._work is not None:
            await asyncio.wait([self._work])

    def take(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin it, where nothing is in work; or from the end of what is."""
        self._work = asyncio.create_task(work)

    def call_off(self) -> None:
        """Who waits now must not begin."""
        self.round += 1

    async def end(self, seconds: float) -> None:
        """Let what is in work finish; what takes longer is cancelled. Who waits must not begin."""
        self.call_off()
        if self._work is not None and not (await asyncio.wait([self._work], timeout=seconds))[0]:
            self._work.cancel()
            await asyncio.wait([self._work], timeout=_CANCELLING_SECONDS)
