"""What goes wrong on the way to a server, the same words for every driver."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp

from libs.common.errors import TidemarkError, Unavailable
from services.query_executor.errors import ConnectorError, QueryError, QueryExecutionError

LOST: Final = "connection_lost", "The connection to the server was lost."
TLS: Final = "tls_failed", "TLS could not be set up with the server."
# First match wins: subclasses stand before their bases.
_CAUSES: Final[tuple[tuple[tuple[type[BaseException], ...], str, str], ...]] = (
    ((socket.gaierror,), "unknown_host", "The host of the secret is unknown to the name service."),
    ((ConnectionRefusedError,), "refused", "The server refuses connections; is the port right and the server up?"),
    (
        (ssl.SSLCertVerificationError, ssl.CertificateError, aiohttp.ClientConnectorCertificateError),
        "tls_not_trusted",
        "The server's certificate is not trusted for the secret's host.",
    ),
    ((ssl.SSLError, aiohttp.ClientSSLError), *TLS),
    ((TimeoutError,), "timeout", "The server did not answer in time."),
    ((ConnectionError, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError), *LOST),
    ((aiohttp.ClientResponseError,), "not_http", "What answers at the secret's port does not speak HTTP."),
    ((OSError,), "unreachable", "The server cannot be reached."),
)


def connector_error(cause: str, message: str) -> ConnectorError:
    """`cause` is one word for programs."""
    return ConnectorError(message, details={"cause": cause})


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def network_error(error: BaseException) -> ConnectorError:
    """Of an OSError or an error of the HTTP client: what lies at its root decides."""
    for kinds, cause, message in _CAUSES:
        if any(isinstance(each, kinds) for each in _chain(error)):
            return connector_error(cause, message)
    return connector_error("unreachable", "The server cannot be reached.")


def known_error(error: BaseException) -> TidemarkError | None:
    """Errors that need no translation, and those of the host's check."""
    if isinstance(error, (QueryError, Unavailable)):
        return error
    if isinstance(error, TidemarkError):
        return ConnectorError(error.detail, details={"cause": error.code})
    return None


def unfit() -> QueryExecutionError:
    """A value that the client library can not write or read."""
    return QueryExecutionError("A value of the result or of the query cannot be carried to or from the server.")


@contextmanager
def named_http_failures() -> Iterator[None]:
    """Raise whatever the network or the HTTP client does as one of the API's errors."""
    try:
        yield
    except TidemarkError as error:
        raise (known_error(error) or error) from None
    except (OSError, aiohttp.ClientError) as error:
        raise network_error(error) from None
    except (ValueError, OverflowError):
        raise unfit() from None
