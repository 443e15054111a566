"""The aggregator's use cases on a real database, with a clock that the test moves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from libs.common.auth import Principal
from libs.common.db import Connection, Database
from libs.common.erasure import ErasedNames
from libs.common.events import BiQueryScraped, ColumnUse, ConnectorRef, SyncCompleted, TableRef
from libs.common.ids import bi_query_id
from libs.common.sealed import KeyRing
from libs.common.topics import BI_QUERY_STORED
from services.aggregator.domain import Recency
from services.aggregator.ingest import Ingest
from services.aggregator.metrics import UsageMetrics
from services.aggregator.refresh import Refresh
from services.aggregator.service import Catalogue, ProductChange, Usage
from services.aggregator.settings import Settings
from services.aggregator.store.catalogue import Claim
from services.aggregator.store.reads import ProductStats
from tests.support.platform import SEALING_KEY, Platform

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


def person(tenant: UUID) -> Principal:
    """Somebody of a tenant."""
    return Principal(tenant, "ada")


@dataclass
class Harness:
    """One replica's use cases."""

    database: Database
    clock: MovedClock
    ingest: Ingest
    refresh: Refresh
    catalogue: Catalogue
    usage: Usage
    metrics: UsageMetrics
    admin: Connection = field(repr=False)

    async def space(self, tenant: UUID, slug: str = "shop") -> UUID:
        return (await self.catalogue.create_space(person(tenant), uuid4(), slug, slug, None)).id

    async def product(self, tenant: UUID, name: str, *tables: str | Claim, space: str = "shop") -> UUID:
        claims = tuple(table if isinstance(table, Claim) else Claim(table, None) for table in tables)
        change = ProductChange(name, None, None, claims)
        return (await self.catalogue.create_product(person(tenant), space, uuid4(), change, name)).id

    async def stats(self, tenant: UUID, space: str = "shop") -> dict[UUID, ProductStats]:
        """Statistics after an aggregation now."""
        await self.refresh.aggregate(tenant, space)
        return await self.stored_stats(tenant, space)

    async def stored_stats(self, tenant: UUID, space: str = "shop") -> dict[UUID, ProductStats]:
        return {each.product_id: each for each in await self.usage.stats(tenant, space, None, 500)}

    async def take(self, *events: BiQueryScraped | SyncCompleted, said_at: datetime | None = None) -> None:
        await self.ingest.ingest(events, [said_at or self.clock()] * len(events))

    async def outcomes(self) -> list[dict[str, Any]]:
        """Of the jobs whose outcome lies in the outbox, oldest first; takes it away."""
        import orjson

        rows = await self.admin.fetch(
            "DELETE FROM aggregator.outbox WHERE topic = $1 RETURNING id, value", BI_QUERY_STORED.name
        )
        return [orjson.loads(row["value"]) for row in sorted(rows, key=lambda row: row["id"])]


def replica(database: Database, clock: MovedClock, admin: Connection) -> Harness:
    metrics = UsageMetrics(CollectorRegistry())
    erased = ErasedNames(KeyRing.of({"k1": SecretStr(SEALING_KEY)}))
    ingest = Ingest(database, clock, metrics, timedelta(minutes=15), erased)
    refresh = Refresh(database, clock, metrics, Recency(), timedelta(seconds=1))
    catalogue = Catalogue(database, clock, refresh)
    return Harness(database, clock, ingest, refresh, catalogue, Usage(database, clock), metrics, admin)


@asynccontextmanager
async def replicas(platform: Platform, count: int = 1) -> AsyncIterator[list[Harness]]:
    """Replicas with pools of their own and one clock."""
    settings = Settings.model_validate(platform.settings_values("aggregator", database_pool_size=4))
    clock = MovedClock()
    admin = await asyncpg.connect(platform.admin_url)
    databases = [await Database.open(settings, "aggregator") for _ in range(count)]
    try:
        yield [replica(database, clock, admin) for database in databases]
    finally:
        for database in databases:
            await database.close()
        await admin.close()


@dataclass(frozen=True)
class Source:
    """A connector of a tenant, and the records that it could send."""

    tenant: UUID = field(default_factory=uuid4)
    connector: UUID = field(default_factory=uuid4)
    job: UUID = field(default_factory=uuid4)
    sync_seq: int = 1
    type: str = "postgres"

    @property
    def ref(self) -> ConnectorRef:
        return ConnectorRef(id=self.connector, type=self.type, name="warehouse")

    def record(
        self,
        resource_id: str,
        job_seq: int | None = None,
        *,
        tables: Sequence[str] = ("public.orders",),
        columns: Sequence[tuple[str, str]] = (),
        **values: Any,
    ) -> BiQueryScraped:
        """An execution at noon unless told otherwise; `job_seq` None is a record of no job."""
        kind = values.pop("resource_type", "query_log")
        in_job = job_seq is not None
        values.setdefault("executed_at", NOON)
        values.setdefault("sql_text", f"SELECT * FROM {', '.join(tables)}" if tables else None)
        return BiQueryScraped(
            tenant=self.tenant,
            id=bi_query_id(self.tenant, self.connector, kind, resource_id),
            connector=self.ref,
            dialect="postgres",
            job_id=self.job if in_job else None,
            sync_seq=self.sync_seq if in_job else None,
            job_seq=job_seq,
            resource_type=kind,
            resource_id=resource_id,
            tables=tuple(TableRef(name=tuple(table.split(".")), display=table) for table in tables),
            columns=tuple(ColumnUse(table=tuple(table.split(".")), column=column) for table, column in columns),
            **values,
        )

    def chart(self, resource_id: str, job_seq: int | None = None, **values: Any) -> BiQueryScraped:
        values.setdefault("resource_type", "chart")
        return self.record(resource_id, job_seq, executed_at=None, **values)

    def closing(self, count: int, *, complete: bool = True) -> SyncCompleted:
        return SyncCompleted(
            tenant=self.tenant,
            connector=self.ref,
            job_id=self.job,
            sync_seq=self.sync_seq,
            count=count,
            complete=complete,
        )
