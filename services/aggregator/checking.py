"""Use case of the night: counters against rows. They never differ; where they do, somebody should hear of it."""

from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from libs.common.clock import Clock
from libs.common.db import Connection, Database
from services.aggregator.domain import TOP_COLUMNS, WINDOW
from services.aggregator.metrics import UsageMetrics
from services.aggregator.refresh import Refresh
from services.aggregator.store import counter_build, stats

_EVERY: Final = timedelta(days=1)
_AT_ONCE: Final = 50
_PATIENCE: Final = timedelta(seconds=5)
_log = structlog.get_logger()


class Checking:
    """Compares the figures of every product with those of the rows once a day, whichever replica does it."""

    def __init__(
        self, database: Database, clock: Clock, metrics: UsageMetrics, refresh: Refresh, every: timedelta = _EVERY
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._refresh = refresh
        self._every = every

    async def check_due(self) -> int:
        """Compare what was not compared for a day; number of products that differed. They are built anew."""
        differing = 0
        while True:
            now = self._clock()
            async with self._database.work() as connection:
                tenant = await counter_build.claim_check(connection, now, now - self._every)
            if tenant is None:
                return differing
            differing += await self._check(tenant)

    async def _check(self, tenant: UUID) -> int:
        differing, after, more = 0, None, True
        while more:
            # Ingests of the tenant wait for the comparison of some products, not of all.
            async with self._refresh.counting(tenant, _PATIENCE) as connection:
                products = await counter_build.products_behind(connection, tenant, after, _AT_ONCE)
                wrong = await self._differing(connection, tenant, products)
                if wrong:
                    await counter_build.build(connection, tenant, wrong)
            differing += len(wrong)
            if more := bool(products):
                after = products[-1]
        return differing

    async def _differing(self, connection: Connection, tenant: UUID, products: list[UUID]) -> list[UUID]:
        since = await counter_build.window(connection, tenant)
        if since is None or not products:
            return []
        now = since + WINDOW
        told, _ = await stats.counted(connection, tenant, products, now, TOP_COLUMNS)
        known = [each.product_id for each in told]
        true = await stats.figures(connection, tenant, known, since, now, TOP_COLUMNS)
        wrong = [ours.product_id for ours, theirs in zip(told, true, strict=True) if ours != theirs]
        for product in wrong:
            _log.error("counters differed from the rows; built anew", tenant=str(tenant), product=str(product))
        self._metrics.differing.inc(len(wrong))
        return wrong
