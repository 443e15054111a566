"""What a request runs: asked of the database, or known from lately and gone by until the database confirms it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from libs.common.db import Database
from libs.common.errors import NotFound
from libs.common.remembered import Remembered
from services.query_executor.store import apps as apps_store
from services.query_executor.store import executions as store
from services.query_executor.store.executions import Runnable

_KNOWN_SECONDS: Final = 60.0
_MOST_KNOWN: Final = 500  # a text has up to 128 KiB


class Changed(Exception):
    """What was gone by is not what the database says."""

    def __init__(self, lookup: "Lookup") -> None:
        super().__init__()
        self.lookup = lookup


@dataclass(slots=True)
class Lookup:
    """One look-up. Where `asked` is not None, `runnable` is to be confirmed before anything is run."""

    runnable: Runnable
    asked: "asyncio.Task[Runnable] | None" = None

    @property
    def confirmed(self) -> bool:
        """Whether the database has said so by now."""
        if self.asked is None:
            return True
        done = self.asked.done() and not self.asked.cancelled() and self.asked.exception() is None
        return done and self.asked.result() == self.runnable

    async def is_over(self, seconds: float) -> bool:
        """Whether the database has answered, within so many seconds."""
        if self.asked is None or self.asked.done():
            return True
        done, _ = await asyncio.wait({self.asked}, timeout=seconds)
        return bool(done)

    async def confirm(self) -> None:
        """Wait for the database. Raises Changed, and what a look-up raises."""
        if self.asked is None:
            return
        found = await self.asked
        if found != self.runnable:
            raise Changed(Lookup(found))
        self.asked = None

    async def end(self) -> None:
        """Ask no more."""
        if self.asked is not None:
            self.asked.cancel()
            await asyncio.wait({self.asked})
            if not self.asked.cancelled():
                self.asked.exception()  # nobody else will


class Lookups:
    """Looks up queries, each with its secret."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = Remembered[tuple[UUID, str, str], Runnable](most=_MOST_KNOWN)

    async def of(self, tenant: UUID, app_slug: str, slug: str) -> Lookup:
        """What the database says. Raises 404."""
        return Lookup(await self._found(tenant, app_slug, slug))

    @asynccontextmanager
    async def begun(self, tenant: UUID, app_slug: str, slug: str) -> AsyncIterator[Lookup]:
        """What was run lately, while the database is asked; else what it says. Raises 404."""
        known = self._known.get((tenant, app_slug, slug))
        if known is None:
            yield await self.of(tenant, app_slug, slug)
            return
        lookup = Lookup(known, asyncio.create_task(self._found(tenant, app_slug, slug)))
        try:
            await asyncio.sleep(0)  # the database is asked first
            yield lookup
        finally:
            await lookup.end()

    async def _found(self, tenant: UUID, app_slug: str, slug: str) -> Runnable:
        key = (tenant, app_slug, slug)
        runnable = await store.find_runnable(self._database.api, tenant, app_slug, slug)
        if runnable is None:
            self._known.forget(key)
            async with self._database.tenant(tenant) as connection:
                await apps_store.app_by_slug(connection, tenant, app_slug)
            raise NotFound("Query not found")
        if runnable.secret is not None:
            self._known.put(key, runnable, _KNOWN_SECONDS)
        return runnable
