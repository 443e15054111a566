"""What a warehouse offers to the miner: batches of executions with the place to go on from, and a check in steps."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from libs.common.collecting.check import Step as Step
from libs.common.collecting.places import Cursor as Cursor
from libs.common.collecting.places import Position as Position
from libs.common.errors import BadGateway
from libs.common.sql import DefaultNames, Dialect


class WarehouseError(BadGateway):
    """The warehouse did not do what mining needs. `cause` is stable, the message names the fix and holds no secret."""

    code = "warehouse_failed"

    def __init__(self, cause: str, detail: str, *, passing: bool = False) -> None:
        """`passing`: it may be gone at the next attempt."""
        super().__init__(detail, cause=cause)
        self.cause = cause
        self.passing = passing


class Execution(Struct, frozen=True, gc=False):
    """One execution of one statement, or `count` of them. Its text may hold literals and never leaves the process.

    `executed_at` of several is the moment by which they had run; the comment around their text is one's of them.
    A struct, because there are millions of them; the text does not show in its repr.
    """

    resource_id: str
    statement: str
    user: str | None
    executed_at: datetime
    count: int = 1
    own_comment: bool = True

    def __repr__(self) -> str:
        return f"Execution(resource_id={self.resource_id!r}, user={self.user!r}, count={self.count})"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read gave. `cursor` holds the parts that moved; None forgets a part that is gone."""

    executions: tuple[Execution, ...]
    lines_read: int
    cursor: Mapping[str, Position | None]
    progress: float
    warnings: tuple[str, ...] = ()


class OpenWarehouse(Protocol):
    """A connected warehouse."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def defaults(self) -> DefaultNames:
        """What completes names without a schema."""
        ...

    def batches(self, cursor: Cursor, since: datetime | None) -> AsyncGenerator[Batch, None]:
        """What the log gained after `cursor`, up to its end at the first call; on a first read only from `since` on.

        Raises WarehouseError.
        """
        ...


class Warehouse(Protocol):
    """A kind of warehouse, bound to one connector's settings."""

    def open(self) -> AbstractAsyncContextManager[OpenWarehouse]:
        """Connect. Raises WarehouseError."""
        ...

    def check(self) -> AsyncIterator[Step]:
        """Try what mining needs, in order; ends after a failure that makes further steps senseless."""
        ...
