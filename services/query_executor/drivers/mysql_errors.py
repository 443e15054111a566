"""What MySQL and MariaDB or the way to them say, as one of the API's codes; never a value of the statement.

The server's own words are passed on for errors that speak of the statement and of names only; others quote values,
so those are told by what their number means.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mysql.connector.errors import ConnectionTimeoutError, Error

from libs.common.errors import TidemarkError
from services.query_executor.drivers.budget import timed_out
from services.query_executor.drivers.network_errors import LOST, TLS, connector_error, known_error, network_error, unfit
from services.query_executor.errors import ConnectorError, QueryError, QueryExecutionError

_CONNECTING: Final = {
    1040: ("too_many_connections", "The server has no free connection."),
    1044: ("unknown_database", "The user of the secret may not use this database."),
    1045: ("wrong_password", "The server refuses the user or the password of the secret."),
    1049: ("unknown_database", "The server has no such database."),
    1053: ("starting", "The server is starting up or shutting down."),
    1129: ("login_refused", "The server has blocked this host after many failed connections."),
    1130: ("login_refused", "The server lets nobody in from this host."),
    1203: ("too_many_connections", "The user of the secret has no free connection."),
    1226: ("too_many_connections", "The user of the secret has used up what the server grants it."),
    1698: ("login_refused", "The user of the secret may not log in by password."),
    1927: LOST,
    2003: ("timeout", "The server did not answer in time."),
    2006: LOST,
    2013: LOST,
    2026: TLS,
    2055: LOST,
    4031: LOST,
}
_TIMED_OUT: Final = frozenset({1969, 3024})
_MEANINGS: Final = {
    1142: "The user of the secret lacks a right on what the query reads.",
    1143: "The user of the secret lacks a right on a column that the query reads.",
    1205: "A lock was not free in time.",
    1213: "The server asks for another try: a deadlock.",
    1227: "The user of the secret lacks a right that the statement needs.",
    1264: "A number is out of range.",
    1290: "The server runs with an option that forbids the statement.",
    1292: "A value is not of the type that its place in the query needs.",
    1295: "The server does not run this kind of statement as a query.",
    1317: "The statement was stopped on the server.",
    1365: "Division by zero.",
    1366: "A value is not of the type that its place in the query needs.",
    1370: "A function of the query does not exist, or the user of the secret lacks the right to call it.",
    1690: "A number is out of range.",
    1792: "The statement writes, and queries are read-only.",
    3140: "A value is no JSON.",
    3141: "A value is no JSON.",
}
# Unknown and ambiguous names, grammar, grouping: their words come from the statement's text and from names.
_PASSED_ON: Final = frozenset(
    {1052, 1054, 1055, 1056, 1060, 1064, 1066, 1109, 1111, 1140, 1146, 1221, 1222, 1235, 1241, 1242, 1247, 1248, 1249}
    | {1250, 1305, 1318, 1356, 1408, 1582, 1630, 3593, 4161}
)
_LONGEST: Final = 500


def is_of_server(error: BaseException) -> bool:
    """Whether the server said it, so that the session is where it was before the statement."""
    return isinstance(error, Error) and error.errno >= 1000 and not 2000 <= error.errno < 3000


def _of_library(error: Error, seconds: float) -> QueryError:
    number = error.errno
    if number in _TIMED_OUT:
        return timed_out(seconds)
    known = _CONNECTING.get(number)
    if known is not None:
        return connector_error(*known)
    if not is_of_server(error):
        return ConnectorError("The client library and the server do not understand each other.", details=_client(error))
    details: dict[str, object] = {"errno": number, "sqlstate": str(error.sqlstate)}
    message = _MEANINGS.get(number)
    if message is None and number in _PASSED_ON:
        message = f"The server refuses the query: {str(error.msg)[:_LONGEST]}"
    return QueryExecutionError(message or f"The query failed on the server (error {number}).", details=details)


def _client(error: Error) -> dict[str, object]:
    return {"cause": "client", "errno": error.errno}


def query_error(error: BaseException, seconds: float) -> TidemarkError:
    """The one of the API's codes that fits."""
    known = known_error(error)
    if known is not None:
        return known
    if isinstance(error, ConnectionTimeoutError):
        return connector_error("timeout", "The server did not answer in time.")
    if isinstance(error, Error):
        return _of_library(error, seconds)
    return network_error(error) if isinstance(error, OSError) else unfit()


@contextmanager
def named_failures(seconds: float) -> Iterator[None]:
    """Raise whatever the server, the network or the client library does as one of the API's errors."""
    try:
        yield
    except (OSError, Error, TidemarkError, ValueError, OverflowError) as error:
        raise query_error(error, seconds) from None
