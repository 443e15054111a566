"""A service's own copy of the tenants, kept by `tenant.changed`, and what the deletion of one does there.

A migration of each service that stores anything of tenants holds `DDL`. A deletion stays as a row: records that
arrive afterwards are dropped, and nothing brings the tenant back. Its rows go in batches, each a transaction of its
own, by a task that any replica may run and repeat. What was under way when the deletion came (a batch, a request
whose token still lives) may write once more; hence the tenant counts as purged only when a pass that began
`SETTLED` after the deletion found nothing.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry, Counter

from libs.common.clock import Clock
from libs.common.consume import Consumers
from libs.common.db import Connection, Database
from libs.common.events import TenantChanged
from libs.common.records import E, Handler, InvalidRecords, Record
from libs.common.topics import TENANT_CHANGED

DDL: Final = """\
CREATE TABLE tenant (
    tenant_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    name text,
    slug text,
    deleted_at timestamptz,
    purged_at timestamptz
);
CREATE INDEX tenant_to_purge ON tenant (deleted_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL;
SELECT tidemark.protect('tenant');
"""
# Longer than an internal token and a transaction together can live.
SETTLED: Final = timedelta(minutes=5)
_BATCH_ROWS: Final = 5000
_SLICE_SECONDS: Final = 2.0

_STORE: Final = """
INSERT INTO tenant AS known (tenant_id, version, name, slug, deleted_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id) DO UPDATE SET
    version = excluded.version, name = excluded.name, slug = excluded.slug, deleted_at = excluded.deleted_at
WHERE known.version < excluded.version AND known.deleted_at IS NULL
RETURNING true"""
_DELETED: Final = "SELECT tenant_id FROM tenant WHERE tenant_id = ANY($1::uuid[]) AND deleted_at IS NOT NULL"
_TO_PURGE: Final = """
SELECT tenant_id, deleted_at FROM tenant WHERE deleted_at IS NOT NULL AND purged_at IS NULL ORDER BY deleted_at"""
_PURGED: Final = "UPDATE tenant SET purged_at = $2 WHERE tenant_id = $1"
# Rows that somebody else has in hand are left to the next pass.
_DELETE_SOME: Final = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {table} WHERE tenant_id = $1 LIMIT $2 FOR UPDATE SKIP LOCKED))"""

Step = Callable[[Connection, UUID], Awaitable[object]]
_log = structlog.get_logger()


async def _nothing(_connection: Connection, _tenant: UUID) -> None:
    """A service that needs no more than the deletion of rows."""


class Tenants:
    """Follows tenants, keeps the records of deleted ones out, removes their rows."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        tables: Sequence[str],
        registry: CollectorRegistry,
        *,
        on_deleted: Step = _nothing,
        on_living: Step = _nothing,
        hold: Step = _nothing,
        batch_rows: int = _BATCH_ROWS,
        slice_seconds: float = _SLICE_SECONDS,
    ) -> None:
        """`tables`: all that hold a `tenant_id`, but this copy; whoever refers to another stands before it.

        `on_deleted` runs in the transaction that notes a deletion, `on_living` in the one that notes any other change;
        `hold` at the beginning of each batch's.
        """
        self._database = database
        self._clock = clock
        self._tables = tables
        self._on_deleted = on_deleted
        self._on_living = on_living
        self._hold = hold
        self._batch_rows = batch_rows
        self._slice = slice_seconds
        self._dropped = Counter(
            "tidemark_tenant_records_dropped",
            "Records dropped because their tenant is deleted.",
            registry=registry,
        )
        self._purged = Counter(
            "tidemark_tenant_rows_purged", "Rows of deleted tenants that were removed.", registry=registry
        )

    def subscribe(self, consumers: Consumers) -> None:
        """Read `tenant.changed`."""
        consumers.subscribe(TENANT_CHANGED, TenantChanged, self._on_tenant_changed)

    async def _on_tenant_changed(self, records: Sequence[Record[TenantChanged]]) -> None:
        await self.follow([record.event for record in records])

    async def follow(self, events: Sequence[TenantChanged]) -> None:
        """Keep the copy; an older version changes nothing, and nothing follows a deletion."""
        now = self._clock()
        for event in events:
            deleted_at = now if event.deleted else None
            async with self._database.work() as connection:
                stored = await connection.fetchval(_STORE, event.id, event.version, event.name, event.slug, deleted_at)
                if stored:
                    await (self._on_deleted if event.deleted else self._on_living)(connection, event.id)

    async def deleted(self, tenants: Iterable[UUID]) -> frozenset[UUID]:
        """Those of these tenants that are deleted."""
        async with self._database.work() as connection:
            found = await connection.fetch(_DELETED, list(set(tenants)))
        return frozenset(row["tenant_id"] for row in found)

    def living(self, handler: Handler[E]) -> Handler[E]:
        """The handler without the records of deleted tenants: they are dropped, not dead-lettered."""

        async def handle(records: Sequence[Record[E]]) -> None:
            # Of records of one tenant the very same object mostly tells it: that is quicker to compare than to hash.
            tenants = {id(record.event.tenant): record.event.tenant for record in records}
            gone = await self.deleted(tenants.values())
            if not gone:
                await handler(records)
                return
            kept = [at for at, record in enumerate(records) if record.event.tenant not in gone]
            self._dropped.inc(len(records) - len(kept))
            if not kept:
                return
            try:
                await handler([records[at] for at in kept])
            except InvalidRecords as error:
                raise InvalidRecords({kept[at]: reason for at, reason in error.reasons.items()}) from None

        return handle

    async def purge(self) -> int:
        """Remove rows of deleted tenants for a few seconds; how many. Goes on at the next call."""
        until = time.monotonic() + self._slice
        async with self._database.work() as connection:
            due = await connection.fetch(_TO_PURGE)
        return sum([await self._purge(row["tenant_id"], row["deleted_at"], until) for row in due])

    async def _purge(self, tenant: UUID, deleted_at: datetime, until: float) -> int:
        began, rows = self._clock(), 0
        for table in self._tables:
            while gone := await self._delete_some(table, tenant):
                rows += gone
                if time.monotonic() > until:
                    return rows
        if not rows and began >= deleted_at + SETTLED:
            async with self._database.work() as connection:
                await connection.execute(_PURGED, tenant, began)
            _log.info("tenant purged", tenant=str(tenant))
        return rows

    async def _delete_some(self, table: str, tenant: UUID) -> int:
        async with self._database.work() as connection:
            await self._hold(connection, tenant)
            done: str = await connection.execute(_DELETE_SOME.format(table=table), tenant, self._batch_rows)
        rows = int(done.removeprefix("DELETE "))
        self._purged.inc(rows)
        return rows
