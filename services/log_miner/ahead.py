"""Working ahead: the next item is made while the present one is dealt with."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeVar

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
