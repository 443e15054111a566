"""Postgres as a warehouse: its csvlog, read through functions or a foreign table."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from libs.common.connectors import PostgresSettings
from libs.common.db import Connection
from libs.common.sql import DefaultNames, Dialect
from services.log_miner.warehouses.interface import Batch, Cursor, Step, WarehouseError
from services.log_miner.warehouses.log_time import LogClock
from services.log_miner.warehouses.postgres_connect import Resolve, close, connect, session
from services.log_miner.warehouses.postgres_errors import MISSING_RIGHT, named_failures, warehouse_error
from services.log_miner.warehouses.postgres_files import FileLog
from services.log_miner.warehouses.postgres_lines import LineReader
from services.log_miner.warehouses.postgres_rights import all_steps, usable_reader
from services.log_miner.warehouses.postgres_table import TableLog

_CONNECT_SECONDS = 10
_ZONE = "/* tidemark reads times */ SELECT set_config('TimeZone', current_setting('log_timezone'), false)"
_ABBREVIATIONS = "/* tidemark reads times */ SELECT abbrev, utc_offset FROM pg_timezone_abbrevs"


async def _log_clock(connection: Connection) -> LogClock:
    zone: str = await connection.fetchval(_ZONE)
    offsets: dict[str, timedelta] = {row[0]: row[1] for row in await connection.fetch(_ABBREVIATIONS)}
    return LogClock(zone, offsets)


@dataclass(slots=True)
class OpenPostgres:
    """A logged-in session over the log of one database."""

    settings: PostgresSettings
    connection: Connection
    clock: LogClock
    log: FileLog | TableLog
    dialect: Dialect = Dialect.POSTGRES

    @property
    def defaults(self) -> DefaultNames:
        """Names are completed by the connector's database and search path."""
        return DefaultNames(self.settings.database, self.settings.default_schemas)

    async def batches(self, cursor: Cursor, since: datetime | None) -> AsyncIterator[Batch]:
        """See OpenWarehouse."""
        reader = LineReader(self.settings.database, frozenset(self.settings.exclude_users), self.clock, since)
        with named_failures(self.settings):
            async for read in self.log.read(cursor, since):
                executions = await asyncio.to_thread(lambda lines: tuple(reader.read(lines)), read.lines)
                yield Batch(
                    executions=executions,
                    lines_read=len(read.lines),
                    cursor={read.part: read.position},
                    progress=min(read.progress, 1.0),
                    warnings=read.warnings + _undated(reader),
                )


def _undated(reader: LineReader) -> tuple[str, ...]:
    count, reader.undated = reader.undated, 0
    return (f"{count} lines with a time in an unknown zone were left out",) if count else ()


@dataclass(frozen=True, slots=True)
class Postgres:
    """One connector's server."""

    settings: PostgresSettings
    resolve: Resolve

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenPostgres]:
        """See Warehouse."""
        async with session(self.settings, self.resolve) as connection:
            with named_failures(self.settings):
                reader, steps = await usable_reader(connection, self.settings)
                missing = [step for step in steps if not step.ok]
                if missing:
                    needed = " ".join(f"{step.detail} {step.fix}" for step in missing)
                    raise WarehouseError(MISSING_RIGHT, f"The log cannot be read. {needed}")
                clock = await _log_clock(connection)
            yield OpenPostgres(self.settings, connection, clock, _log(reader, connection, self.settings))

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
            async for step in all_steps(connection, self.settings):
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


def _log(reader: str, connection: Connection, settings: PostgresSettings) -> FileLog | TableLog:
    if reader == "file_fdw":
        return TableLog(connection, settings.log_table or "")
    return FileLog(connection)
