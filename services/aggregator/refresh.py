"""Use cases that write statistics: of a whole space on demand, of what is marked, of what has grown old."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final
from uuid import UUID

import structlog

from libs.common.clock import Clock
from libs.common.db import Connection, Database
from services.aggregator.domain import LARGEST_COUNT, TOP_COLUMNS, WINDOW, Recency, popularity
from services.aggregator.metrics import UsageMetrics
from services.aggregator.store import catalogue, counter_build, dirt, locks, stats
from services.aggregator.store.dirt import SpaceKey

SHORTEST_SLIDE: Final = timedelta(hours=1)
"""Rows of at least so much time leave the window in one transaction, during which nobody counts."""
BUILT_AT_ONCE: Final = 50
"""Products whose counters are built in one transaction."""
SHORT: Final = timedelta(seconds=1)
_LONG: Final = timedelta(seconds=30)
_tenant = attrgetter("tenant_id")
_log = structlog.get_logger()


class Refresh:
    """Statistics of a space have one writer at a time, whichever replica it is; hence they are never older after."""

    def __init__(
        self, database: Database, clock: Clock, metrics: UsageMetrics, recency: Recency, pause: timedelta
    ) -> None:
        """`pause`: least time between two refreshes of one space by marks."""
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._recency = recency
        self._pause = pause

    async def compute(self, connection: Connection, tenant: UUID, products: Sequence[UUID]) -> int:
        """Write the statistics of products at the window's end, after `slide`; how many. The caller holds their space
        or the tenant's claims.
        """
        await locks.share_windows(connection, [tenant])
        since = await counter_build.window(connection, tenant)
        if since is None:  # the tenant was deleted since the slide, and its rows are being removed
            return 0
        now = since + WINDOW
        found, doubtful = await stats.counted(connection, tenant, products, now, TOP_COLUMNS)
        if doubtful:
            found += await stats.figures(connection, tenant, doubtful, since, now, TOP_COLUMNS)
        await stats.upsert_stats(connection, tenant, [(each, self._score(each, now)) for each in found], now)
        self._metrics.refreshed.inc(len(found))
        return len(found)

    def _score(self, figures: stats.Figures, now: datetime) -> float:
        factor = self._recency.factor(figures.last_queried_at, now)
        count = min(figures.execution_count_30d + figures.reference_count, LARGEST_COUNT)
        return popularity(count, figures.unique_users_30d, factor)

    async def slide(self, tenant: UUID, patience: timedelta = _LONG) -> None:
        """Let a tenant's counters hold for the window that ends now. Raises Busy."""
        arrived, since = False, self._clock() - WINDOW
        while not arrived:
            async with self.counting(tenant, patience) as connection:
                arrived = await counter_build.slide(connection, tenant, since, SHORTEST_SLIDE)

    @asynccontextmanager
    async def counting(self, tenant: UUID, patience: timedelta) -> AsyncIterator[Connection]:
        """A transaction during which nobody else counts for a tenant."""
        async with self._database.work() as connection:
            await locks.share_tenants(connection, [tenant])
            await locks.hold_window(connection, tenant, patience)
            yield connection

    async def build(self, key: SpaceKey, patience: timedelta = _LONG) -> None:
        """Build stale counters of a space, some at a time: ingests of the tenant wait meanwhile. Raises Busy."""
        while True:
            async with self.counting(key.tenant_id, patience) as connection:
                products = await counter_build.stale_products(connection, *key, BUILT_AT_ONCE)
                built = await counter_build.build(connection, key.tenant_id, products)
            if not built or len(products) < BUILT_AT_ONCE:
                return

    async def aggregate(self, tenant: UUID, slug: str) -> int:
        """Compute all products of a space from what is stored now; how many. 404 for an unknown space."""
        async with self._database.tenant(tenant) as connection:
            space = await catalogue.space_by_slug(connection, tenant, slug)
        await self.slide(tenant)
        await self.build(SpaceKey(tenant, space.id))
        async with self._database.tenant(tenant) as connection:
            await locks.share_tenants(connection, [tenant])
            await locks.hold_space(connection, tenant, space.id)
            await dirt.take_marks(connection, SpaceKey(tenant, space.id))
            products = await catalogue.product_ids(connection, tenant, space.id)
            return await self.compute(connection, tenant, products)

    async def drain(self) -> int:
        """Refresh what is marked; number of products. A space that somebody else refreshes is left to him."""
        now = self._clock()
        async with self._database.work() as connection:
            due = await dirt.due_spaces(connection, now, now - self._pause)
        return sum([await self._drain_tenant(tenant, list(keys)) for tenant, keys in groupby(due, _tenant)])

    async def _drain_tenant(self, tenant: UUID, keys: Sequence[SpaceKey]) -> int:
        """Refresh spaces of a tenant. Whoever counts for it and does not end must not hold up the other tenants."""
        try:
            await self.slide(tenant, SHORT)
            for key in keys:
                await self.build(key, SHORT)
        except locks.Busy:
            _log.warning(
                "somebody counts for long; the tenant's statistics are left to the next refresh", tenant=str(tenant)
            )
            return 0
        return sum([await self._drain_space(key) for key in keys])

    async def _drain_space(self, key: SpaceKey) -> int:
        async with self._database.work() as connection:
            await locks.share_tenants(connection, [key.tenant_id])
            if not await locks.try_hold_space(connection, *key):
                return 0
            now = self._clock()
            if not await dirt.claim_refresh(connection, key, now, now - self._pause):
                return 0
            products = await dirt.take_marks(connection, key)
            return await self.compute(connection, key.tenant_id, products) if products else 0

    async def mark_stale(self, age: timedelta) -> None:
        """Mark statistics older than this: windows slide and recency decays without any event."""
        now = self._clock()
        async with self._database.work() as connection:
            await dirt.mark_stale(connection, now, now - age)
