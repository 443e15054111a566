"""Use cases of kept results: keeping, answering again, pages."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import orjson

from libs.common.clock import Clock
from libs.common.db import Connection, Database
from services.query_executor.collect import Collected
from services.query_executor.envelope import OPTIONS
from services.query_executor.store import results as store
from services.query_executor.store.results import Part, Result

_PART_ROWS: Final = 500
_PRUNED: Final = 100


def parts_of(chunks: Iterable[bytes]) -> list[Part]:
    """Rows in parts that a page can be cut from without reading all."""
    parts, first = list[Part](), 0
    for chunk in chunks:
        rows = orjson.loads(b"[" + chunk + b"]")
        for start in range(0, len(rows), _PART_ROWS):
            some = rows[start : start + _PART_ROWS]
            parts.append(Part(first, len(some), orjson.dumps(some, option=OPTIONS)[1:-1]))
            first += len(some)
    return parts


def cut_rows(parts: Sequence[Part], first: int, end: int) -> bytes:
    """The rows from `first` up to, not with, `end`, as objects joined by commas."""
    rows = [row for part in parts for row in orjson.loads(b"[" + part.rows + b"]")]
    start = first - parts[0].first_row if parts else 0
    return orjson.dumps(rows[start : start + end - first], option=OPTIONS)[1:-1]


@dataclass(frozen=True, slots=True)
class ResultStore:
    """Results live for `lifetime`, and end with their query."""

    database: Database
    clock: Clock
    lifetime: timedelta

    async def keep(
        self, connection: Connection, tenant: UUID, execution: UUID, query: UUID, found: Collected,
        cache_key: bytes | None = None,
    ) -> None:  # fmt: skip
        """In the connection's transaction."""
        now = self.clock()
        result = Result(execution, query, found.rows, found.truncated, found.available, now, now + self.lifetime)
        parts = await asyncio.to_thread(parts_of, found.chunks)
        await store.insert_result(connection, tenant, result, cache_key, parts)

    async def remember(
        self, tenant: UUID, execution: UUID, query: UUID, found: Collected, cache_key: bytes
    ) -> None:  # fmt: skip
        async with self.database.tenant(tenant) as connection:
            await self.keep(connection, tenant, execution, query, found, cache_key)

    async def take_cached(self, tenant: UUID, cache_key: bytes, max_age: float, found: Collected) -> bool:
        """Fill `found` with a result of at most this age in seconds; false where there is none."""
        async with self.database.tenant(tenant) as connection:
            now = self.clock()
            result = await store.find_cached(connection, tenant, cache_key, now - timedelta(seconds=max_age))
            if result is None:
                return False
            parts = await store.parts_between(connection, tenant, result.id, 0, result.row_count)
        found.chunks = [part.rows for part in parts]
        found.rows, found.truncated, found.available = result.row_count, result.truncated, result.available
        found.cached_at, found.age = result.created_at, max(0, int((now - result.created_at).total_seconds()))
        return True

    async def page(self, tenant: UUID, execution: UUID, first: int, limit: int) -> tuple[Result, bytes] | None:
        """Some rows of a result behind the first ones; None where it is kept no more."""
        async with self.database.tenant(tenant) as connection:
            result = await store.find_result(connection, tenant, execution)
            if result is None:
                return None
            parts = await store.parts_between(connection, tenant, execution, first, first + limit)
        return result, await asyncio.to_thread(cut_rows, parts, first, first + limit)

    async def prune(self) -> None:
        """Drop what has expired."""
        now: datetime = self.clock()
        while True:
            async with self.database.work() as connection:
                if await store.prune_results(connection, now, _PRUNED) < _PRUNED:
                    return
