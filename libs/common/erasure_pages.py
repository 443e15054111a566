"""Erasures where many rows may hold a name: they are rewritten page by page, table by table."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Generic, TypeVar
from uuid import UUID

from libs.common.db import Database
from libs.common.erasure import Erasure

_PAGE_ROWS: Final = 10_000
_SLICE_SECONDS: Final = 2.0
Table = TypeVar("Table")


class PagedRewriting(ABC, Generic[Table]):
    """Remembers how far it is; a process that starts anew begins at the beginning, which changes nothing."""

    # In the order in which they are walked; a service says which.
    _tables: Sequence[Table]

    def __init__(self, database: Database, page_rows: int = _PAGE_ROWS, slice_seconds: float = _SLICE_SECONDS) -> None:
        self._database = database
        self._page_rows = page_rows
        self._slice = slice_seconds
        self._places: dict[tuple[UUID, bytes], tuple[int, UUID | None]] = {}

    async def __call__(self, erasure: Erasure) -> bool:
        """Rewrite for a while; whether no row holds the name any more. Figures stay: one name is another."""
        until, key = time.monotonic() + self._slice, (erasure.tenant, erasure.digest)
        table, after = self._places.pop(key, (0, None))
        while table < len(self._tables):
            after = await self._page(self._tables[table], erasure, after)
            if after is None:
                table += 1
            if time.monotonic() > until:
                self._places[key] = (table, after)
                return False
        return True

    @abstractmethod
    async def _page(self, table: Table, erasure: Erasure, after: UUID | None) -> UUID | None:
        """Rewrite the rows behind a key, at most `page_rows`, in a transaction; the last key, None where it ended."""
