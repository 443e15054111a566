"""What Postgres or the way to it says, as one of the API's codes; never a value of the statement, never a secret.

The server's own words are passed on where they speak of the statement and of names only (class 42); other
messages quote values, so those are told by what their code means.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from libs.common.errors import TidemarkError, Unavailable
from services.query_executor.drivers.budget import timed_out
from services.query_executor.errors import ConnectorError, QueryError, QueryExecutionError

# First match wins: subclasses stand before their bases.
_CONNECTING: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...]] = (
    (socket.gaierror, "unknown_host", "The host of the secret is unknown to the name service."),
    (ConnectionRefusedError, "refused", "The server refuses connections; is the port right and the server up?"),
    (
        (ssl.SSLCertVerificationError, ssl.CertificateError),
        "tls_not_trusted",
        "The server's certificate is not trusted for the secret's host.",
    ),
    (ssl.SSLError, "tls_failed", "TLS could not be set up with the server."),
    (asyncpg.InvalidPasswordError, "wrong_password", "The password of the secret is wrong."),
    (asyncpg.InvalidAuthorizationSpecificationError, "login_refused", "The user of the secret may not log in."),
    (asyncpg.InvalidCatalogNameError, "unknown_database", "The server has no such database."),
    (asyncpg.TooManyConnectionsError, "too_many_connections", "The server has no free connection."),
    (asyncpg.CannotConnectNowError, "starting", "The server is starting up or shutting down."),
    (
        (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError, ConnectionError),
        "connection_lost",
        "The connection to the server was lost.",
    ),
    (TimeoutError, "timeout", "The server did not answer in time."),
    (OSError, "unreachable", "The server cannot be reached."),
)
_MEANINGS: Final = {
    "22012": "Division by zero.",
    "22003": "A number is out of range.",
    "22P02": "A value is not of the type that its place in the query needs.",
    "22007": "A date or time has a form that its place in the query does not understand.",
    "22008": "A date or time is out of range.",
    "22021": "A value holds a character that the database cannot store.",
    "25006": "The statement writes, and queries are read-only.",
    "42501": "The user of the secret lacks a right on what the query reads.",
    "53200": "The server ran out of memory.",
    "53100": "The server's disk is full.",
    "54000": "The statement is larger than the server accepts.",
    "55P03": "A lock was not free in time.",
    "40001": "The server asks for another try: transactions met.",
    "40P01": "The server asks for another try: a deadlock.",
}
_CONDITION: Final = re.compile(r"(?<!^)(?=[A-Z])")
_LONGEST: Final = 500


def _condition(error: asyncpg.PostgresError) -> str:
    """`DivisionByZeroError` as the server's documentation names it: division by zero."""
    return _CONDITION.sub(" ", type(error).__name__.removesuffix("Error")).lower()


def _of_statement(error: asyncpg.PostgresError, seconds: float) -> QueryError:
    state = str(error.sqlstate)
    if isinstance(error, asyncpg.QueryCanceledError):
        return timed_out(seconds)
    details: dict[str, object] = {"sqlstate": state, "condition": _condition(error)}
    message = _MEANINGS.get(state)
    if message is None and state.startswith("42"):
        message = f"The server refuses the query: {str(error.args[0])[:_LONGEST]}"
    return QueryExecutionError(message or f"The query failed on the server ({_condition(error)}).", details=details)


def query_error(error: BaseException, seconds: float) -> TidemarkError:
    """The one of the API's codes that fits."""
    if isinstance(error, (QueryError, Unavailable)):
        return error
    if isinstance(error, TidemarkError):
        return ConnectorError(error.detail, details={"cause": error.code})
    known = next(((cause, text) for kinds, cause, text in _CONNECTING if isinstance(error, kinds)), None)
    if known is not None:
        return ConnectorError(known[1], details={"cause": known[0]})
    if isinstance(error, asyncpg.PostgresError):
        return _of_statement(error, seconds)
    return QueryExecutionError("A value of the result or of the query cannot be carried to or from the server.")


@contextmanager
def named_failures(seconds: float) -> Iterator[None]:
    """Raise whatever the server, the network or the client library does as one of the API's errors."""
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise query_error(error, seconds) from None
    except (TidemarkError, ValueError, OverflowError) as error:
        raise query_error(error, seconds) from None
