"""What went wrong with a customer's Postgres: a stable cause and a sentence that names the fix, without any secret."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from libs.common.connectors import PostgresSettings
from libs.common.errors import TidemarkError
from services.log_miner.warehouses.interface import WarehouseError

CONNECTION_LOST = "connection_lost"
MISSING_RIGHT = "missing_right"
LOG_BEING_WRITTEN = "log_being_written"
# What may be gone at the next attempt, once the first one had come so far as to read.
_PASSING = frozenset({CONNECTION_LOST, LOG_BEING_WRITTEN, "timeout", "starting", "refused"})

# First match wins: subclasses stand before their bases. `{…}` are fields of the settings; messages of libraries are
# never passed on, they quote what the user typed.
_CAUSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    (socket.gaierror, "unknown_host", "The host {host} is unknown to the name service."),
    (ConnectionRefusedError, "refused", "{host}:{port} refuses connections; is the port right and the server up?"),
    (
        (ssl.SSLCertVerificationError, ssl.CertificateError),
        "tls_not_trusted",
        "The server's certificate is not trusted for {host}; with ssl_mode verify-full it must name the host.",
    ),
    (ssl.SSLError, "tls_failed", "TLS could not be set up with {host}:{port}; try another ssl_mode."),
    (asyncpg.InvalidPasswordError, "wrong_password", "The password of {username} is wrong."),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "login_refused",
        "{username} may not log in from here: the role is unknown, has no LOGIN, or pg_hba.conf has no entry for it.",
    ),
    (asyncpg.InvalidCatalogNameError, "unknown_database", "The server has no database {database}."),
    (asyncpg.InsufficientPrivilegeError, MISSING_RIGHT, "{username} lacks a right; run the connector's test."),
    (
        asyncpg.TooManyConnectionsError,
        "too_many_connections",
        "The server, or the role {username}, has no free connection.",
    ),
    (
        asyncpg.BadCopyFileFormatError,
        LOG_BEING_WRITTEN,
        "The last line of the log was being written while it was read.",
    ),
    (asyncpg.CannotConnectNowError, "starting", "The server is starting up or shutting down."),
    ((TimeoutError, asyncpg.QueryCanceledError), "timeout", "{host}:{port} did not answer in time."),
    (
        (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError, ConnectionError),
        CONNECTION_LOST,
        "The connection to {host}:{port} was lost.",
    ),
    (OSError, "unreachable", "{host}:{port} cannot be reached."),
)
_TLS_REQUIRED = "The server accepts only TLS connections; set ssl_mode to require or verify-full."
_TLS_REFUSED = "The server does not offer TLS; set ssl_mode to prefer or disable."


def _without_tls(error: BaseException) -> tuple[str, str] | None:
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError) and "no encryption" in str(error):
        return "tls_required", _TLS_REQUIRED
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return "tls_refused", _TLS_REFUSED
    return None


def warehouse_error(error: BaseException, settings: PostgresSettings) -> WarehouseError:
    """The one of the table that fits; an unknown error of the server shows its SQLSTATE only."""
    if isinstance(error, WarehouseError):
        return error
    if isinstance(error, TidemarkError):
        return WarehouseError(error.code, error.detail)
    known = _without_tls(error)
    if known is None:
        known = next(((cause, text) for kinds, cause, text in _CAUSES if isinstance(error, kinds)), None)
    if known is None:
        state = getattr(error, "sqlstate", None)
        return WarehouseError("server_error", f"The server answered with an error (SQLSTATE {state}).")
    cause, text = known
    fields = settings.model_dump(include={"host", "port", "username", "database"})
    return WarehouseError(cause, text.format_map(fields), passing=cause in _PASSING)


@contextmanager
def named_failures(settings: PostgresSettings) -> Iterator[None]:
    """Raise whatever the server or the network does as a WarehouseError."""
    try:
        yield
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, TidemarkError) as error:
        raise warehouse_error(error, settings) from None
