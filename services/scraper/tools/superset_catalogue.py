"""What charts and queries of a Superset refer to: databases, datasets, dashboards, users. Read first."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote

from services.scraper.tools.fields import Row, inner, text, whole
from services.scraper.tools.interface import Dashboard, ToolError
from services.scraper.tools.superset_charts import all_of
from services.scraper.tools.superset_lists import DASHBOARDS, DATABASES, DATASETS, MOST_PAGES, USERS, Listing, Resource
from services.scraper.tools.superset_names import Database, Dataset, database_of, dataset_of
from services.scraper.tools.superset_session import SupersetSession

# An account may live without these; what is then missing is said in a warning.
_BEARABLE: Final = frozenset({"missing_right", "not_found"})
LONGEST_TITLE: Final = 2_000


@dataclass(slots=True)
class Catalogue:
    """By their ids. `own` is the account that scrapes."""

    base_url: str
    databases: dict[int, Database] = field(default_factory=dict)
    datasets: dict[int, Dataset] = field(default_factory=dict)
    dashboards: dict[int, Dashboard] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    own: int | None = None
    warnings: list[str] = field(default_factory=list)

    def dataset_sql(self, number: int) -> str | None:
        """A query that gives what a dataset holds; None for an unknown one."""
        dataset = self.datasets.get(number)
        return None if dataset is None else all_of(dataset)

    def dashboard(self, row: Row) -> Dashboard | None:
        """The dashboard that a chart says it is on."""
        number = whole(row, "id")
        if number is None:
            return None
        known = self.dashboards.get(number)
        return known or self._dashboard(number, text(row, "dashboard_title"), None)

    def user(self, number: int | None) -> str | None:
        """A user's name; where the account may not read names, one made of the id."""
        return None if number is None else self.users.get(number, f"superset:{number}")

    def _dashboard(self, number: int, title: str | None, slug: str | None) -> Dashboard:
        path = quote(slug[:255], safe="") if slug else str(number)
        return Dashboard(
            str(number), title[:LONGEST_TITLE] if title else None, f"{self.base_url}/superset/dashboard/{path}/"
        )

    def add_database(self, database: Database) -> None:
        self.databases[database.id] = database

    def add_dataset(self, row: Row) -> None:
        dataset = dataset_of(row, self.databases)
        if dataset is None:
            return
        database = dataset.database
        # Where the database's address may not be read, its datasets still say its catalog.
        if dataset.catalog and database.id in self.databases and database.catalog is None:
            database = replace(database, catalog=dataset.catalog)
            self.databases[database.id] = database
            dataset = replace(dataset, database=database)
        self.datasets[dataset.id] = dataset

    def add_dashboard(self, row: Row) -> None:
        number = whole(row, "id")
        if number is not None:
            self.dashboards[number] = self._dashboard(number, text(row, "dashboard_title"), text(row, "slug"))

    def add_user(self, row: Row) -> None:
        number, name = whole(row, "id"), text(row, "username")
        if number is not None and name is not None:
            self.users[number] = name[:LONGEST_TITLE]


@dataclass(slots=True)
class CatalogueReader:
    """Fills a catalogue. A list that the account may not read leaves a warning."""

    session: SupersetSession
    most_pages: int = MOST_PAGES

    async def read(self) -> AsyncIterator[tuple[Catalogue, float]]:
        """The catalogue as it grows, with its progress from 0 to 1. Raises ToolError."""
        catalogue = Catalogue(self.session.settings.base_url)
        await self._databases(catalogue)
        yield catalogue, 0.2
        async for row in self._rows(catalogue, DATASETS, "tables behind charts may stay unknown"):
            catalogue.add_dataset(row)
        yield catalogue, 0.6
        async for row in self._rows(catalogue, DASHBOARDS, "addresses of dashboards are made of their ids"):
            catalogue.add_dashboard(row)
        yield catalogue, 0.8
        if self.session.settings.include_sql_lab:
            async for row in self._rows(catalogue, USERS, "users are told apart by their ids"):
                catalogue.add_user(row)
            catalogue.own = await self._own(catalogue)
        yield catalogue, 1.0

    async def _rows(self, catalogue: Catalogue, resource: Resource, without: str) -> AsyncIterator[Row]:
        listing = Listing(self.session, resource, self.most_pages)
        try:
            async for page in listing.pages():
                for row in page:
                    yield row
        except ToolError as error:
            if error.cause not in _BEARABLE:
                raise
            catalogue.warnings.append(f"The account may not read {resource.name}: {without}.")
        catalogue.warnings.extend(listing.warnings)

    async def _databases(self, catalogue: Catalogue) -> None:
        readable = True
        async for row in self._rows(catalogue, DATABASES, "dialects and default schemas stay unknown"):
            number = whole(row, "id")
            address = None
            if readable and number is not None:
                address, readable = await self._address(number)
            database = database_of(row, address)
            if database is not None:
                catalogue.add_database(database)
        if not readable:
            catalogue.warnings.append("The account may not read addresses of databases: names get usual defaults.")

    async def _address(self, number: int) -> tuple[str | None, bool]:
        """The masked address of a database, and whether it makes sense to ask for others."""
        answer = await self.session.ask("GET", f"/api/v1/database/{number}/connection")
        if answer.status != 200 or not isinstance(answer.body, dict):
            return None, answer.status not in (403, 404)
        return text(inner(answer.body, "result"), "sqlalchemy_uri"), True

    async def _own(self, catalogue: Catalogue) -> int | None:
        answer = await self.session.ask("GET", "/api/v1/me/")
        number = whole(inner(answer.body, "result"), "id") if isinstance(answer.body, dict) else None
        if number is None:
            number = next(iter(_ids_of(catalogue.users, self.session.settings.username)), None)
        if number is None:
            catalogue.warnings.append("Superset does not say who the account is: its own SQL Lab runs are counted.")
        return number


def _ids_of(users: dict[int, str], name: str) -> Iterator[int]:
    return (number for number, known in users.items() if known == name)
