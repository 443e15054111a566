"""Counters from rows, and the window that they hold for."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from libs.common.db import Connection
from services.aggregator.store import counters
from services.aggregator.store.counter_sql import LABELS, USER_KEY, key_of

_PATTERNS: Final = f"""
INSERT INTO product_pattern (tenant_id, pattern_id, product_id, connector_id, labels)
SELECT k.tenant_id, k.pattern_id, c.product_id, k.connector_id, {LABELS} AS labels
FROM product_table_key c
JOIN pattern_table_key k ON k.tenant_id = c.tenant_id AND k.match_key = c.match_key
 AND (c.connector_id IS NULL OR c.connector_id = k.connector_id)
LEFT JOIN LATERAL (
    SELECT t.last_part, u.column_name FROM pattern_table t
    JOIN pattern_column u ON u.tenant_id = t.tenant_id AND u.pattern_id = t.pattern_id AND u.table_key = t.table_key
    WHERE t.tenant_id = k.tenant_id AND t.pattern_id = k.pattern_id AND t.table_key = k.table_key OFFSET 0
) AS u ON true
WHERE c.tenant_id = $1 AND c.product_id = ANY($2::uuid[]) AND c.whole
GROUP BY k.tenant_id, k.pattern_id, c.product_id, k.connector_id"""  # noqa: S608

_TARGET: Final = "(SELECT * FROM product_pattern WHERE tenant_id = $1 AND product_id = ANY($2::uuid[]))"
_EXECUTING: Final = """(SELECT m.* FROM product_pattern m
    LEFT JOIN connector o ON o.tenant_id = m.tenant_id AND o.id = m.connector_id
    WHERE m.tenant_id = $1 AND m.product_id = ANY($2::uuid[]) AND coalesce(o.counts_executions, true))"""
# Looked up for each row of `e`; what was not counted has no row there.
_OF_PATTERN: Final = """CROSS JOIN LATERAL (
        SELECT m.product_id, m.labels FROM product_pattern m
        WHERE m.tenant_id = $1 AND m.pattern_id = e.pattern_id AND m.product_id = ANY($2::uuid[]) OFFSET 0) AS t"""
_COUNTERS: Final = f"""
WITH executed AS MATERIALIZED (
    SELECT t.pattern_id, q.executed_by, q.n, q.amount
    FROM (SELECT DISTINCT pattern_id FROM {_EXECUTING} AS t) AS t
    CROSS JOIN LATERAL (
        SELECT executed_by, count(*) AS n, sum(execution_count) AS amount FROM query_log
        WHERE tenant_id = $1 AND pattern_id = t.pattern_id AND executed_at >= $3 GROUP BY executed_by OFFSET 0
    ) AS q
), pattern AS MATERIALIZED (
    SELECT pattern_id, sum(amount) AS amount FROM executed GROUP BY pattern_id
), users AS (
    INSERT INTO product_user (tenant_id, product_id, user_key, n)
    SELECT $1, t.product_id, {USER_KEY.format("$1", "e.executed_by")}, sum(e.n)
    FROM executed e {_OF_PATTERN}
    WHERE e.executed_by IS NOT NULL GROUP BY t.product_id, e.executed_by
    RETURNING product_id
), columns AS (
    INSERT INTO product_column (tenant_id, product_id, label_key, label, n)
    SELECT $1, t.product_id, {key_of("l.label")}, l.label, sum(e.amount)
    FROM pattern e {_OF_PATTERN}
    CROSS JOIN LATERAL unnest(t.labels) AS l (label)
    GROUP BY t.product_id, l.label
), charts AS (
    INSERT INTO product_chart (tenant_id, product_id, connector_id, chart_key, n)
    SELECT $1, t.product_id, t.connector_id, r.chart_key, count(*)
    FROM {_TARGET} AS t JOIN bi_reference r ON r.tenant_id = $1 AND r.pattern_id = t.pattern_id
    WHERE r.retired_at IS NULL AND r.seen_at >= $3
    GROUP BY t.product_id, t.connector_id, r.chart_key
    RETURNING product_id
), newest AS (
    SELECT t.product_id, max(q.executed_at) AS last_at FROM {_EXECUTING} AS t
    CROSS JOIN LATERAL (
        SELECT executed_at FROM query_log WHERE tenant_id = $1 AND pattern_id = t.pattern_id
        ORDER BY executed_at DESC LIMIT 1
    ) AS q
    GROUP BY t.product_id
), seen AS (
    SELECT t.product_id, max(r.seen_at) AS until
    FROM {_TARGET} AS t JOIN bi_reference r ON r.tenant_id = $1 AND r.pattern_id = t.pattern_id
    WHERE r.retired_at IS NULL GROUP BY t.product_id
)
UPDATE product_state s SET
    stale = false, last_at = n.last_at, seen_until = e.until,
    executions = coalesce(x.amount, 0), users = coalesce(u.n, 0), charts = coalesce(c.n, 0)
FROM unnest($2::uuid[]) AS p (id)
LEFT JOIN (SELECT t.product_id, sum(e.amount) AS amount FROM pattern e {_OF_PATTERN}
           GROUP BY t.product_id) AS x ON x.product_id = p.id
