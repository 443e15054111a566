"""PostgreSQL through asyncpg: one prepared statement in a read-only transaction, read by a cursor, rolled back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from libs.common.db import Connection, Pool
from libs.common.errors import Unavailable
from services.query_executor.drivers import Column, Limits, Row
from services.query_executor.drivers.batches import FIRST_ROWS, next_size
from services.query_executor.drivers.budget import Budget
from services.query_executor.drivers.postgres_binding import Binding
from services.query_executor.drivers.postgres_errors import named_failures
from services.query_executor.drivers.postgres_portal import Portal
from services.query_executor.drivers.postgres_values import Conversion, prepare_types
from services.query_executor.drivers.source import Make, Pooling, Resolve, Source
from services.query_executor.drivers.tls import verified
from services.query_executor.errors import QueryValidationError
from services.query_executor.secret_types import SqlConnection
from services.query_executor.statement import Bound

if TYPE_CHECKING:  # generic in the stubs only
    from asyncpg.pool import PoolConnectionProxy

# Opens a connection with whatever else asyncpg is to be told.
Login = Callable[..., Awaitable["asyncpg.Connection[asyncpg.Record]"]]
_CONNECT_SECONDS: Final = 10.0
_LOCK_SECONDS: Final = 5
_RELEASE_SECONDS: Final = 10.0
_WAIT_SECONDS: Final = 15.0
_LOST: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_SESSION: Final = {
    "application_name": "tidemark-query",
    "default_transaction_read_only": "on",
    "lock_timeout": str(_LOCK_SECONDS * 1000),
}


@dataclass(frozen=True, slots=True)
class Flavour:
    """What differs between servers of this protocol: settings of a new session, words that open a transaction and
    renew a session, the type that texts travel as."""

    settings: Mapping[str, str]
    begin: Callable[[Limits], str]
    renew: str
    text: str


async def _acquired(pool: Pool) -> "PoolConnectionProxy[asyncpg.Record]":
    """A connection; 503 where none gets free in time. Waiting for one is not the statement's time."""
    try:
        async with asyncio.timeout(_WAIT_SECONDS) as limit:
            return await pool.acquire()
    except TimeoutError:
        if limit.expired():
            raise Unavailable("All connections of this secret are busy; try again.", retry_after=2) from None
        raise


async def _as_it_is(_connection: Connection) -> None:
    """A connection was renewed before it went back."""


async def _give_back(pool: Pool, connection: "PoolConnectionProxy[asyncpg.Record]", renew: str) -> None:
    """Roll back, renew and return, in one turn to the server; a connection that does not answer, or that cannot be
    renewed, is dropped. Never fails."""
    try:
        if not connection.is_closed():
            rolled_back = "ROLLBACK; " if connection.is_in_transaction() else ""
            await connection.execute(rolled_back + renew, timeout=_RELEASE_SECONDS)
    except _LOST:
        with suppress(*_LOST):  # one that the server dropped has left the pool already
            connection.terminate()
    with suppress(*_LOST):
        await pool.release(connection, timeout=_RELEASE_SECONDS)


class PostgresRows:
    """The rows of a statement that runs by the first batch that is asked for."""

    def __init__(self, portal: Portal, statement: "PreparedStatement[Any]", limits: Limits, budget: Budget) -> None:
        kinds = statement.get_attributes()
        self.columns = tuple(Column(each.name, each.type.name) for each in kinds)
        self.available: int | None = None
        self._portal = portal
        self._convert = Conversion([each.type for each in kinds])
        self._budget = budget
        self._wanted, self._size = limits.rows + 1, FIRST_ROWS

    async def batch(self) -> Sequence[Row]:
        """The next rows; few at a time where rows are wide."""
        asked = min(self._wanted, self._size)
        if asked == 0:
            return ()
        with named_failures(self._budget.seconds):
            async with self._budget.spent():
                records = await self._portal.fetch(asked)
            rows = self._convert(records)
        self._wanted = self._wanted - len(records) if len(records) == asked else 0
        self._size = next_size(records)
        return rows


def secret_login(source: Source, resolve: Resolve) -> Login:
    """Logs in with a secret, at the address that was checked just then."""
    settings, ssl_mode = source.connection, source.settings.ssl_mode
    assert isinstance(settings, SqlConnection)

    async def login(**options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            host=await resolve(*settings.target),
            port=settings.port,
            user=settings.username,
            password=settings.password.get_secret_value(),
            database=settings.database,
            ssl=verified(settings.host) if ssl_mode == "verify-full" else ssl_mode,
            **options,
        )

    return login


