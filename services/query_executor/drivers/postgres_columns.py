"""Large results of Postgres as Arrow batches, through ADBC: COPY in binary on a connection of their own.

COPY takes no bind parameters: each value is bound to a setting of the transaction first, and the statement reads it
there, so that no value stands in a statement here either.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import asyncpg

from services.query_executor.drivers import Column, Limits
from services.query_executor.drivers.budget import Budget
from services.query_executor.drivers.frames import Frame
from services.query_executor.drivers.postgres import PostgresDriver, secret_login
from services.query_executor.drivers.postgres_binding import setting_name
from services.query_executor.drivers.postgres_errors import named_failures
from services.query_executor.drivers.postgres_logins import AVAILABLE, Logins
from services.query_executor.drivers.source import Make, Pooling, Resolve, Source
from services.query_executor.optional import optional
from services.query_executor.secret_types import SqlConnection
from services.query_executor.statement import Bound, Origin

adbc_driver_manager = optional("adbc_driver_manager")

Result = TypeVar("Result")
# Types whose Arrow form holds what the other formats hold.
NATIVE: Final = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bpchar", "name", "date"}
    | {"timestamp", "timestamptz"}
)
_BATCH_BYTES: Final = 1024 * 1024
_STATEMENT: Final = {"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)}
# COPY waits for its reader, whose time is not the statement's: this only ends what nobody reads any more.
_SLOWEST_SECONDS: Final = 3600
_OPTIONS: Final = (
    "-c default_transaction_read_only=on -c lock_timeout=5000 -c standard_conforming_strings=on"
    " -c max_parallel_workers_per_gather=0"
)


def conninfo(source: Source, address: str) -> str:
    """What libpq is told. Each value is quoted: none of them can add an option."""
    settings = source.connection
    assert isinstance(settings, SqlConnection)
    known = {
        "host": address,
        "port": settings.port,
        "user": settings.username,
        "password": settings.password.get_secret_value(),
        "dbname": settings.database,
        "sslmode": source.settings.ssl_mode,
        "application_name": "tidemark-query",
        "connect_timeout": 10,
        "options": _OPTIONS,
    }
    return " ".join(f"{name}='{_escaped(str(value))}'" for name, value in known.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


class FrameRows:
    """The batches of a COPY; a blocking client, used in threads, one call at a time."""

    def __init__(self, columns: Sequence[Column], reader: Any, session: "_Session", limits: Limits) -> None:
        self.columns = columns
        self.available: int | None = None
        self._reader = reader
        self._session = session
        self._left = limits.rows + 1

    async def batch(self) -> Frame | Sequence[Any]:
        """The next rows, at most one more than the limit in all."""
        found = None
        while self._left > 0 and (found is None or not found.num_rows):
            found = await self._session.do(self._next)
            if found is None:
                return ()
        if found is None:
            return ()
        frame = Frame(found.slice(0, self._left))
        self._left -= len(frame)
        return frame

    def _next(self) -> Any:
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            return None


class _Session:
    """One connection and its statement."""

    def __init__(self, logins: Logins, seconds: float) -> None:
        self._logins = logins
        self._budget = Budget(seconds)
        self._seconds = seconds
        self._running: asyncio.Future[Any] | None = None
        self.connection: Any = None
        self.cursor: Any = None

    async def do(self, work: Callable[[], Result]) -> Result:
        """In a thread, as the statement's time. Cancelling stops the statement on the server."""
        with named_failures(self._seconds):
            async with self._budget.spent():
                self._running = running = asyncio.ensure_future(asyncio.to_thread(_named, work))
                try:
                    return await asyncio.shield(running)
                except asyncio.CancelledError:
                    await asyncio.shield(self._stopped(running))
                    raise

    async def _stopped(self, running: "asyncio.Future[Any]") -> None:
        if self.cursor is not None:
            with suppress(Exception):
                await asyncio.to_thread(self.cursor.adbc_cancel)
        await asyncio.wait([running])
        running.exception()

    def open(self, info: str, settings: Sequence[tuple[str, str | None]], text: str) -> Any:
        """Connect, begin, set, run; the reader of the result."""
        self.connection = self._logins.connect(info)
        self.cursor = self.connection.cursor(adbc_stmt_kwargs=_STATEMENT)
        self.cursor.execute("SET TRANSACTION READ ONLY")
        self.cursor.execute(f"SET LOCAL statement_timeout = '{_SLOWEST_SECONDS}s'")
        for name, value in settings:
            self.cursor.execute("SELECT set_config($1, $2, true)", (name, value))
            self.cursor.fetchall()
        self.cursor.execute(text)
        return self.cursor.fetch_record_batch()

    async def end(self) -> None:
        """Stop what runs, then close: what is closed under a thread that reads ends the whole process."""
        if self._running is not None and not self._running.done():
            await self._stopped(self._running)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with suppress(Exception):
            self.cursor.adbc_cancel()
        for each in (self.cursor, self.connection):
            with suppress(Exception):
                each.close()


