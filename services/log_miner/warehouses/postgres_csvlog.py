"""Mining a Postgres csvlog, through functions or a foreign table."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta

from libs.common.connectors import PostgresSettings
from libs.common.db import Connection
from libs.common.sql import DefaultNames, Dialect
from services.log_miner.warehouses.interface import Batch, Cursor
from services.log_miner.warehouses.log_time import LogClock
from services.log_miner.warehouses.postgres_errors import named_failures
from services.log_miner.warehouses.postgres_files import FileLog
from services.log_miner.warehouses.postgres_lines import LineReader
from services.log_miner.warehouses.postgres_table import TableLog
from services.log_miner.warehouses.statement_counts import counted_until, hand_over, of_the_log

_ZONE = "SELECT /* tidemark reads times */ set_config('TimeZone', current_setting('log_timezone'), false)"
_ABBREVIATIONS = "SELECT /* tidemark reads times */ abbrev, utc_offset FROM pg_timezone_abbrevs"


async def _log_clock(connection: Connection) -> LogClock:
    zone: str = await connection.fetchval(_ZONE)
    offsets: dict[str, timedelta] = {row[0]: row[1] for row in await connection.fetch(_ABBREVIATIONS)}
    return LogClock(zone, offsets)


@dataclass(slots=True)
class OpenCsvlog:
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

    async def batches(self, cursor: Cursor, since: datetime | None) -> AsyncGenerator[Batch, None]:
        """See OpenWarehouse. What was counted by pg_stat_statements before is not counted again."""
        handed_over = hand_over(cursor)
        if handed_over:
            yield Batch(executions=(), lines_read=0, cursor=handed_over, progress=0.0)
        since = max(filter(None, (since, counted_until(cursor))), default=None)
        reader = LineReader(self.settings.database, frozenset(self.settings.exclude_users), self.clock, since)
        with named_failures(self.settings):
            async for read in self.log.read(of_the_log(cursor), since):
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


async def open_csvlog(connection: Connection, settings: PostgresSettings, reader: str) -> OpenCsvlog:
    """The log, read in the way that the rights allow."""
    log = TableLog(connection, settings.log_table or "") if reader == "file_fdw" else FileLog(connection)
    return OpenCsvlog(settings, connection, await _log_clock(connection), log)
