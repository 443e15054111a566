import itertools

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, TopicAuthorizationFailedError
from asyncpg.exceptions import DataError as ClientDataError

from libs.common.broker import PublishFailed
from libs.common.errors import BadRequest
from libs.common.failures import RetryPolicy, describe, is_transient


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (asyncpg.DeadlockDetectedError("x"), True),
        (asyncpg.SerializationError("x"), True),
        (asyncpg.ConnectionDoesNotExistError("x"), True),
        (asyncpg.TooManyConnectionsError("x"), True),
        (asyncpg.CannotConnectNowError("x"), True),
        (asyncpg.AdminShutdownError("x"), True),
        (asyncpg.LockNotAvailableError("x"), True),
        (asyncpg.QueryCanceledError("x"), True),
        (asyncpg.DiskFullError("x"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.InternalClientError("cannot switch to state 12"), True),
        (asyncpg.InterfaceError("pool is closing"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (OSError(111, "refused"), True),
        (KafkaConnectionError(), True),
        (KafkaTimeoutError(), True),
        (PublishFailed("x"), True),
        (ExceptionGroup("g", [TimeoutError(), OSError()]), True),
        (ExceptionGroup("g", [TimeoutError(), ValueError()]), False),
        (asyncpg.InterfaceError("another operation is in progress"), False),
        (ClientDataError("invalid input for query argument $1: 'closed'"), False),
        (asyncpg.UniqueViolationError("x"), False),
        (asyncpg.UndefinedTableError("x"), False),
        (TopicAuthorizationFailedError("t"), False),
        (ValueError("connection closed"), False),
        (KeyError("x"), False),
        (BadRequest("x"), False),
    ],
)
def test_what_passes_by_itself(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient


def test_the_cause_counts() -> None:
    error = RuntimeError("could not store")
    error.__cause__ = asyncpg.DeadlockDetectedError("x")
    assert is_transient(error)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_messages_of_libraries_are_not_shown() -> None:
    for error in (
        ClientDataError("argument $1: 's3cret'"),
        ValueError("s3cret"),
        asyncpg.UniqueViolationError("s3cret"),
    ):
        shown = describe(raised(error))
        assert "s3cret" not in shown
        assert type(error).__name__ in shown
        assert "in raised, line" in shown


def test_our_own_messages_are_shown() -> None:
    assert describe(BadRequest("`days` must be positive.")) == "BadRequest: `days` must be positive."


def test_pauses_double_up_to_the_cap_with_jitter() -> None:
    pauses = list(itertools.islice(RetryPolicy(first=0.1, cap=1.0).pauses(), 8))
    for pause, most in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0], strict=True):
        assert most / 2 <= pause <= most