def _named(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except (adbc_driver_manager.Error, OSError) as error:
        state = getattr(error, "sqlstate", None)
        if not state and isinstance(error, adbc_driver_manager.OperationalError):
            raise ConnectionError(*error.args) from None
        raise asyncpg.PostgresError.new({"C": state or "XX000", "M": "", "S": "ERROR"}) from None


class ColumnarPostgresDriver(PostgresDriver):
    """Statements of one secret; large results by columns."""

    def __init__(self, source: Source, resolve: Resolve, pooling: Pooling) -> None:
        super().__init__(secret_login(source, resolve), pooling)
        self._source = source
        self._resolve = resolve
        self._logins = Logins()

    @asynccontextmanager
    async def columns(self, bound: Bound, limits: Limits) -> AsyncIterator[FrameRows | None]:
        """The same rows as `run` has, by columns; None for statements and types that only `run` serves.

        A place of the pool is held meanwhile, so that no more statements run than a secret may have connections.
        """
        if not self._fits(bound):
            yield None
            return
        budget = Budget(limits.seconds)
        async with self._borrowed(budget) as connection:
            with named_failures(limits.seconds):
                async with budget.spent():
                    statement, arguments = await self._prepared(connection, bound, limits)
                    prepared = await self._binding.prepared(connection, bound)
                    await connection.execute("ROLLBACK")
            kinds = statement.get_attributes()
            columns = tuple(Column(each.name, each.type.name) for each in kinds)
            if any(each.type.schema != "pg_catalog" or each.type.name not in NATIVE for each in kinds):
                yield None
                return
            settings = [(setting_name(number), value) for number, value in enumerate(arguments, 1)]
            text = prepared.with_settings.rstrip().rstrip(";")
            session = _Session(self._logins, limits.seconds)
            try:
                info = conninfo(self._source, await self._address())
                reader = await session.do(lambda: session.open(info, settings, text))
                yield FrameRows(columns, reader, session, limits)
            finally:
                await asyncio.shield(session.end())

    def _fits(self, bound: Bound) -> bool:
        begins = bound.parts[0].lstrip(" \n\t\r(")[:6].upper()
        proved = self._source.settings.ssl_mode != "verify-full"  # asyncpg knows how to check the name that was typed
        plain = all(bind.origin is not Origin.SECRET for bind in bound.binds)
        return AVAILABLE and proved and plain and (begins == "SELECT" or begins.startswith("WITH"))

    async def close(self) -> None:
        """Wait for statements that run, then say goodbye to the server."""
        await super().close()
        self._logins.close()

    async def _address(self) -> str:
        settings = self._source.connection
        assert isinstance(settings, SqlConnection)
        return await self._resolve(*settings.target)


def maker(resolve: Resolve, pooling: Pooling) -> Make:
    """Makes drivers of this engine."""
    return lambda source: ColumnarPostgresDriver(source, resolve, pooling)
