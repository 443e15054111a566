"""What is read of the catalogue, of deployments and of activity."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from libs.common.clock import Clock
from libs.common.db import Connection, Database
from services.reporting.catalog import Catalog
from services.reporting.dora import Metric, Report, Totals, report
from services.reporting.explain import Measured, State
from services.reporting.scorecards import Scheme, Scorecard, scorecard
from services.reporting.settings import Settings
from services.reporting.store import catalog as catalog_store
from services.reporting.store import dora as store
from services.reporting.store import explain as explain_store
from services.reporting.store import usage as usage_store
from services.reporting.store.dora import EVERYTHING, Detail, Scope
from services.reporting.store.explain import Page
from services.reporting.usage import Usage
from services.reporting.windows import Interval, Window, buckets


@dataclass(frozen=True, slots=True)
class DoraQuestion:
    """A window, a scope, and what is wanted beyond the four figures."""

    window: Window
    scope: Scope = EVERYTHING
    detail: Detail = "plain"
    interval: Interval | None = None
    with_previous: bool = False


@dataclass(frozen=True, slots=True)
class DoraAnswer:
    report: Report
    series: Sequence[Report] | None = None
    previous: Report | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A figure's report, a page of the deployments that it is about, and what was told of each."""

    report: Report
    rows: Sequence[Measured]
    states: Mapping[UUID, Sequence[State]]


class Analytics:
    """Reports of one tenant at the time of the request."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self.edition = settings.dora_edition
        self.scheme = Scheme.model_validate(tomllib.loads(settings.scorecards_file.read_text()))

    def now(self) -> datetime:
        """The end of a window that begins with this request."""
        return self._clock()

    async def catalog(self, tenant: UUID) -> Catalog:
        async with self._database.tenant(tenant) as connection:
            return await catalog_store.catalog(connection, tenant)

    async def usage(self, tenant: UUID, window: Window) -> Usage:
        async with self._database.tenant(tenant) as connection:
            return await usage_store.usage(connection, tenant, window)

    async def dora(self, tenant: UUID, asked: DoraQuestion, now: datetime) -> DoraAnswer:
        """The figures, and the series and the period before where they are asked for."""
        window, series = asked.window, None
        async with self._database.tenant(tenant) as connection:
            if asked.interval:
                whole, found = await store.totals_by_interval(
                    connection, tenant, window, now, asked.scope, asked.interval, asked.detail
                )
                parts = buckets(window, asked.interval)
                series = [report(part, found.get(start, Totals())) for start, part in parts.items()]
            else:
                whole = await store.totals(connection, tenant, window, now, asked.scope, asked.detail)
            previous = await self._previous(connection, tenant, asked, now) if asked.with_previous else None
        return DoraAnswer(report(window, whole), series, previous)

    @staticmethod
    async def _previous(connection: Connection, tenant: UUID, asked: DoraQuestion, now: datetime) -> Report:
        before = asked.window.previous()
        return report(before, await store.totals(connection, tenant, before, now, asked.scope, asked.detail))

    async def explain(
        self, tenant: UUID, metric: Metric, asked: DoraQuestion, now: datetime, page: Page
    ) -> Explanation:
        """The rows behind a figure, newest first, and the figure as `dora` shows it."""
        window, scope = asked.window, asked.scope
        async with self._database.tenant(tenant) as connection:
            totals = await store.totals(connection, tenant, window, now, scope, asked.detail)
            rows = await explain_store.rows_behind(connection, tenant, window, now, scope, metric, page)
            states = await explain_store.states_of(connection, tenant, [row.id for row in rows])
        return Explanation(report(window, totals), rows, states)

    async def scorecards(self, tenant: UUID, now: datetime) -> list[Scorecard]:
        """Of every component, by name, then id."""
        window = Window(now - timedelta(days=self.scheme.days), now)
        scope = Scope(tiers=self.scheme.tiers)
        async with self._database.tenant(tenant) as connection:
            components = await catalog_store.components(connection, tenant)
            found = await store.totals_by_component(connection, tenant, window, now, scope)
        return [scorecard(self.scheme, each, report(window, found.get(each.id, Totals()))) for each in components]
