"""Apache Superset (6.1): charts, charts on dashboards, saved queries, SQL Lab's history."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from libs.common.connectors import SupersetSettings
from services.scraper.tools.fields import Row
from services.scraper.tools.http_client import DEFAULT_LIMITS, Limits, Resolve
from services.scraper.tools.interface import Batch, Cursor, Item, Step, ToolError
from services.scraper.tools.superset_catalogue import Catalogue, CatalogueReader
from services.scraper.tools.superset_chart_reader import ChartReader
from services.scraper.tools.superset_check import check_steps
from services.scraper.tools.superset_history import PART, History
from services.scraper.tools.superset_lists import CHARTS, MOST_PAGES, SAVED_QUERIES, Listing
from services.scraper.tools.superset_queries import saved_query
from services.scraper.tools.superset_session import SupersetSession, superset_session

# What ends the reading of one list; the others are still read, and the scrape is not complete.
_OF_ONE_LIST: Final = frozenset({"missing_right", "not_found", "malformed", "answer_too_large", "refused"})


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a scrape, and its share of the whole."""

    name: str
    begin: float
    end: float

    def at(self, progress: float) -> float:
        """The whole's progress when this part has made that much of its own."""
        return round(self.begin + (self.end - self.begin) * min(max(progress, 0.0), 1.0), 4)


_NAMES: Final = Phase("reading names", 0.0, 0.15)
_CHARTS: Final = Phase("reading charts", 0.15, 0.75)
_SAVED: Final = Phase("reading saved queries", 0.75, 0.85)
_RUNS: Final = Phase("reading SQL Lab", 0.85, 1.0)


@dataclass(slots=True)
class OpenSuperset:
    """One scrape. Any list that could not be read to its end makes it incomplete."""

    session: SupersetSession
    most_pages: int = MOST_PAGES
    _complete: bool = True
    _catalogue: Catalogue = field(default_factory=lambda: Catalogue(""))

    async def batches(self, cursor: Cursor, since: datetime, now: datetime) -> AsyncIterator[Batch]:
        """See OpenTool."""
        async for catalogue, progress in CatalogueReader(self.session, self.most_pages).read():
            self._catalogue = catalogue
            yield self._batch(_NAMES, progress)
        yield self._batch(_NAMES, 1.0, warnings=self._catalogue.warnings)
        async for batch in self._charts():
            yield batch
        async for batch in self._saved_queries():
            yield batch
        if self.session.settings.include_sql_lab:
            async for batch in self._runs(cursor, since, now):
                yield batch

    async def _charts(self) -> AsyncIterator[Batch]:
        reader = ChartReader(self.session, self._catalogue)
        listing = Listing(self.session, CHARTS, self.most_pages)
        async for page in self._pages(listing, _CHARTS):
            if isinstance(page, Batch):
                yield page
                continue
            items = await reader.items(page)
            warnings, reader.warnings = reader.warnings, []
            yield self._batch(_CHARTS, listing.progress, items, warnings)
        yield self._batch(_CHARTS, 1.0, warnings=reader.summary())

    async def _saved_queries(self) -> AsyncIterator[Batch]:
        listing = Listing(self.session, SAVED_QUERIES, self.most_pages)
        async for page in self._pages(listing, _SAVED):
            if isinstance(page, Batch):
                yield page
            else:
                items = [saved_query(row, self._catalogue) for row in page]
                yield self._batch(_SAVED, listing.progress, items)

    async def _pages(self, listing: Listing, phase: Phase) -> AsyncIterator[list[Row] | Batch]:
        """The pages of a list of references; at its end, or where it ends too early, what is to be said about it."""
        warnings = list[str]()
        try:
            async for page in listing.pages():
                yield page
        except ToolError as error:
            if error.cause not in _OF_ONE_LIST and not (error.passing and listing.progress):
                raise
            warnings.append(f"Not all {listing.resource.name} could be read: {error.detail}")
        self._complete = self._complete and listing.complete
        yield self._batch(phase, 1.0, warnings=[*listing.warnings, *warnings])

    async def _runs(self, cursor: Cursor, since: datetime, now: datetime) -> AsyncIterator[Batch]:
        history = History(self.session, self._catalogue, self.most_pages)
        warnings = list[str]()
        try:
            async for page in history.pages(cursor.get(PART, {}), since, now):
                batch = self._batch(_RUNS, page.progress, page.items)
                yield Batch(batch.items, batch.phase, batch.progress, {PART: page.position}, (), batch.complete)
        except ToolError as error:
            if error.cause not in _OF_ONE_LIST and not error.passing:
                raise
            # Executions retire nothing: the next sync goes on where this one ended.
            warnings.append(f"SQL Lab's history could not be read to its end: {error.detail}")
        yield self._batch(_RUNS, 1.0, warnings=[*history.warnings, *warnings])

    def _batch(self, phase: Phase, progress: float, items: Iterable[Item] = (), warnings: Iterable[str] = ()) -> Batch:
        return Batch(tuple(items), phase.name, phase.at(progress), {}, tuple(warnings), self._complete)


@dataclass(frozen=True, slots=True)
class Superset:
    """One connector's Superset."""

    settings: SupersetSettings
    resolve: Resolve
    limits: Limits = DEFAULT_LIMITS
    most_pages: int = MOST_PAGES

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenSuperset]:
        """See BiTool."""
        async with superset_session(self.settings, self.resolve, self.limits) as session:
            await session.login()
            yield OpenSuperset(session, self.most_pages)

    async def check(self) -> AsyncIterator[Step]:
        """See BiTool."""
        async for step in check_steps(self.settings, self.resolve, self.limits):
            yield step
