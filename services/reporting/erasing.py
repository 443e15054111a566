"""Use case of erasures: walks all rows of a tenant once and puts the pseudonym where the name stood."""

import time
from typing import Final
from uuid import UUID

from libs.common.db import Database
from libs.common.erasure import Erasure
from services.reporting.store import erasure as store
from services.reporting.store import locks

_PAGE_ROWS: Final = 10_000
_SLICE_SECONDS: Final = 2.0


class Rewriting:
    """Remembers how far it is; a process that starts anew begins at the beginning, which changes nothing."""

    def __init__(self, database: Database, page_rows: int = _PAGE_ROWS, slice_seconds: float = _SLICE_SECONDS) -> None:
        self._database = database
        self._page_rows = page_rows
        self._slice = slice_seconds
        self._places: dict[tuple[UUID, bytes], tuple[int, UUID | None]] = {}

    async def __call__(self, erasure: Erasure) -> bool:
        """Rewrite for a while; whether no row holds the name any more. Figures stay: one name is another."""
        until, key = time.monotonic() + self._slice, (erasure.tenant, erasure.digest)
        table, after = self._places.pop(key, (0, None))
        while table < len(store.TABLES):
            after = await self._page(store.TABLES[table], erasure, after)
            if after is None:
                table += 1
            if time.monotonic() > until:
                self._places[key] = (table, after)
                return False
        return True

    async def _page(self, table: store.Table, erasure: Erasure, after: UUID | None) -> UUID | None:
        async with self._database.work() as connection:
            # What is folded meanwhile would come from states that still hold the name.
            await locks.hold_tenant(connection, erasure.tenant)
            return await store.rewrite_page(connection, table, erasure, after, self._page_rows)
