"""Marks on products whose statistics no longer hold, and when a space was refreshed last."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.db import Connection

# A mark that exists is written again, and so locked until the ingest commits: a refresh must not take away the mark
# of rows that it cannot see yet.
_MARK = """INSERT INTO usage_mark AS known (tenant_id, product_id, space_id, marked_at)
           SELECT DISTINCT f.tenant_id, f.product_id, f.space_id, $1::timestamptz FROM ({found}) AS f
           ORDER BY f.tenant_id, f.product_id
           ON CONFLICT (tenant_id, product_id) DO UPDATE SET marked_at = excluded.marked_at"""


class SpaceKey(NamedTuple):
    tenant_id: UUID
    space_id: UUID


async def mark_touched(connection: Connection, more: Iterable[tuple[UUID, UUID]], now: datetime) -> None:
    """Mark the products that this transaction's changes touch, and `more` by (tenant, product).

    Until it ends nobody else counts for them.
    """
    tenants, products = [list(each) for each in zip(*more, strict=True)] or [[], []]
    found = """SELECT s.tenant_id, s.product_id, s.space_id
               FROM (SELECT t.tenant_id, p.product_id
                     FROM (SELECT DISTINCT tenant_id, pattern_id FROM stage_change) AS t
                     CROSS JOIN LATERAL (
                         SELECT product_id FROM product_pattern
                         WHERE tenant_id = t.tenant_id AND pattern_id = t.pattern_id OFFSET 0) AS p
                     UNION SELECT * FROM unnest($2::uuid[], $3::uuid[])) AS t
               CROSS JOIN LATERAL (
                   SELECT tenant_id, product_id, space_id FROM product_state
                   WHERE tenant_id = t.tenant_id AND product_id = t.product_id OFFSET 0) AS s"""
    await connection.execute(_MARK.format(found=found), now, tenants, products)


async def mark_space(connection: Connection, tenant: UUID, space: UUID, now: datetime) -> None:
    """Mark all products of a space."""
    found = """SELECT tenant_id, id AS product_id, space_id FROM data_product
               WHERE tenant_id = $2 AND space_id = $3"""
    await connection.execute(_MARK.format(found=found), now, tenant, space)


async def mark_connector(connection: Connection, tenant: UUID, connector: UUID, now: datetime) -> None:
    """Mark all products that a connector's records touch."""
    found = """SELECT c.tenant_id, c.product_id, c.space_id
               FROM product_table_key c
               WHERE c.tenant_id = $2 AND c.whole AND (c.connector_id IS NULL OR c.connector_id = $3)
                 AND EXISTS (SELECT FROM pattern_table_key k WHERE k.tenant_id = c.tenant_id
                             AND k.connector_id = $3 AND k.match_key = c.match_key)"""
    await connection.execute(_MARK.format(found=found), now, tenant, connector)


async def mark_stale(connection: Connection, now: datetime, updated_until: datetime) -> None:
    """Mark products of all tenants whose statistics are this old: their windows have moved on.

    So have those of statistics from the future: a clock was set back.
    """
    found = "SELECT tenant_id, product_id, space_id FROM product_usage_stats WHERE updated_at <= $2 OR updated_at > $1"
    await connection.execute(_MARK.format(found=found), now, updated_until)


async def due_spaces(connection: Connection, now: datetime, refreshed_until: datetime) -> list[SpaceKey]:
    """Spaces of all tenants with marks that were not refreshed since. A refresh in the future is a clock set back."""
    rows = await connection.fetch(
        """SELECT DISTINCT d.tenant_id, d.space_id FROM usage_mark d
           LEFT JOIN usage_refresh r ON r.tenant_id = d.tenant_id AND r.space_id = d.space_id
           WHERE r.refreshed_at IS NULL OR r.refreshed_at <= $2 OR r.refreshed_at > $1
           ORDER BY d.tenant_id, d.space_id""",
        now,
        refreshed_until,
    )
    return [SpaceKey(*row) for row in rows]


async def claim_refresh(connection: Connection, key: SpaceKey, now: datetime, refreshed_until: datetime) -> bool:
    """Note the refresh of a space now; false where another one was newer than `refreshed_until`."""
    return bool(
        await connection.fetchval(
            """INSERT INTO usage_refresh AS known (tenant_id, space_id, refreshed_at) VALUES ($1, $2, $3)
               ON CONFLICT (tenant_id, space_id) DO UPDATE SET refreshed_at = excluded.refreshed_at
               WHERE known.refreshed_at <= $4 OR known.refreshed_at > $3
               RETURNING true""",
            *key,
            now,
            refreshed_until,
        )
    )


async def take_marks(connection: Connection, key: SpaceKey) -> Sequence[UUID]:
    """Remove a space's marks; their products. Marks of an ingest under way stay for the next refresh."""
    rows = await connection.fetch(
        """DELETE FROM usage_mark d USING (
               SELECT tenant_id, product_id FROM usage_mark WHERE tenant_id = $1 AND space_id = $2
               ORDER BY product_id FOR UPDATE SKIP LOCKED
           ) AS mine
           WHERE d.tenant_id = mine.tenant_id AND d.product_id = mine.product_id
           RETURNING d.product_id""",
        *key,
    )
    return [row["product_id"] for row in rows]
