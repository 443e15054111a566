"""Counters of products: what changes move them by. All count rows of a tenant's window and what came after it.

Whoever moves counters has marked the products, which keeps other ingests off them, or keeps everybody off the tenant.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.common.db import Connection
from services.aggregator.store import dirt, locks
from services.aggregator.store.counter_sql import LABELS, USER_KEY, key_of

STAGED: Final = "SELECT * FROM stage_change"

_MAP: Final = f"""
WITH found AS MATERIALIZED (
    SELECT k.tenant_id, k.pattern_id, c.product_id, k.connector_id, {LABELS} AS labels
    FROM (SELECT DISTINCT tenant_id, id FROM stage_pattern) AS s
    JOIN pattern_table_key k ON k.tenant_id = s.tenant_id AND k.pattern_id = s.id
    JOIN product_table_key c ON c.tenant_id = k.tenant_id AND c.match_key = k.match_key AND c.whole
     AND (c.connector_id IS NULL OR c.connector_id = k.connector_id)
    LEFT JOIN (pattern_table t JOIN pattern_column u
               ON u.tenant_id = t.tenant_id AND u.pattern_id = t.pattern_id AND u.table_key = t.table_key)
      ON t.tenant_id = k.tenant_id AND t.pattern_id = k.pattern_id AND t.table_key = k.table_key
    GROUP BY k.tenant_id, k.pattern_id, c.product_id, k.connector_id
), fresh AS (
    SELECT f.* FROM found f
    LEFT JOIN product_pattern p
      ON p.tenant_id = f.tenant_id AND p.pattern_id = f.pattern_id AND p.product_id = f.product_id
    WHERE p.labels IS DISTINCT FROM f.labels
), mapped AS (
    INSERT INTO product_pattern (tenant_id, pattern_id, product_id, connector_id, labels)
    SELECT tenant_id, pattern_id, product_id, connector_id, labels FROM fresh ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, pattern_id, product_id) DO UPDATE SET labels = excluded.labels
    RETURNING new.tenant_id, new.product_id, old.labels IS NOT NULL AS grown
)
SELECT DISTINCT tenant_id, product_id FROM mapped WHERE grown"""  # noqa: S608

_MOVE: Final = """
WITH change AS MATERIALIZED (
    SELECT c.tenant_id, c.pattern_id, c.sign, c.at, c.executed_by, c.amount, c.chart_key, c.at >= w.since AS inside
    FROM ({source}) AS c JOIN usage_window w ON w.tenant_id = c.tenant_id
), target AS MATERIALIZED (
    SELECT p.tenant_id, p.pattern_id, p.product_id, p.connector_id, p.labels,
           coalesce(n.counts_executions, true) AS counted
    FROM (SELECT DISTINCT tenant_id, pattern_id FROM change) AS c
    JOIN product_pattern p ON p.tenant_id = c.tenant_id AND p.pattern_id = c.pattern_id
    JOIN product_state s ON s.tenant_id = p.tenant_id AND s.product_id = p.product_id AND NOT s.stale
    LEFT JOIN connector n ON n.tenant_id = p.tenant_id AND n.id = p.connector_id
), executed AS MATERIALIZED (
    SELECT tenant_id, pattern_id, coalesce(sum(sign * amount) FILTER (WHERE inside), 0) AS n,
           max(at) FILTER (WHERE sign > 0) AS came, max(at) FILTER (WHERE sign < 0) AS gone
    FROM change WHERE chart_key IS NULL GROUP BY tenant_id, pattern_id
), users AS (
    INSERT INTO product_user AS known (tenant_id, product_id, user_key, n)
    SELECT t.tenant_id, t.product_id, {user_key}, sum(c.n)
    FROM (SELECT tenant_id, pattern_id, executed_by, sum(sign) AS n FROM change
          WHERE inside AND chart_key IS NULL AND executed_by IS NOT NULL
          GROUP BY tenant_id, pattern_id, executed_by HAVING sum(sign) <> 0) AS c
    JOIN target t ON t.tenant_id = c.tenant_id AND t.pattern_id = c.pattern_id AND t.counted
    GROUP BY 1, 2, 3 HAVING sum(c.n) <> 0 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, product_id, user_key) DO UPDATE SET n = known.n + excluded.n
    RETURNING new.tenant_id, new.product_id, new.user_key, new.n, coalesce(old.n, 0) AS before
), columns AS (
    INSERT INTO product_column AS known (tenant_id, product_id, label_key, label, n)
    SELECT t.tenant_id, t.product_id, {label_key}, l.label, sum(e.n)
    FROM executed e
    JOIN target t ON t.tenant_id = e.tenant_id AND t.pattern_id = e.pattern_id AND t.counted
    CROSS JOIN LATERAL unnest(t.labels) AS l (label)
    WHERE e.n <> 0
    GROUP BY 1, 2, 3, 4 HAVING sum(e.n) <> 0 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, product_id, label_key) DO UPDATE SET n = known.n + excluded.n
    RETURNING new.tenant_id, new.product_id, new.label_key, new.n
), charts AS (
    INSERT INTO product_chart AS known (tenant_id, product_id, connector_id, chart_key, n)
    SELECT t.tenant_id, t.product_id, t.connector_id, c.chart_key, sum(c.n)
    FROM (SELECT tenant_id, pattern_id, chart_key, sum(sign) AS n FROM change
          WHERE inside AND chart_key IS NOT NULL
          GROUP BY tenant_id, pattern_id, chart_key HAVING sum(sign) <> 0) AS c
    JOIN target t ON t.tenant_id = c.tenant_id AND t.pattern_id = c.pattern_id
    GROUP BY 1, 2, 3, 4 HAVING sum(c.n) <> 0 ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, product_id, connector_id, chart_key) DO UPDATE SET n = known.n + excluded.n
    RETURNING new.tenant_id, new.product_id, new.connector_id, new.chart_key, new.n, coalesce(old.n, 0) AS before
), seen AS (
    SELECT tenant_id, pattern_id, max(at) AS until FROM change
    WHERE sign > 0 AND chart_key IS NOT NULL GROUP BY tenant_id, pattern_id
), delta AS (
    SELECT tenant_id, product_id, sum(n) AS executions, sum(users) AS users, sum(charts) AS charts,
           max(came) AS came, max(gone) AS gone, max(until) AS until
    FROM (
        SELECT t.tenant_id, t.product_id, e.n, 0 AS users, 0 AS charts, e.came, e.gone, NULL::timestamptz AS until
        FROM executed e JOIN target t ON t.tenant_id = e.tenant_id AND t.pattern_id = e.pattern_id AND t.counted
        UNION ALL
        SELECT tenant_id, product_id, 0, (n > 0)::int - (before > 0)::int, 0, NULL, NULL, NULL FROM users
        UNION ALL
        SELECT tenant_id, product_id, 0, 0, (n > 0)::int - (before > 0)::int, NULL, NULL, NULL FROM charts
        UNION ALL
        SELECT t.tenant_id, t.product_id, 0, 0, 0, NULL, NULL, s.until
        FROM seen s JOIN target t ON t.tenant_id = s.tenant_id AND t.pattern_id = s.pattern_id
    ) AS parts
    GROUP BY tenant_id, product_id
), moved AS (
    UPDATE product_state AS s SET
        executions = s.executions + d.executions, users = s.users + d.users, charts = s.charts + d.charts,
        last_at = CASE WHEN $1 THEN greatest(s.last_at, d.came) ELSE s.last_at END,
        seen_until = greatest(s.seen_until, d.until)
    FROM delta d WHERE s.tenant_id = d.tenant_id AND s.product_id = d.product_id
    RETURNING s.tenant_id, s.product_id,
              $1 AND d.gone >= old.last_at AND (d.came < old.last_at OR d.came IS NULL) AS lost
)
SELECT 'last' AS kind, tenant_id, product_id, NULL::bytea AS key, NULL::uuid AS connector_id, NULL::uuid AS chart_key
FROM moved WHERE lost
UNION ALL SELECT 'user', tenant_id, product_id, user_key, NULL, NULL FROM users WHERE n = 0
UNION ALL SELECT 'column', tenant_id, product_id, label_key, NULL, NULL FROM columns WHERE n = 0
UNION ALL SELECT 'chart', tenant_id, product_id, NULL, connector_id, chart_key FROM charts WHERE n = 0"""

_FIND_LAST: Final = """
UPDATE product_state s SET last_at = (
    SELECT max(q.executed_at) FROM product_pattern p
    LEFT JOIN connector n ON n.tenant_id = p.tenant_id AND n.id = p.connector_id
    CROSS JOIN LATERAL (
        SELECT executed_at FROM query_log WHERE tenant_id = p.tenant_id AND pattern_id = p.pattern_id
        ORDER BY executed_at DESC LIMIT 1
    ) AS q
    WHERE p.tenant_id = s.tenant_id AND p.product_id = s.product_id AND coalesce(n.counts_executions, true))
