"""Use case of erasures: puts the pseudonym where the name stood in the records of executions."""

import time
from typing import Final
from uuid import UUID

from libs.common.db import Database
from libs.common.erasure import Erasure, context
from libs.common.sealed import KeyRing
from services.query_executor.store import erasure as store
from services.query_executor.store import jobs, schedules

_PAGE_ROWS: Final = 10_000
_SLICE_SECONDS: Final = 2.0


class Rewriting:
    """Remembers how far it is; a process that starts anew begins at the beginning, which changes nothing."""

    def __init__(
        self, database: Database, keys: KeyRing, page_rows: int = _PAGE_ROWS, slice_seconds: float = _SLICE_SECONDS
    ) -> None:
        self._database = database
        self._keys = keys
        self._page_rows = page_rows
        self._slice = slice_seconds
        self._places: dict[tuple[UUID, bytes], UUID] = {}

    async def __call__(self, erasure: Erasure) -> bool:
        """Rewrite for a while; whether no row holds the name any more. What the person started goes at once."""
        digests = self._keys.digests(erasure.name, bound_to=context(erasure.tenant))
        async with self._database.work() as connection:
            await schedules.forget_person(connection, erasure.tenant, digests)
            await jobs.forget_person(connection, erasure.tenant, digests)
        until, key = time.monotonic() + self._slice, (erasure.tenant, erasure.digest)
        after = self._places.pop(key, None)
        if after is None:
            async with self._database.work() as connection:
                await store.rewrite_versions(connection, erasure)
        while time.monotonic() < until:
            async with self._database.work() as connection:
                after = await store.rewrite_page(connection, erasure, after, self._page_rows)
            if after is None:
                return True
        assert after is not None
        self._places[key] = after
        return False
