"""One scrape of a Superset, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from libs.common.connectors import SupersetSettings
from libs.common.egress import EgressPolicy
from libs.common.events import BiQueryScraped, ConnectorRef
from services.scraper.records import Origin, bi_queries
from services.scraper.tools.http_client import Limits
from services.scraper.tools.http_retry import Patience
from services.scraper.tools.interface import Batch, Cursor, Position
from services.scraper.tools.superset import Superset

QUICK = Limits(
    request_seconds=60.0,
    connect_seconds=60.0,
    patience=Patience(attempts=3, first_pause=0.001, longest_pause=0.002, longest_retry_after=1.0),
)
LOCAL = EgressPolicy.of(("127.0.0.0/8",)).address_of
ORIGIN = Origin(
    UUID(int=1), "production", ConnectorRef(id=UUID(int=2), type="superset", name="superset"), UUID(int=3), 1
)


@dataclass(slots=True)
class Scrape:
    """The records of one scrape, in order."""

    batches: list[Batch] = field(default_factory=list)
    records: list[BiQueryScraped] = field(default_factory=list)
    cursor: dict[str, Position] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        return [warning for batch in self.batches for warning in batch.warnings]

    @property
    def complete(self) -> bool:
        return bool(self.batches) and self.batches[-1].complete

    def ids(self, resource_type: str) -> list[str]:
        return [record.resource_id for record in self.records if record.resource_type == resource_type]

    def record(self, resource_type: str, resource_id: str) -> BiQueryScraped:
        return next(r for r in self.records if (r.resource_type, r.resource_id) == (resource_type, resource_id))

    def tables(self, resource_type: str, resource_id: str) -> set[str]:
        return {table.display for table in self.record(resource_type, resource_id).tables}


def superset(url: str, username: str, password: str, **settings: object) -> SupersetSettings:
    values: Mapping[str, object] = {"base_url": url, "username": username, "password": password, **settings}
    return SupersetSettings.model_validate(values)


async def scrape(tool: Superset, cursor: Cursor | None = None, since: datetime | None = None) -> Scrape:
    """All that a scrape tells. Raises ToolError."""
    done = Scrape(cursor=dict(cursor or {}))
    now = datetime.now(UTC) + timedelta(days=365)
    async with tool.open() as opened:
        async for batch in opened.batches(done.cursor, since or datetime(2020, 1, 1, tzinfo=UTC), now):
            done.batches.append(batch)
            done.records += bi_queries(batch.items, ORIGIN, len(done.records) + 1)
            done.cursor |= {part: position for part, position in batch.cursor.items() if position is not None}
    return done
