"""The drivers that are alive: one per version of a secret, closed when it is replaced or long unused."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import structlog

from libs.common.failures import describe
from services.query_executor.drivers import Driver
from services.query_executor.drivers.confirmed import Eager
from services.query_executor.drivers.source import Make, Source
from services.query_executor.errors import DriverNotSupported
from services.query_executor.statement import Engine

_log = structlog.get_logger()
_CLOSING_SECONDS: Final = 10.0


class _Kept:
    """A driver, how many statements use it, and whether it goes when the last of them ends."""

    __slots__ = ("driver", "eager", "retired", "users", "version")

    def __init__(self, driver: Driver, version: int) -> None:
        self.driver = driver
        self.eager = driver if isinstance(driver, Eager) else None
        self.version = version
        self.users = 0
        self.retired = False


class Drivers:
    """Makes drivers when they are needed, keeps at most `limit` of them."""

    def __init__(self, makers: Mapping[Engine, Make], limit: int) -> None:
        self._makers = makers
        self._limit = limit
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def supports(self, engine: Engine) -> bool:
        return engine in self._makers

    @asynccontextmanager
    async def lease(self, source: Source) -> AsyncIterator[Driver]:
        """The driver of a source while a statement runs. A newer version of the secret closes the older's."""
        kept = self._get(source)
        kept.users += 1
        try:
            yield kept.driver
        finally:
            kept.users -= 1
            if kept.retired and not kept.users:
                self._close(kept)

    def has_idle(self, source: Source) -> bool:
        """Whether a statement can be made ready on a connection of this version of the secret that is open."""
        kept = self._kept.get(source.secret_id)
        if kept is None or kept.version != source.version or kept.eager is None:
            return False
        return kept.eager.has_idle()

    def _get(self, source: Source) -> _Kept:
        kept = self._kept.get(source.secret_id)
        if kept is None or kept.version != source.version:
            make = self._makers.get(source.engine)
            if make is None:
                raise DriverNotSupported
            fresh = _Kept(make(source), source.version)
            if kept is not None and kept.version > source.version:
                fresh.retired = True  # a request that read the secret before it was rotated
                return fresh
            self._retire(source.secret_id)
            kept = self._kept[source.secret_id] = fresh
        self._kept.move_to_end(source.secret_id)
        while len(self._kept) > self._limit:
            self._retire(next(iter(self._kept)))
        return kept

    def _retire(self, secret: UUID) -> None:
        kept = self._kept.pop(secret, None)
        if kept is not None:
            kept.retired = True
            if not kept.users:
                self._close(kept)

    def forget(self, secret: UUID) -> None:
        """A deleted secret's connections are closed here at once; elsewhere when they have been unused for long."""
        self._retire(secret)

    def _close(self, kept: _Kept) -> None:
        closing = asyncio.create_task(_closed(kept.driver))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all; statements have ended by now, or are stopped."""
        drivers = [kept.driver for kept in self._kept.values()]
        self._kept.clear()
        await asyncio.gather(*map(_closed, drivers), *self._closing)


async def _closed(driver: Driver) -> None:
    try:
        async with asyncio.timeout(_CLOSING_SECONDS):
            await driver.close()
    except Exception as error:
        _log.warning("connections could not be closed in order", error=describe(error))
