"""The time limit of a statement: what waiting for the server takes, not what the reader of the rows takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.query_executor.errors import QueryTimeout


class Budget:
    """Seconds that are left. When they are used up, whatever waits is cancelled, and so the statement."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._left = seconds

    @asynccontextmanager
    async def spent(self) -> AsyncIterator[None]:
        """Waiting for the server. Raises QueryTimeout."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(max(self._left, 0.0)) as limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise timed_out(self.seconds) from None
            raise
        finally:
            self._left -= clock() - began


def timed_out(seconds: float) -> QueryTimeout:
    """What the caller reads."""
    message = f"The query took longer than {seconds:g} seconds and was stopped."
    return QueryTimeout(message, details={"timeout_seconds": seconds})
