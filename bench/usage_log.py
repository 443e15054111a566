"""A tenant with a long log: products in one space, patterns over their tables, rows of many days at a steady rate."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from libs.common.db import Connection
from services.aggregator.domain import claim_keys
from services.aggregator.store import counter_build
from tests.integration.aggregator_harness import NOON, Harness, Source

PRODUCTS: Final = 2_000
PATTERNS: Final = 10_000
USERS: Final = 5_000
COLUMNS: Final = 20
_BATCH: Final = 2_000
_SPACE: Final = "bench"

_ROWS: Final = """
INSERT INTO aggregator.query_log (
    tenant_id, id, connector_id, environment, resource_type, resource_id, pattern_id, executed_by, executed_at,
    execution_count, sync_seq, job_seq, said_at, created_at)
SELECT $1, gen_random_uuid(), $2, 'default', 'query_log', 'row-' || n,
       p.ids[1 + floor(random() * cardinality(p.ids))::int], 'user' || floor(random() * $5)::int,
       $3::timestamptz - $6::interval * (1 - (n - random()) / $4), 1, -1, 0, $3, $3
FROM generate_series(1, $4::int) AS n,
     (SELECT array_agg(id ORDER BY id) AS ids FROM aggregator.sql_pattern WHERE tenant_id = $1) AS p"""
_KEYS: Final = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'aggregator' AND tablename = 'query_log'"


@dataclass
class Log:
    """One tenant of the benchmark and the events that it may send."""

    harness: Harness
    source: Source = field(default_factory=Source)
    draw: random.Random = field(default_factory=lambda: random.Random(23))  # noqa: S311 - a reproducible log
    products: list[UUID] = field(default_factory=list)
    space: UUID = field(default_factory=uuid4)
    sent: int = 0

    @property
    def tenant(self) -> UUID:
        return self.source.tenant

    async def begin(self) -> None:
        """Products and patterns: each pattern names one to three tables and some of their columns."""
        self.space = await self.harness.space(self.tenant, _SPACE)
        self.products = [uuid4() for _ in range(PRODUCTS)]
        await self._claim(self.harness.admin)
        self._patterns = [self._pattern() for _ in range(PATTERNS)]
        for start in range(0, PATTERNS, _BATCH):
            await self.send(self._patterns[start : start + _BATCH])

    def _pattern(self) -> tuple[list[str], list[tuple[str, str]]]:
        tables = [f"public.t{n}" for n in self.draw.sample(range(PRODUCTS), self.draw.randint(1, 3))]
        columns = {(table, f"c{self.draw.randrange(COLUMNS)}") for table in tables for _ in range(3)}
        return tables, sorted(columns)

    async def _claim(self, admin: Connection) -> None:
        names = [f"public.t{n}" for n in range(PRODUCTS)]
        for number, (product, name) in enumerate(zip(self.products, names, strict=True)):
            product_row = (self.tenant, product, self.space, f"p{number}", name, None, NOON, NOON)
            await admin.execute(
                "INSERT INTO aggregator.data_product VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *product_row
            )
            await admin.execute(
                "INSERT INTO aggregator.product_table VALUES ($1, $2, 0, $3, NULL)", self.tenant, product, name
            )
        keys = [
            (self.tenant, key.key, product, 0, key.whole, key.claim, self.space, None)
            for product, name in zip(self.products, names, strict=True)
            for key in claim_keys(name)
        ]
        await admin.copy_records_to_table("product_table_key", records=keys, schema_name="aggregator")

    async def fill(self, rows: int, days: float) -> None:
        """Rows of so many days up to now; then statistics as they were."""
        admin, values = self.harness.admin, (USERS, timedelta(days=days))
        keys = await admin.fetch(_KEYS)
        await admin.execute("ALTER TABLE aggregator.query_log DROP CONSTRAINT query_log_pkey")
        for key in keys:
            await admin.execute(f"DROP INDEX IF EXISTS aggregator.{key['indexname']}")
        await admin.execute(_ROWS, self.tenant, self.source.connector, self.harness.clock(), rows, *values)
        for key in keys:
            await admin.execute(key["indexdef"])
        await admin.execute("ALTER TABLE aggregator.query_log ADD PRIMARY KEY USING INDEX query_log_pkey")
        await admin.execute("VACUUM ANALYZE")

    async def build(self) -> None:
        """All counters from the rows."""
        await self.harness.refresh.slide(self.tenant)
        async with self.harness.database.work() as connection:
            await connection.execute("UPDATE product_state SET stale = true WHERE tenant_id = $1", self.tenant)
        await self.harness.refresh.aggregate(self.tenant, _SPACE)

    async def rebuild_one(self, product: UUID) -> None:
        """What a change of a product's tables does with its counters."""
        async with self.harness.database.work() as connection:
            await counter_build.build(connection, self.tenant, [product])

    async def send(self, patterns: Sequence[tuple[list[str], list[tuple[str, str]]]]) -> None:
        """A batch of new executions, run some seconds ago."""
        events = []
        for tables, columns in patterns:
            self.sent += 1
            at = self.harness.clock() - timedelta(seconds=self.draw.uniform(1, 30))
            person = f"user{self.draw.randrange(USERS)}"
            events.append(
                self.source.record(
                    f"sent-{self.sent}", tables=tables, columns=columns, executed_by=person, executed_at=at
                )
            )
        await self.harness.take(*events)

    async def send_new(self, count: int) -> None:
        """New executions of patterns drawn at random."""
        await self.send(self.draw.choices(self._patterns, k=count))
