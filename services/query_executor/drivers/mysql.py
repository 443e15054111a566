"""MySQL and MariaDB: one prepared statement in a read-only transaction, its rows streamed, rolled back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from mysql.connector.errors import Error

from libs.common.errors import TidemarkError
from services.query_executor.drivers import Column, Limits, Row
from services.query_executor.drivers.batches import FIRST_ROWS, next_size
from services.query_executor.drivers.budget import Budget
from services.query_executor.drivers.mysql_connect import MySqlSession, connect
from services.query_executor.drivers.mysql_errors import is_of_server, named_failures
from services.query_executor.drivers.mysql_values import argument, column
from services.query_executor.drivers.sessions import Sessions
from services.query_executor.drivers.source import Make, Pooling, Resolve, Source
from services.query_executor.errors import QueryValidationError
from services.query_executor.secret_types import SqlConnection
from services.query_executor.statement import Bound
from services.query_executor.template import written

_KILL_SECONDS: Final = 5.0


class MySqlRows:
    """The rows of a statement that sends them while they are read."""

    def __init__(self, session: MySqlSession, fields: Sequence[Any], limits: Limits, budget: Budget) -> None:
        self.columns: tuple[Column, ...] = tuple(map(column, fields))
        self.available: int | None = None
        self._session = session
        self._fields = list(fields)
        self._budget = budget
        self._wanted, self._size = limits.rows + 1 if fields else 0, FIRST_ROWS

    async def batch(self) -> Sequence[Row]:
        """The next rows; few at a time where rows are wide."""
        asked = min(self._wanted, self._size)
        if asked == 0:
            return ()
        with named_failures(self._budget.seconds):
            async with self._budget.spent():
                rows, end = await self._read(asked)
        self._wanted = 0 if end else self._wanted - len(rows)
        self._size = next_size(rows)
        return rows

    async def _read(self, asked: int) -> tuple[list[Any], bool]:
        session = self._session
        try:
            rows, end = await session.connection.get_rows(count=asked, binary=True, columns=self._fields)
        except Error as error:
            session.busy = not is_of_server(error)
            raise
        if end is not None:
            session.busy = False
        return rows, end is not None


class MySqlDriver:
    """One version of one secret. Connections are made when needed, and closed when unused."""

    def __init__(self, source: Source, resolve: Resolve, pooling: Pooling) -> None:
        assert isinstance(source.connection, SqlConnection)
        self._settings: SqlConnection = source.connection
        self._ssl_mode = source.settings.ssl_mode
        self._resolve = resolve
        self._sessions = Sessions(self._connect, pooling)
        self._returning: set[asyncio.Task[None]] = set()

    async def _connect(self) -> MySqlSession:
        return await connect(self._settings, self._ssl_mode, self._resolve)

    @asynccontextmanager
    async def run(self, bound: Bound, limits: Limits) -> AsyncIterator[MySqlRows]:
        """Run one statement read-only."""
        budget = Budget(limits.seconds)
        async with self._borrowed(limits) as session:
            with named_failures(limits.seconds):
                async with budget.spent():
                    fields = await _started(session, bound, limits)
            yield MySqlRows(session, fields, limits, budget)

    @asynccontextmanager
    async def _borrowed(self, limits: Limits) -> AsyncIterator[MySqlSession]:
        with named_failures(limits.seconds):
            session = await self._sessions.take()
        try:
            yield session
        except BaseException:
            # To its end even if we are cancelled: a cancelled statement must have stopped on the server.
            await asyncio.shield(self._returned(session))
            raise
        self._returned(session)

    def _returned(self, session: MySqlSession) -> "asyncio.Task[None]":
        """Resetting takes some turns to the server, for which a result need not wait."""
        task = asyncio.create_task(self._give_back(session))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task

    async def _give_back(self, session: MySqlSession) -> None:
        """A session with rows that nobody reads is dropped, its statement stopped first. Never fails."""
        if session.busy:
            await self._stop(session)
            await self._sessions.drop(session)
        elif session.alive and await session.renewed():
            await self._sessions.give(session)
        else:
            await self._sessions.drop(session)

    async def _stop(self, session: MySqlSession) -> None:
        """From a second connection: the first one hears nothing while its statement runs."""
        with suppress(OSError, Error, TidemarkError, TimeoutError):
            async with asyncio.timeout(_KILL_SECONDS):
                second = await self._connect()
                try:
                    await second.command(f"KILL QUERY {session.number}")
                finally:
                    await second.end()

    async def close(self) -> None:
        """Wait for statements that end, then leave the server."""
        await asyncio.gather(*self._returning)
        await self._sessions.close()


async def _started(session: MySqlSession, bound: Bound, limits: Limits) -> Sequence[Any]:
    """The columns of the result, none where the statement has no result."""
    session.busy = True
    try:
        await session.begin(limits.seconds)
        return await _executed(session, bound)
    except Error as error:
        session.busy = not is_of_server(error)
        raise


async def _executed(session: MySqlSession, bound: Bound) -> Sequence[Any]:
    connection = session.connection
    text = written(bound, lambda _, __: "?").encode()
    arguments = [argument(bind) for bind in bound.binds]
    prepared: Any = await connection.cmd_stmt_prepare(text)
    if prepared["num_params"] != len(arguments):
        session.busy = False
        raise QueryValidationError("A placeholder does not stand where the server reads a value.")
    result: Any = await connection.cmd_stmt_execute(
        prepared["statement_id"], data=arguments, parameters=prepared["parameters"]
    )
    if isinstance(result, dict):
        session.busy = False
        return ()
    connection.rows_of.expect(result[1])
    connection.unread_result = True
    return list(result[1])


def maker(resolve: Resolve, pooling: Pooling) -> Make:
    """Makes drivers of this engine."""
    return lambda source: MySqlDriver(source, resolve, pooling)
