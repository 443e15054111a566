"""Runs that are killed at any moment, on a machine of any speed."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


async def killed(run: Coroutine[Any, Any, None], after: float | None, moved: Callable[[], Awaitable[bool]]) -> bool:
    """Kill a run after so many seconds, or, where None is given, once it has moved; whether it was still running."""
    task = asyncio.create_task(run)
    if after is not None:
        await asyncio.wait({task}, timeout=after)
    while after is None and not task.done() and not await moved():
        await asyncio.wait({task}, timeout=0.002)
    alive = not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return alive
