"""Postgres as a warehouse: connecting, and trying a connection step by step."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from libs.common.connectors import PostgresSettings
from services.log_miner.warehouses.interface import OpenWarehouse, Step
from services.log_miner.warehouses.postgres_connect import Resolve, close, connect, session
from services.log_miner.warehouses.postgres_errors import named_failures, warehouse_error
from services.log_miner.warehouses.postgres_modes import choose, opened, tried

_CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Postgres:
    """One connector's server."""

    settings: PostgresSettings
    resolve: Resolve

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenWarehouse]:
        """See Warehouse."""
        async with session(self.settings, self.resolve) as connection:
            with named_failures(self.settings):
                choice = await choose(connection, self.settings)
                log = await opened(choice, connection, self.settings)
            yield log

    async def check(self) -> AsyncIterator[Step]:
        """See Warehouse."""
        try:
            address = await self.resolve(self.settings.host, self.settings.port)
            yield Step("resolve host", True, f"{self.settings.host} is {address}")
        except Exception as error:
            yield self._failed("resolve host", error)
            return
        try:
            await self._dial(address)
            yield Step("connect", True, f"port {self.settings.port} answers")
        except Exception as error:
            yield self._failed("connect", error)
            return
        try:
            connection = await connect(self.settings, address)
        except Exception as error:
            yield self._failed("authenticate", error)
            return
        yield Step("authenticate", True, f"logged in as {self.settings.username}")
        try:
            async for step in tried(connection, self.settings):
                yield step
        finally:
            await close(connection)

    async def _dial(self, address: str) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(address, self.settings.port)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def _failed(self, step: str, error: Exception) -> Step:
        failure = warehouse_error(error, self.settings)
        return Step(step, False, failure.detail, failure.detail)
