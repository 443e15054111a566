"""Causes of a warehouse's failures."""

import socket

import asyncpg
import pytest
from pydantic import SecretStr

from libs.common.connectors import PostgresSettings
from libs.common.egress import EgressRefused
from services.log_miner.warehouses.postgres_errors import warehouse_error

_SETTINGS = PostgresSettings(host="db.example.com", database="shop", username="miner", password=SecretStr("top secret"))


@pytest.mark.parametrize(
    ("error", "cause", "passing"),
    [
        (socket.gaierror(-2, "Name or service not known"), "unknown_host", False),
        (ConnectionRefusedError(111, "top secret"), "refused", True),
        (OSError(113, "No route to host"), "unreachable", False),
        (TimeoutError(), "timeout", True),
        (asyncpg.InvalidPasswordError("top secret"), "wrong_password", False),
        (asyncpg.InvalidAuthorizationSpecificationError("role top secret"), "login_refused", False),
        (asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry, no encryption"), "tls_required", False),
        (ConnectionError("PostgreSQL server at x rejected SSL upgrade"), "tls_refused", False),
        (asyncpg.InvalidCatalogNameError("top secret"), "unknown_database", False),
        (asyncpg.InsufficientPrivilegeError("top secret"), "missing_right", False),
        (asyncpg.TooManyConnectionsError("x"), "too_many_connections", False),
        (asyncpg.CannotConnectNowError("x"), "starting", True),
        (asyncpg.QueryCanceledError("x"), "timeout", True),
        (asyncpg.ConnectionDoesNotExistError("x"), "connection_lost", True),
        (ConnectionResetError(104, "x"), "connection_lost", True),
        (asyncpg.AdminShutdownError("x"), "connection_lost", True),
        (asyncpg.BadCopyFileFormatError("top secret"), "log_being_written", True),
        (asyncpg.SyntaxOrAccessError("top secret"), "server_error", False),
        (EgressRefused("not from here"), "egress_refused", False),
    ],
)
def test_causes(error: Exception, cause: str, passing: bool) -> None:
    found = warehouse_error(error, _SETTINGS)
    assert (found.cause, found.passing) == (cause, passing)
    assert found.detail
    assert "top secret" not in found.detail
