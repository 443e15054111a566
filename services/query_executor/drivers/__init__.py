"""What runs statements: one module per engine, one Protocol for all.

A driver is made for one version of one secret and keeps that version's connections. Its values are those that
`values.py` makes: what orjson writes as the API promises.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from services.query_executor.statement import Bound

# None, bool, int within ±2^53, float, str, date, datetime, or a list or dict of these.
Value: TypeAlias = Any
Row: TypeAlias = Sequence[Value]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one execution: rows and bytes of the result, seconds of the statement."""

    rows: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a result: its name, the server's name of its type."""

    name: str
    type: str


class Rows(Protocol):
    """The rows of a statement that runs, read batch by batch."""

    @property
    def columns(self) -> Sequence[Column]:
        """As the server names them; names may repeat."""

    @property
    def available(self) -> int | None:
        """How many there would be without the limit, where the server says so."""

    async def batch(self) -> Sequence[Row]:
        """The next rows, none at the end; all batches together hold at most one row more than the limit.

        A batch is a few MiB at most. Raises QueryExecutionError, QueryTimeout, ConnectorError.
        """


class Driver(Protocol):
    """Opens nothing before its first statement. Cancelling the task that waits for it stops the statement."""

    def run(self, bound: Bound, limits: Limits) -> AbstractAsyncContextManager[Rows]:
        """Run one statement read-only. Raises ConnectorError, QueryExecutionError, QueryTimeout, Unavailable."""

    async def close(self) -> None:
        """Close its connections; what still runs is stopped."""
