"""Statements that are made ready before it is sure that they are to be run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol, runtime_checkable

from services.query_executor.drivers import Driver, Limits, Rows
from services.query_executor.statement import Bound

_SOON: Final = 0.02


@runtime_checkable
class Eager(Protocol):
    """A driver that makes a statement ready when it is entered, and runs it by the first batch that is asked for."""

    def has_idle(self) -> bool:
        """Whether a statement can be made ready without another connection."""


class Doubt(Protocol):
    """Whether a statement is to be run is being asked."""

    async def is_over(self, seconds: float) -> bool:
        """Whether there is an answer, within so many seconds."""

    async def confirm(self) -> None:
        """Returns when the statement is to be run, and raises where it is not."""


class Confirmed:
    """An eager driver whose statements are run only when there is no doubt."""

    def __init__(self, driver: Driver, doubt: Doubt) -> None:
        self._driver = driver
        self._doubt = doubt

    @asynccontextmanager
    async def run(self, bound: Bound, limits: Limits) -> AsyncIterator[Rows]:
        """As the driver's. Raises what `confirm` raises."""
        async with self._driver.run(bound, limits) as rows:
            # The server counts the waiting as the statement's time: not for long.
            if await self._doubt.is_over(_SOON):
                await self._doubt.confirm()
                yield rows
                return
        await self._doubt.confirm()
        async with self._driver.run(bound, limits) as rows:
            yield rows

    async def close(self) -> None:
        """The driver is whose it was."""
