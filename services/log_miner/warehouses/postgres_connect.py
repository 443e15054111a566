"""Connecting to a customer's Postgres: the checked address, TLS for the host's name, a read-only tagged session."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from libs.common.connectors import PostgresSettings
from libs.common.db import Connection
from services.log_miner.warehouses.postgres_errors import named_failures
from services.log_miner.warehouses.postgres_lines import APPLICATION

# From a host that a user typed to the address that may be dialled. Raises TidemarkError or OSError.
Resolve = Callable[[str, int], Awaitable[str]]

_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 120
_SESSION = {
    "application_name": APPLICATION,
    "default_transaction_read_only": "on",
    "statement_timeout": str(_STATEMENT_SECONDS * 1000),
    "lock_timeout": "5000",
    # The cursor over a log table stays open while its lines are analysed and sent.
    "idle_in_transaction_session_timeout": "0",
    # A foreign table over the log is read in the file's order, by one process.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


class _TlsFor(ssl.SSLContext):
    """Verifies the name that the user typed, although the address that was checked is dialled."""

    host: str

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **(kwargs | {"server_hostname": self.host}))


def _verified(host: str) -> ssl.SSLContext:
    context = _TlsFor(ssl.PROTOCOL_TLS_CLIENT)
    context.host = host
    context.load_default_certs()
    return context


async def connect(settings: PostgresSettings, address: str) -> Connection:
    """Log in. Raises what asyncpg and the network raise."""
    return await asyncpg.connect(
        host=address,
        port=settings.port,
        user=settings.username,
        password=settings.password.get_secret_value(),
        database=settings.database,
        ssl=_verified(settings.host) if settings.ssl_mode == "verify-full" else settings.ssl_mode,
        timeout=_CONNECT_SECONDS,
        command_timeout=_STATEMENT_SECONDS + 5,
        server_settings=_SESSION,
    )


async def close(connection: Connection) -> None:
    """Say goodbye, or drop a connection that does not answer."""
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.close(timeout=5)


@asynccontextmanager
async def session(settings: PostgresSettings, resolve: Resolve) -> AsyncIterator[Connection]:
    """A connection for one job. Raises WarehouseError."""
    with named_failures(settings):
        connection = await connect(settings, await resolve(settings.host, settings.port))
    try:
        yield connection
    finally:
        await close(connection)
