"""A session with MySQL or MariaDB: read-only, one statement at a time, nothing of this machine given away."""

import asyncio
import re
import ssl
from contextlib import suppress
from typing import Any, Final

from mysql.connector.aio.authentication import MySQLAuthenticator
from mysql.connector.aio.connection import MySQLConnection
from mysql.connector.constants import ClientFlag
from mysql.connector.errors import Error, InterfaceError

from services.query_executor.drivers.mysql_errors import LOGIN_REFUSED
from services.query_executor.drivers.mysql_values import RowProtocol
from services.query_executor.drivers.source import Resolve
from services.query_executor.drivers.tls import unverified, verified
from services.query_executor.secret_types import SqlConnection

_CONNECT_SECONDS: Final = 10
_RELEASE_SECONDS: Final = 10.0
# Without NO_BACKSLASH_ESCAPES and ANSI_QUOTES: queries are parsed by MySQL's own rules.
_SQL_MODE: Final = "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"
_UNWANTED: Final = (
    ClientFlag.MULTI_STATEMENTS
    | ClientFlag.MULTI_RESULTS
    | ClientFlag.LOCAL_FILES
    | ClientFlag.INTERACTIVE
    | ClientFlag.COMPRESS
)
_LOGINS: Final = frozenset({"mysql_native_password", "caching_sha2_password", "sha256_password"})
_MARIADB: Final = re.compile(r"mariadb", re.IGNORECASE)


class _Authenticator(MySQLAuthenticator):
    """Logs in by the ways that show no password to whoever listens; the library would go any way a server names."""

    def __init__(self, *, verified: bool) -> None:
        super().__init__()
        self._allowed = _LOGINS | {"mysql_clear_password"} if verified else _LOGINS

    def check(self, way: str) -> None:
        """Raises InterfaceError."""
        if way not in self._allowed:
            raise InterfaceError("The server asks for a login that would show the password.", errno=LOGIN_REFUSED)

    def _switch_auth_strategy(self, new_strategy_name: str, *args: Any, **kwargs: Any) -> None:
        self.check(new_strategy_name)
        super()._switch_auth_strategy(new_strategy_name, *args, **kwargs)


class _Connection(MySQLConnection):
    """The client library's connection, made stricter."""

    def __init__(self, ssl_mode: str, typed_host: str, **options: Any) -> None:
        super().__init__(**options)
        self.rows_of = self._protocol = RowProtocol()
        self._ssl_mode, self._typed_host = ssl_mode, typed_host
        self._ways = self._authenticator = _Authenticator(verified=ssl_mode == "verify-full")

    def _add_default_conn_attrs(self) -> None:
        """The library would tell the server this machine's name, system and process id."""

    async def _handle_load_data_infile(self, *_: Any, **__: Any) -> Any:
        raise InterfaceError("The server asks for a file of this machine.", errno=2055)

    async def _do_handshake(self) -> None:
        await super()._do_handshake()
        assert self._handshake is not None
        self._ways.check(str(self._handshake["auth_plugin"]))
        if not self._client_flags & ClientFlag.SSL:
            if self._ssl_mode in ("require", "verify-full"):
                raise InterfaceError("The server has no TLS.", errno=2026)
            self._ssl_disabled = True  # the library would look for the cipher

    async def _do_auth(self) -> None:
        socket: Any = self._socket
        socket.build_ssl_context = self._tls
        await super()._do_auth()

    def _tls(self, **_: object) -> ssl.SSLContext:
        return verified(self._typed_host) if self._ssl_mode == "verify-full" else unverified()

    @property
    def open(self) -> bool:
        reader = getattr(self._socket, "_reader", None)
        return reader is not None and not reader.at_eof() and reader.exception() is None

    @property
    def server(self) -> str:
        return str(self._handshake["server_version_original"]) if self._handshake else ""


class MySqlSession:
    """A login. `busy` while the server may still work on a statement of it."""

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection
        self.busy = False
        self._mariadb = _MARIADB.search(connection.server) is not None

    @property
    def alive(self) -> bool:
        return self.connection.open

    @property
    def number(self) -> int:
        """The server's number of the session."""
        return int(self.connection.connection_id or 0)

    async def command(self, text: str) -> None:
        """A statement of ours that answers with no rows."""
        await self.connection.cmd_query(text)

    async def begin(self, seconds: float) -> None:
        """A transaction that reads, and the server's own time limit for the statements in it."""
        if self._mariadb:
            await self.command(f"SET SESSION max_statement_time = {max(seconds, 0.001):.3f}")
        else:
            await self.command(f"SET SESSION max_execution_time = {max(1, int(seconds * 1000))}")
        await self.command("START TRANSACTION READ ONLY")

    async def renewed(self) -> bool:
        """Roll back and forget all that the statement may have left; whether the session is fit for another."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                # Sends again what a new connection is told: character set, mode, zone, read-only.
                return bool(await self.connection.cmd_reset_connection())
        except (OSError, Error, TimeoutError):
            return False

    async def end(self) -> None:
        """Close without a word: a session that is in the middle of a result would not hear it."""
        with suppress(OSError, Error):
            await self.connection.shutdown()


async def connect(settings: SqlConnection, ssl_mode: str, resolve: Resolve) -> MySqlSession:
    """Log in at the address that was checked just now."""
    connection = _Connection(
        ssl_mode,
        settings.host,
        host=await resolve(*settings.target),
        port=settings.port,
        user=settings.username,
        password=settings.password.get_secret_value(),
        database=settings.database,
        charset="utf8mb4",
        sql_mode=_SQL_MODE,
        time_zone="+00:00",
        init_command="SET SESSION TRANSACTION READ ONLY",
        client_flags=ClientFlag.get_default() & ~_UNWANTED,
        conn_attrs={"program_name": "tidemark-query"},
        allow_local_infile=False,
        ssl_disabled=ssl_mode == "disable",
        connection_timeout=_CONNECT_SECONDS,
    )
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await connection.connect()
    except BaseException:
        await connection.shutdown()
        raise
    return MySqlSession(connection)
