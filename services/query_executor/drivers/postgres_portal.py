"""The rows of a statement that runs, some at a time, with as few turns to the server as the protocol has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.cursor import BaseCursor
from asyncpg.prepared_stmt import PreparedStatement

if TYPE_CHECKING:  # generic in the stubs only
    Base = BaseCursor[asyncpg.Record]
else:
    Base = BaseCursor


class Portal(Base):
    """asyncpg's `Cursor`, but for the first rows, which come with the turn that binds the arguments."""

    __slots__ = ()

    @classmethod
    def of(cls, statement: "PreparedStatement[Any]", arguments: Sequence[str | None]) -> "Portal":
        """Of a statement of a transaction that is open; nothing is sent yet."""
        made: Any = statement
        return cls(made._connection, made._query, made._state, tuple(arguments), made._state.record_class)

    async def fetch(self, most: int) -> "list[asyncpg.Record]":
        """The next rows. Raises what the server says."""
        portal: Any = self
        turn = portal._bind_exec if portal._portal_name is None else portal._exec
        rows: list[asyncpg.Record] = await turn(most, None)
        return rows
