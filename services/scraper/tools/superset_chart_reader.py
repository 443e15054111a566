"""Charts as items: their SQL as Superset writes it, else SQL that stands for what their settings name."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.scraper.tools.fields import Row, rows, text, whole
from services.scraper.tools.http_client import Answer
from services.scraper.tools.interface import Item, ToolError
from services.scraper.tools.superset_catalogue import LONGEST_TITLE, Catalogue
from services.scraper.tools.superset_charts import names_as_sql, params_of, queries_in, query_context
from services.scraper.tools.superset_names import UNKNOWN_DATABASE, Dataset
from services.scraper.tools.superset_session import SupersetSession
from services.scraper.tools.templates import with_datasets

LONGEST_SQL: Final = 2**20
_AT_ONCE: Final = 4
_FAILURES_IN_A_ROW: Final = 3
# What one chart may suffer while others are well.
_OF_ONE_CHART: Final = frozenset(
    {"answer_too_large", "redirected", "not_http", "timeout", "connection_lost", "server_error", "throttled"}
)


@dataclass(slots=True)
class ChartReader:
    """Reads charts, a few at once. After three failures in a row Superset is asked for no more SQL."""

    session: SupersetSession
    catalogue: Catalogue
    warnings: list[str] = field(default_factory=list)
    from_settings: int = 0
    _failures: int = 0

    async def items(self, charts: Sequence[Row]) -> list[Item]:
        """A chart, and once more for each dashboard that it is on. Raises ToolError for what concerns all charts."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def read(row: Row) -> list[Item]:
            async with gate:
                return await self._chart(row)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(read(row)) for row in charts]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [item for task in tasks for item in task.result()]

    def summary(self) -> list[str]:
        """What is worth saying once all charts were read."""
        if not self.from_settings:
            return []
        return [
            f"For {self.from_settings} charts Superset gives no SQL: their tables and columns come from their settings."
        ]

    async def _chart(self, row: Row) -> list[Item]:
        number = whole(row, "id")
        assert number is not None  # the listing gives no others
        dataset = self._dataset(row)
        sql, shown = await self._sql(number, row, dataset)
        database = dataset.database if dataset else UNKNOWN_DATABASE
        chart = Item(
            resource_type="chart",
            resource_id=str(number),
            dialect=database.dialect,
            defaults=dataset.defaults if dataset else database.defaults(),
            title=(text(row, "slice_name") or "")[:LONGEST_TITLE] or None,
            sql=cut(with_datasets(sql, self.catalogue.dataset_sql)) if sql else None,
            shown=shown,
            tables=(dataset.name,) if dataset and dataset.sql is None else (),
        )
        return [chart, *self._on_dashboards(chart, rows(row, "dashboards"))]

    def _on_dashboards(self, chart: Item, entries: Iterable[Row]) -> list[Item]:
        found = {dashboard.id: dashboard for entry in entries if (dashboard := self.catalogue.dashboard(entry))}
        return [
            Item(
                resource_type="dashboard_chart",
                resource_id=f"{dashboard.id}:{chart.resource_id}",
                dialect=chart.dialect,
                defaults=chart.defaults,
                title=chart.title,
                sql=chart.sql,
                shown=chart.shown,
                tables=chart.tables,
                dashboard=dashboard,
            )
            for dashboard in found.values()
        ]

    def _dataset(self, row: Row) -> Dataset | None:
        if row.get("datasource_type", "table") != "table":
            return None
        return self.catalogue.datasets.get(whole(row, "datasource_id") or 0)

    async def _sql(self, number: int, row: Row, dataset: Dataset | None) -> tuple[str | None, bool]:
        """The SQL and whether it is Superset's own."""
        params = params_of(row)
        sql = await self._asked(number, params, dataset)
        if sql:
            return sql, True
        self.from_settings += 1
        if dataset is None:
            self.warnings.append(
                f"Chart {number} has neither SQL nor a dataset that can be read: it counts for no table."
            )
            return None, False
        return names_as_sql(params, dataset), False

    async def _asked(self, number: int, params: Row, dataset: Dataset | None) -> str | None:
        """The saved query context's SQL, else that of one made of the chart's settings."""
        if self._failures >= _FAILURES_IN_A_ROW:
            return None
        try:
            answer = await self.session.ask("GET", f"/api/v1/chart/{number}/data/", {"type": "query"})
            sql = _query(answer)
            if sql is None and dataset is not None and answer.status not in (403, 404):
                body = query_context(params, dataset.id)
                sql = _query(await self.session.ask("POST", "/api/v1/chart/data", json=body))
        except ToolError as error:
            self._failed(number, error)
            return None
        self._failures = 0
        return sql

    def _failed(self, number: int, error: ToolError) -> None:
        if error.cause not in _OF_ONE_CHART:
            raise error
        self._failures += 1
        self.warnings.append(f"Chart {number}: {error.detail}")
        if self._failures == _FAILURES_IN_A_ROW:
            self.warnings.append("Superset was asked for no more SQL of charts after three failures in a row.")


def cut(sql: str) -> str:
    """SQL up to 1 MiB; what comes behind would not be stored either."""
    return sql[:LONGEST_SQL]


def _query(answer: Answer) -> str | None:
    return queries_in(answer.body) if answer.status == 200 else None
