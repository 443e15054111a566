"""SQL Lab's history from a moment on, in the order of its starts."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.scraper.tools.fields import Row, items, real, rows, text, whole
from services.scraper.tools.interface import Item, Position, ToolError
from services.scraper.tools.superset_catalogue import Catalogue
from services.scraper.tools.superset_lists import MOST_PAGES, rison
from services.scraper.tools.superset_queries import UNFINISHED, run
from services.scraper.tools.superset_session import SupersetSession

PART: Final = "sql_lab"
PATH: Final = "/api/v1/query/"
COLUMNS: Final = (
    "id",
    "sql",
    "executed_sql",
    "status",
    "start_time",
    "tab_name",
    "schema",
    "catalog",
    "sql_tables",
    "user.id",
    "database.id",
    "database.database_name",
)
_START: Final = "start_time"
# Rows are written by several processes whose clocks and commits are not in step.
_OVERLAP_MS: Final = 10 * 60 * 1000.0
# A run that has not ended by then never will.
_LONGEST_RUN_MS: Final = 24 * 3600 * 1000.0
# How far Superset's clock may go before ours; a start beyond it would keep all later runs from being read.
_AHEAD_MS: Final = 5 * 60 * 1000.0


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Runs of one page; `position` is where the next sync goes on once they are stored."""

    items: tuple[Item, ...]
    position: Position
    progress: float


@dataclass(slots=True)
class History:
    """One reading of the history. Each page asks for what started after the last one's end, so that runs that Superset
    deletes meanwhile shift nothing."""

    session: SupersetSession
    catalogue: Catalogue
    most_pages: int = MOST_PAGES
    warnings: list[str] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _unreadable: int = 0
    _unfinished: list[float] = field(default_factory=list)

    async def pages(self, position: Position, since: datetime, now: datetime) -> AsyncIterator[HistoryPage]:
        """Successful runs up to now. The next sync begins with what had not ended yet. Raises ToolError."""
        reached, end = _begin(position, since), now.timestamp() * 1000 + _AHEAD_MS
        read, total = 0, 0
        for _ in range(self.most_pages):
            answer = await self.session.get(PATH, {"q": self._query(reached)})
            if not isinstance(answer.get("result"), list):
                raise ToolError("malformed", "The history of SQL Lab came without its entries.")
            entries = [entry for entry in rows(answer, "result") if self._is_new(entry, end)]
            found = tuple(item for entry in entries if (item := self._item(entry)) is not None)
            newest = max((start for entry in entries if (start := real(entry, _START)) is not None), default=reached)
            read, total = read + len(items(answer, "result")), total or whole(answer, "count") or 0
            yield HistoryPage(found, self._position(max(newest, reached)), min(1.0, read / total) if total else 1.0)
            if newest <= reached:
                break
            reached = newest
        else:
            self.warnings.append(f"SQL Lab's history did not end after {self.most_pages} pages; the next sync goes on.")
        if self._unreadable:
            self.warnings.append(f"{self._unreadable} runs of SQL Lab could not be read.")

    def _query(self, after: float) -> str:
        return rison(
            {
                "columns": COLUMNS,
                "filters": [{"col": _START, "opr": "gt", "value": after}],
                "order_column": _START,
                "order_direction": "asc",
                "page": 0,
                "page_size": self.session.settings.page_size,
            }
        )

    def _is_new(self, entry: Row, end: float) -> bool:
        number, start = whole(entry, "id"), real(entry, _START)
        if number is None or start is None or start > end:
            self._unreadable += 1
            return False
        known = number in self._seen
        self._seen.add(number)
        return not known

    def _item(self, entry: Row) -> Item | None:
        start = real(entry, _START)
        if text(entry, "status") in UNFINISHED and start is not None:
            self._unfinished.append(start)
        try:
            return run(entry, self.catalogue, frozenset(self.session.settings.exclude_users))
        except ValueError:
            self._unreadable += 1
            return None

    def _position(self, newest: float) -> Position:
        waited_for = [start for start in self._unfinished if start > newest - _LONGEST_RUN_MS]
        return {_START: min([newest, *waited_for])}


def _begin(position: Position, since: datetime) -> float:
    first = since.timestamp() * 1000
    known = real(position, _START)
    return first if known is None else max(first, known - _OVERLAP_MS)
