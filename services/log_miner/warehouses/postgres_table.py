"""Reading the csvlog through a foreign table (file_fdw), or several below one parent: counted lines, in file order."""

from collections.abc import AsyncIterator
from datetime import datetime

from libs.common.db import Connection
from services.log_miner.warehouses.csv_records import PREPARED, LogLine
from services.log_miner.warehouses.interface import Cursor, Position, WarehouseError
from services.log_miner.warehouses.postgres_files import Read

_LINES = 2_000

_TABLES = """WITH RECURSIVE /* tidemark finds log tables */ tree(oid) AS (
    SELECT to_regclass($1)::oid UNION ALL SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
)
SELECT tree.oid::regclass::text FROM tree JOIN pg_class c ON c.oid = tree.oid WHERE c.relkind IN ('f', 'r', 'v')
ORDER BY 1"""
# Only LOG lines of this database carry text, and of `detail` only what PREPARE said: bind values stay on the server.
_SELECT = """SELECT /* tidemark reads the log */
    to_char(log_time::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') || ' UTC' AS log_time,
       coalesce(user_name, '') AS user_name, coalesce(database_name, '') AS database_name,
       session_id, session_line_num::int8 AS line_num, coalesce(command_tag, '') AS tag, error_severity,
       CASE WHEN error_severity = 'LOG' AND database_name = current_database() THEN message ELSE '' END AS message,
       CASE WHEN detail LIKE '{prepared}%' THEN detail END AS detail, coalesce(application_name, '') AS application
FROM {table} OFFSET {offset} LIMIT {limit}"""
_FIRST = "SELECT /* tidemark identifies the log */ session_id || ':' || session_line_num FROM {table} LIMIT 1"
_COUNT = "SELECT /* tidemark measures the log */ count(*) FROM {table}"


def _line(row: "tuple[str, ...]") -> LogLine:
    time, user, database, session, number, tag, severity, message, detail, application = row
    prepared = detail.removeprefix(PREPARED) if detail else None
    return LogLine(time, user, database, session, int(number), tag, severity, message, prepared, application)


class TableLog:
    """The log as a table. A position is the number of lines read, with the first line's id to notice a new file."""

    def __init__(self, connection: Connection, table: str) -> None:
        self._connection = connection
        self._table = table

    async def tables(self) -> list[str]:
        """The tables that hold lines, quoted for SQL: the named one, or those below it."""
        rows = await self._connection.fetch(_TABLES, self._table)
        if not rows:
            raise WarehouseError("unknown_log_table", f"There is no table {self._table}; check log_table.")
        return [row[0] for row in rows]

    async def read(self, cursor: Cursor, since: datetime | None) -> AsyncIterator[Read]:
        """What the tables gained after `cursor`."""
        tables = await self.tables()
        for gone in cursor.keys() - set(tables):
            yield Read(gone, (), None, 0.0)
        for number, table in enumerate(tables):
            async for read in self._rows(table, cursor.get(table), number / len(tables), 1 / len(tables)):
                yield read

    async def _rows(self, table: str, known: Position | None, done: float, share: float) -> AsyncIterator[Read]:
        total: int = await self._connection.fetchval(_COUNT.format(table=table))
        first: str | None = await self._connection.fetchval(_FIRST.format(table=table))
        offset, warnings = _go_on(table, known, first, total)
        query = _SELECT.format(table=table, offset=offset, limit=max(total - offset, 0), prepared=PREPARED)
        async with self._connection.transaction(readonly=True):
            rows = await self._connection.cursor(query)
            while batch := await rows.fetch(_LINES):
                offset += len(batch)
                position = {"line": offset, "first": first}
                lines = tuple(_line(tuple(row)) for row in batch)
                yield Read(table, lines, position, done + share * offset / max(total, 1), warnings)
                warnings = ()
        if warnings:
            yield Read(table, (), {"line": offset, "first": first}, done + share, warnings)


def _go_on(table: str, known: Position | None, first: str | None, total: int) -> tuple[int, tuple[str, ...]]:
    if known is None:
        return 0, ()
    if known["first"] not in (None, first) or total < known["line"]:
        return 0, (f"log table {table} shows another file; what the old one had gained since may be lost",)
    return known["line"], ()
