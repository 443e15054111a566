"""Use cases that compute statistics: a whole space on demand, what is marked, what has grown old."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from libs.common.clock import Clock
from libs.common.db import Connection, Database
from services.aggregator.domain import LARGEST_COUNT, TOP_COLUMNS, WINDOW, Recency, popularity
from services.aggregator.metrics import UsageMetrics
from services.aggregator.store import catalogue, dirt, locks, stats
from services.aggregator.store.dirt import SpaceKey


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
        """Compute and write the statistics of products; the caller holds their space, or the tenant's claims."""
        now = self._clock()
        found = await stats.figures(connection, tenant, products, now - WINDOW, now, TOP_COLUMNS)
        scored = [(each, self._score(each)) for each in found]
        await stats.upsert_stats(connection, tenant, scored, now)
        self._metrics.refreshed.inc(len(scored))
        return len(scored)

    def _score(self, figures: stats.Figures) -> float:
        factor = self._recency.factor(figures.last_queried_at, self._clock())
        count = min(figures.execution_count_30d + figures.reference_count, LARGEST_COUNT)
        return popularity(count, figures.unique_users_30d, factor)

    async def aggregate(self, tenant: UUID, slug: str) -> int:
        """Compute all products of a space from what is stored now; how many. 404 for an unknown space."""
        async with self._database.tenant(tenant) as connection:
            space = await catalogue.space_by_slug(connection, tenant, slug)
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
        return sum([await self._drain_space(key) for key in due])

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
