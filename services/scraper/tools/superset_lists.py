"""Superset's lists, page by page, whatever page size it really gives and however long it would go on."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.scraper.tools.fields import Row, items, whole
from services.scraper.tools.interface import ToolError
from services.scraper.tools.superset_session import SupersetSession

MOST_PAGES: Final = 2_000

Rison = int | float | str | Sequence["Rison"] | Mapping[str, "Rison"]


@dataclass(frozen=True, slots=True)
class Resource:
    """A list of Superset: its path, the fields to ask for, a stable order that it allows."""

    name: str
    path: str
    columns: tuple[str, ...]
    order: str


CHARTS: Final = Resource(
    "charts",
    "/api/v1/chart/",
    ("id", "slice_name", "params", "datasource_id", "datasource_type", "dashboards.id", "dashboards.dashboard_title"),
    "slice_name",
)
DASHBOARDS: Final = Resource("dashboards", "/api/v1/dashboard/", ("id", "dashboard_title", "slug"), "dashboard_title")
DATASETS: Final = Resource(
    "datasets",
    "/api/v1/dataset/",
    ("id", "table_name", "schema", "catalog", "sql", "database.id", "database.database_name"),
    "table_name",
)
DATABASES: Final = Resource("databases", "/api/v1/database/", ("id", "database_name", "backend"), "database_name")
SAVED_QUERIES: Final = Resource(
    "saved queries",
    "/api/v1/saved_query/",
    ("id", "label", "sql", "schema", "catalog", "database.id", "sql_tables"),
    "label",
)
USERS: Final = Resource("users", "/api/v1/security/users/", ("id", "username"), "username")


def rison(value: Rison) -> str:
    """A value in Rison, the notation of Superset's `q`. Texts are quoted."""
    match value:
        case str():
            return "'" + value.replace("!", "!!").replace("'", "!'") + "'"
        case int() | float():
            return repr(value)
        case Mapping():
            return "(" + ",".join(f"{name}:{rison(inner)}" for name, inner in value.items()) + ")"
        case _:
            return "!(" + ",".join(rison(inner) for inner in value) + ")"


def page_query(resource: Resource, page: int, page_size: int) -> str:
    """The `q` of one page."""
    return rison(
        {
            "columns": resource.columns,
            "order_column": resource.order,
            "order_direction": "asc",
            "page": page,
            "page_size": page_size,
        }
    )


@dataclass(slots=True)
class Listing:
    """One reading of a list. `complete` once all entries that Superset counted were seen and could be read."""

    session: SupersetSession
    resource: Resource
    most_pages: int = MOST_PAGES
    complete: bool = False
    progress: float = 0.0
    warnings: list[str] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    async def pages(self) -> AsyncIterator[list[Row]]:
        """New entries per page, none twice.

        Where entries were added or renamed meanwhile, one of them may have slipped from a page that was still to
        come to one already read: then all is read once more. Raises ToolError.
        """
        for _ in range(2):
            reading = _Reading()
            async for entries in self._once(reading):
                yield entries
            expected = reading.count
            self.complete = not reading.unreadable and (expected is None or len(self._seen) >= expected)
            if self.complete or reading.endless or reading.unreadable:
                break
        self._judge(reading)

    async def _once(self, reading: "_Reading") -> AsyncIterator[list[Row]]:
        size = self.session.settings.page_size
        for page in range(self.most_pages):
            query = {"q": page_query(self.resource, page, size)}
            answer = await self.session.get(self.resource.path, query)
            if not isinstance(answer.get("result"), list):
                raise ToolError("malformed", f"The list of {self.resource.name} came without its entries.")
            entries = items(answer, "result")
            fresh = list(reading.fresh(entries, self._seen))
            reading.count = whole(answer, "count")
            self.progress = min(1.0, reading.read / reading.count) if reading.count else 1.0
            yield fresh
            if not entries or reading.is_over:
                return
        reading.endless = True

    def _judge(self, reading: "_Reading") -> None:
        name = self.resource.name
        if reading.unreadable:
            self.warnings.append(f"{reading.unreadable} entries in the list of {name} could not be read.")
        if reading.endless:
            self.complete = False
            self.warnings.append(f"The list of {name} did not end after {self.most_pages} pages; the rest is left out.")
        elif not self.complete and not reading.unreadable:
            self.warnings.append(f"{len(self._seen)} of {reading.count} {name} were given; the list kept changing.")


@dataclass(slots=True)
class _Reading:
    """One pass over the pages."""

    read: int = 0
    unreadable: int = 0
    count: int | None = None
    repeated: bool = False
    endless: bool = False
    ids: set[int] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """By the count, or because a page brought nothing that this pass has not had."""
        return self.repeated or (self.count is not None and self.read >= self.count)

    def fresh(self, entries: Sequence[object], seen: set[int]) -> Iterator[Row]:
        """Entries not seen before; also counts."""
        self.read += len(entries)
        self.repeated = True
        for entry in entries:
            number = whole(entry, "id") if isinstance(entry, dict) else None
            if number is None:
                self.unreadable += 1
                continue
            if number not in self.ids:
                self.repeated = False
                self.ids.add(number)
            if number not in seen and isinstance(entry, dict):
                seen.add(number)
                yield entry