FROM unnest($1::uuid[], $2::uuid[]) AS l (tenant_id, product_id)
WHERE s.tenant_id = l.tenant_id AND s.product_id = l.product_id"""

_SPENT: Final = {
    "user": """DELETE FROM product_user k USING unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS d (t, p, u)
               WHERE k.tenant_id = d.t AND k.product_id = d.p AND k.user_key = d.u""",
    "column": """DELETE FROM product_column k USING unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS d (t, p, l)
                 WHERE k.tenant_id = d.t AND k.product_id = d.p AND k.label_key = d.l""",
    "chart": """DELETE FROM product_chart k
                USING unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS d (t, p, c, h)
                WHERE k.tenant_id = d.t AND k.product_id = d.p AND k.connector_id = d.c AND k.chart_key = d.h""",
}


async def apply(connection: Connection, now: datetime, tenants: Iterable[UUID]) -> None:
    """Mark and count what this transaction changed. The last thing that it does but for its commit."""
    await locks.share_windows(connection, tenants)
    grown = [(row["tenant_id"], row["product_id"]) for row in await connection.fetch(_MAP)]
    await dirt.mark_touched(connection, grown, now)
    if grown:
        await connection.execute(
            """UPDATE product_state s SET stale = true FROM unnest($1::uuid[], $2::uuid[]) AS d (tenant_id, product_id)
               WHERE s.tenant_id = d.tenant_id AND s.product_id = d.product_id""",
            *map(list, zip(*grown, strict=True)),
        )
    await move(connection)


async def apply_connector(
    connection: Connection, tenant: UUID, connector: UUID, now: datetime, *, switched: bool
) -> None:
    """Mark all products that a connector's records touch, and count what this transaction changed.

    `switched`: whether its executions count from now, or no longer; the products are built anew.
    """
    await locks.share_windows(connection, [tenant])
    await dirt.mark_connector(connection, tenant, connector, now)
    if switched:
        await connection.execute(
            """UPDATE product_state SET stale = true WHERE tenant_id = $1 AND product_id IN (
                   SELECT product_id FROM product_pattern WHERE tenant_id = $1 AND connector_id = $2)""",
            tenant,
            connector,
        )
    await move(connection)


async def move(connection: Connection, source: str = STAGED, *values: object, follow_last: bool = True) -> None:
    """Move counters by changes: what `source` selects, with `values` from $2 on.

    `follow_last`: whether rows came or went; false where the window alone moves, which changes no newest execution.
    """
    query = _MOVE.format(
        source=source, user_key=USER_KEY.format("t.tenant_id", "c.executed_by"), label_key=key_of("l.label")
    )
    rows = await connection.fetch(query, follow_last, *values)
    found: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    for row in rows:
        found[row["kind"]].append(tuple(value for value in row[1:] if value is not None))
    for kind, keys in found.items():
        statement = _FIND_LAST if kind == "last" else _SPENT[kind]
        await connection.execute(statement, *map(list, zip(*keys, strict=True)))
