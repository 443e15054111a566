"""How many statements may run at once on the server of one secret."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from libs.common.errors import Unavailable

_WAIT_SECONDS: Final = 15.0


class Turns:
    """As many as there may be connections. Waiting for a turn is not the statement's time."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def take(self) -> None:
        """Raises Unavailable where none gets free in time."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS) as limit:
                await self._free.acquire()
        except TimeoutError:
            if limit.expired():
                raise Unavailable("All connections of this secret are busy; try again.", retry_after=2) from None
            raise

    def release(self) -> None:
        """To the one who has waited longest."""
        self._free.release()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """For as long as the block takes."""
        await self.take()
        try:
            yield
        finally:
            self.release()
