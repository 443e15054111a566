"""What runs by the clock: refreshing what is marked, marking what has grown old, closing what waits too long."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from libs.common.failures import describe

_log = structlog.get_logger()
_SLOW: Final = timedelta(seconds=10)


class Upkeep:
    """Repeats tasks with a pause in between until it is stopped; a failure is logged and the task tried again."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def every(self, pause: timedelta, name: str, task: Callable[[], Awaitable[object]]) -> None:
        """Start repeating a task."""
        self._tasks.append(asyncio.create_task(self._repeat(pause.total_seconds(), name, task), name=name))

    async def stop(self) -> None:
        """Let what runs finish."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _repeat(self, pause: float, name: str, task: Callable[[], Awaitable[object]]) -> None:
        while not self._stop.is_set():
            wait = pause
            try:
                await task()
            except Exception as error:
                _log.warning("upkeep failed; trying on", task=name, error=describe(error))
                wait = max(pause, _SLOW.total_seconds() / 2)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stop.wait()
