"""Working ahead and behind: the next item is made, and the last one sent, while the present one is dealt with."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")
_END: Final = object()


async def one_ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items in the same order; one more is in the making than asked for.

    What making an item raises is raised when its turn comes. Left early, the making is cancelled.
    """

    async def following() -> object:
        return await anext(items, _END)

    async with aclosing(items):
        upcoming = asyncio.create_task(following())
        try:
            while (item := await upcoming) is not _END:
                upcoming = asyncio.create_task(following())
                yield item  # type: ignore[misc]
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)


class OneBehind:
    """Work that goes on while other work is done: one piece at a time, in order. Left early, it is cancelled."""

    def __init__(self) -> None:
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin it when what was begun before is done. Raises what that raised."""
        try:
            await self.done()
        except BaseException:
            work.close()
            raise
        self._work = asyncio.create_task(work)

    async def done(self) -> None:
        """Wait for what was begun. Raises what it raised."""
        work, self._work = self._work, None
        if work is not None:
            await work
