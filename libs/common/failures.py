"""Which failures pass by themselves, what may be told of a failure, and how long to wait before the next attempt."""

import random
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import asyncpg
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError
from pydantic import ValidationError

from libs.common.envelope import EnvelopeError, safe_problems
from libs.common.errors import TidemarkError, Unavailable

_TRANSIENT: Final = (
    OSError,
    KafkaConnectionError,
    KafkaTimeoutError,
    Unavailable,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # what a connection says that broke in the middle of a statement
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
)
_CLOSED: Final = ("closed", "closing", "released")


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed later although nobody changes code or data.

    Deadlocks, serialisation failures, lost or refused connections, servers that start or stop, locks and
    statements that ran out of time, a broker that is away. The cause of an error counts as the error.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_transient(each) for each in error.exceptions)
    if isinstance(error, _TRANSIENT):
        return True
    if isinstance(error, KafkaError):
        return bool(error.retriable)
    if type(error) is asyncpg.InterfaceError:
        return any(word in str(error) for word in _CLOSED)
    return error.__cause__ is not None and is_transient(error.__cause__)


def describe(error: BaseException) -> str:
    """Class, place and what is safe to say. Messages of libraries are left out: they quote values."""
    name = type(error).__name__
    if isinstance(error, ValidationError):
        return f"{name}: {safe_problems(error)}"
    if isinstance(error, (TidemarkError, EnvelopeError)):
        return f"{name}: {error}"
    if isinstance(error, asyncpg.PostgresError):
        details = [str(error.sqlstate), error.constraint_name or "", error.table_name or ""]
        name = f"{name} ({', '.join(filter(None, details))})"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f"{name} in {ours[-1].name}, line {ours[-1].lineno}" if ours else name


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Pauses double from `first` to `cap` seconds, each drawn from its upper half; `budget` seconds in all."""

    first: float = 0.1
    cap: float = 5.0
    budget: float = 60.0

    def pauses(self) -> Iterator[float]:
        """Endless: whoever waits watches the budget."""
        pause = self.first
        while True:
            yield pause * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
            pause = min(pause * 2, self.cap)