LEFT JOIN (SELECT product_id, count(*) AS n FROM users GROUP BY product_id) AS u ON u.product_id = p.id
LEFT JOIN (SELECT product_id, count(*) AS n FROM charts GROUP BY product_id) AS c ON c.product_id = p.id
LEFT JOIN newest n ON n.product_id = p.id
LEFT JOIN seen e ON e.product_id = p.id
WHERE s.tenant_id = $1 AND s.product_id = p.id"""  # noqa: S608

_TABLES: Final = ("product_pattern", "product_user", "product_column", "product_chart")

# A tenant's connectors by hops over an index, then the rows of each in a span of time.
_SPAN: Final = """
WITH RECURSIVE source (connector_id) AS (
    (SELECT connector_id FROM query_log WHERE tenant_id = $2 ORDER BY connector_id LIMIT 1)
    UNION ALL
    SELECT (SELECT q.connector_id FROM query_log q WHERE q.tenant_id = $2 AND q.connector_id > s.connector_id
            ORDER BY q.connector_id LIMIT 1)
    FROM source s WHERE s.connector_id IS NOT NULL
)
SELECT q.tenant_id, q.pattern_id, $5::int AS sign, q.executed_at AS at, q.executed_by, q.execution_count AS amount,
       NULL::uuid AS chart_key
FROM source s
JOIN query_log q ON q.tenant_id = $2 AND q.connector_id = s.connector_id AND q.executed_at >= $3 AND q.executed_at < $4
UNION ALL
SELECT tenant_id, pattern_id, $5::int, seen_at, NULL, 0, chart_key FROM bi_reference
WHERE tenant_id = $2 AND seen_at >= $3 AND seen_at < $4 AND retired_at IS NULL"""


# So many rows are a part of a second, during which nobody else counts.
_MANY: Final = 10_000


async def window(connection: Connection, tenant: UUID) -> datetime | None:
    """Since when a tenant's counters count."""
    since: datetime | None = await connection.fetchval("SELECT since FROM usage_window WHERE tenant_id = $1", tenant)
    return since


async def slide(connection: Connection, tenant: UUID, since: datetime, step: timedelta) -> bool:
    """Move a tenant's window towards `since`; whether it is there. The caller holds it.

    Where many rows lie on the way it goes a part of it only, but `step`.
    """
    before = await window(connection, tenant)
    if before is None:
        await connection.execute("INSERT INTO usage_window (tenant_id, since) VALUES ($1, $2)", tenant, since)
        return True
    gap = await _short_enough(connection, tenant, before, since, step)
    after = before + gap if since > before else before - gap
    if after < before:
        await _set_window(connection, tenant, after)
        await counters.move(connection, _SPAN, tenant, after, before, 1, follow_last=False)
    elif after > before:
        await counters.move(connection, _SPAN, tenant, before, after, -1, follow_last=False)
        await _set_window(connection, tenant, after)
    return after == since


async def _short_enough(
    connection: Connection, tenant: UUID, before: datetime, since: datetime, step: timedelta
) -> timedelta:
    """How far to go: all the way where few rows lie on it, else less, `step` at least."""
    gap, span = abs(since - before), f"SELECT count(*) FROM ({_SPAN} LIMIT $6) AS s WHERE $1::bool"  # noqa: S608
    while gap > step:
        ends = (before, before + gap) if since > before else (before - gap, before)
        count = await connection.fetchval(span, True, tenant, *ends, 1, _MANY)
        if count < _MANY:
            break
        gap = max(gap / 4, step)
    return gap


async def _set_window(connection: Connection, tenant: UUID, since: datetime) -> None:
    await connection.execute("UPDATE usage_window SET since = $2 WHERE tenant_id = $1", tenant, since)


async def stale_products(connection: Connection, tenant: UUID, space: UUID, limit: int) -> list[UUID]:
    """Some products of a space whose counters do not hold."""
    rows = await connection.fetch(
        "SELECT product_id FROM product_state WHERE tenant_id = $1 AND space_id = $2 AND stale LIMIT $3",
        tenant,
        space,
        limit,
    )
    return [row["product_id"] for row in rows]


async def build(connection: Connection, tenant: UUID, products: Sequence[UUID]) -> bool:
    """Build the counters of products from the rows. The caller holds the tenant's window or its claims.

    False where there is no window: the tenant is deleted, and its rows are being removed.
    """
    since = await window(connection, tenant)
    if since is None:
        return False
    # The version before this one doubts without the window's lock.
    await connection.execute(
        """SELECT FROM product_state WHERE tenant_id = $1 AND product_id = ANY($2::uuid[])
           ORDER BY product_id FOR UPDATE""",
        tenant,
        products,
    )
    await forget(connection, tenant, products)
    await connection.execute(_PATTERNS, tenant, products)
    await connection.execute(_COUNTERS, tenant, products, since)
    return True


async def forget(connection: Connection, tenant: UUID, products: Sequence[UUID]) -> None:
    """Remove all counters of products but their states."""
    for table in _TABLES:
        await connection.execute(
            f"DELETE FROM {table} WHERE tenant_id = $1 AND product_id = ANY($2::uuid[])",  # noqa: S608
            tenant,
            products,
        )


async def claim_check(connection: Connection, now: datetime, checked_until: datetime) -> UUID | None:
    """A tenant whose counters nobody has compared since, noted as compared now.

    A comparison in the future is a clock set back.
    """
    tenant: UUID | None = await connection.fetchval(
        """UPDATE usage_window SET checked_at = $1 WHERE tenant_id = (
               SELECT tenant_id FROM usage_window
               WHERE checked_at IS NULL OR checked_at <= $2 OR checked_at > $1
               ORDER BY checked_at NULLS FIRST, tenant_id LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING tenant_id""",
        now,
        checked_until,
    )
    return tenant


async def products_behind(connection: Connection, tenant: UUID, after: UUID | None, limit: int) -> list[UUID]:
    """The next products of a tenant, of all spaces, behind an id."""
    rows = await connection.fetch(
        """SELECT product_id FROM product_state WHERE tenant_id = $1 AND ($2::uuid IS NULL OR product_id > $2)
           ORDER BY product_id LIMIT $3""",
        tenant,
        after,
        limit,
    )
    return [row["product_id"] for row in rows]
