"""Statements that are made ready before it is sure that they are to be run."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, runtime_checkable

from services.query_executor.drivers import Driver, Limits, Rows
from services.query_executor.statement import Bound


@runtime_checkable
class Eager(Protocol):
    """A driver that makes a statement ready when it is entered, and runs it by the first batch that is asked for."""

    def has_idle(self) -> bool:
        """Whether a statement can be made ready without another connection."""


class Confirmed:
    """An eager driver whose statements are run only when `confirm` has returned."""

    def __init__(self, driver: Driver, confirm: Callable[[], Awaitable[None]]) -> None:
        self._driver = driver
        self._confirm = confirm

    @asynccontextmanager
    async def run(self, bound: Bound, limits: Limits) -> AsyncIterator[Rows]:
        """As the driver's. Raises what `confirm` raises."""
        async with self._driver.run(bound, limits) as rows:
            await self._confirm()
            yield rows

    async def close(self) -> None:
        """The driver is whose it was."""