class PostgresDriver:
    """Statements of one login. Connections are made when needed, and closed when unused."""

    def __init__(self, login: Login, pooling: Pooling, flavour: Flavour | None = None) -> None:
        self._login = login
        self._flavour = flavour or POSTGRES
        self._pooling = pooling
        self._binding = Binding(self._flavour.text)
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._returning: set[asyncio.Task[None]] = set()

    async def _connect(self, *_: object, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        connection = await self._login(
            timeout=_CONNECT_SECONDS,
            statement_cache_size=0,  # DEALLOCATE ALL drops prepared statements
            server_settings=dict(self._flavour.settings),
            **options,
        )
        await prepare_types(connection)
        return connection

    async def _opened(self) -> Pool:
        if self._pool is not None:
            return self._pool
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    connect=self._connect,
                    reset=_as_it_is,
                    min_size=0,
                    max_size=self._pooling.connections,
                    max_inactive_connection_lifetime=self._pooling.idle_seconds,
                )
            return self._pool

    @asynccontextmanager
    async def _borrowed(self, budget: Budget) -> "AsyncIterator[PoolConnectionProxy[asyncpg.Record]]":
        with named_failures(budget.seconds):
            pool = await self._opened()
            connection = await _acquired(pool)
        try:
            yield connection
        except BaseException:
            # To its end even if we are cancelled: a cancelled statement must have stopped on the server.
            await asyncio.shield(self._returned(pool, connection))
            raise
        self._returned(pool, connection)

    def _returned(self, pool: Pool, connection: "PoolConnectionProxy[asyncpg.Record]") -> "asyncio.Task[None]":
        """Rolling back takes a turn to the server, for which a result need not wait."""
        task = asyncio.create_task(_give_back(pool, connection, self._flavour.renew))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task

    @asynccontextmanager
    async def run(self, bound: Bound, limits: Limits) -> AsyncIterator[PostgresRows]:
        """Run one statement read-only."""
        budget = Budget(limits.seconds)
        async with self._borrowed(budget) as connection:
            with named_failures(limits.seconds):
                async with budget.spent():
                    statement, arguments = await self._prepared(connection, bound, limits)
            yield PostgresRows(Portal.of(statement, arguments), statement, limits, budget)

    async def _prepared(
        self, connection: Connection, bound: Bound, limits: Limits
    ) -> "tuple[PreparedStatement[Any], list[str | None]]":
        """In its transaction. Types that were learned before the server's objects changed are learned again."""
        for again in (True, False):
            prepared = await self._binding.prepared(connection, bound)
            await connection.execute(self._flavour.begin(limits))
            try:
                statement = await connection.prepare(prepared.text)
                break
            except asyncpg.SyntaxOrAccessError:
                if not (again and self._binding.forget(bound)):
                    raise
                await connection.execute("ROLLBACK")
        if len(statement.get_parameters()) != len(prepared.places):
            raise QueryValidationError("A placeholder does not stand where the server reads a value.")
        return statement, prepared.arguments(bound)

    def has_idle(self) -> bool:
        """Whether a connection is open that nobody uses."""
        return self._pool is not None and self._pool.get_idle_size() > 0

    async def close(self) -> None:
        """Wait for statements that run, then say goodbye to the server."""
        if self._pool is not None:
            await self._pool.close()


def _begin(limits: Limits) -> str:
    milliseconds = max(1, int(limits.seconds * 1000))
    return (
        f"BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds};"
        f" SET LOCAL lock_timeout = {min(milliseconds, _LOCK_SECONDS * 1000)};"
        f" SET LOCAL idle_in_transaction_session_timeout = {milliseconds + 60_000}"
    )


# What DISCARD ALL does; by itself it will not share a turn with others.
_DISCARD_ALL: Final = (
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; UNLISTEN *;"
    " SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES"
)
POSTGRES: Final = Flavour(_SESSION, _begin, _DISCARD_ALL, "text")


def maker(resolve: Resolve, pooling: Pooling) -> Make:
    """Makes drivers of this engine."""
    return lambda source: PostgresDriver(secret_login(source, resolve), pooling)
