"""Counters of products: what changes move them by. All count rows of a tenant's window and what came after it.

Whoever moves counters has marked the products, which keeps other ingests off them, or keeps everybody off the tenant.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.common.db import Connection
from services.aggregator.rows import Batch
from services.aggregator.store import dirt, locks, records
from services.aggregator.store.counter_sql import LABELS, USER_KEY, key_of

STAGED: Final = "SELECT * FROM stage_change"

_MAP: Final = f"""
WITH found AS MATERIALIZED (
    SELECT s.tenant_id, s.id AS pattern_id, k.product_id, k.connector_id, {LABELS} AS labels
    FROM (SELECT DISTINCT tenant_id, id FROM stage_pattern) AS s
    CROSS JOIN LATERAL (
        SELECT c.product_id, k.connector_id, k.table_key FROM pattern_table_key k
        JOIN product_table_key c ON c.tenant_id = k.tenant_id AND c.match_key = k.match_key AND c.whole
         AND (c.connector_id IS NULL OR c.connector_id = k.connector_id)
        WHERE k.tenant_id = s.tenant_id AND k.pattern_id = s.id OFFSET 0
    ) AS k
    LEFT JOIN LATERAL (
        SELECT t.last_part, u.column_name FROM pattern_table t
        JOIN pattern_column u ON u.tenant_id = t.tenant_id AND u.pattern_id = t.pattern_id AND u.table_key = t.table_key
        WHERE t.tenant_id = s.tenant_id AND t.pattern_id = s.id AND t.table_key = k.table_key OFFSET 0
    ) AS u ON true
    GROUP BY s.tenant_id, s.id, k.product_id, k.connector_id
), fresh AS (
    SELECT f.* FROM found f
    LEFT JOIN LATERAL (
        SELECT labels FROM product_pattern
        WHERE tenant_id = f.tenant_id AND pattern_id = f.pattern_id AND product_id = f.product_id OFFSET 0
    ) AS p ON true
    WHERE p.labels IS DISTINCT FROM f.labels
), mapped AS (
    INSERT INTO product_pattern (tenant_id, pattern_id, product_id, connector_id, labels)
    SELECT tenant_id, pattern_id, product_id, connector_id, labels FROM fresh ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, pattern_id, product_id) DO UPDATE SET labels = excluded.labels
    RETURNING new.tenant_id, new.product_id, old.labels IS NOT NULL AS grown
)
SELECT DISTINCT tenant_id, product_id FROM mapped WHERE grown AND $1"""  # noqa: S608

# Products of a pattern. Laterals with an offset are looked up by index for each row: the planner knows nothing of how
# much is staged, and joins row by row where it expects little.
_TARGET: Final = """CROSS JOIN LATERAL (
        SELECT m.product_id, m.connector_id, m.labels, p.space_id FROM product_pattern m
        JOIN product_state p ON p.tenant_id = m.tenant_id AND p.product_id = m.product_id AND NOT p.stale
        WHERE m.tenant_id = c.tenant_id AND m.pattern_id = c.pattern_id OFFSET 0) AS t"""
_EXECUTING: Final = """CROSS JOIN LATERAL (
        SELECT m.product_id, m.connector_id, m.labels, p.space_id FROM product_pattern m
        JOIN product_state p ON p.tenant_id = m.tenant_id AND p.product_id = m.product_id AND NOT p.stale
        LEFT JOIN connector o ON o.tenant_id = m.tenant_id AND o.id = m.connector_id
        WHERE m.tenant_id = c.tenant_id AND m.pattern_id = c.pattern_id AND coalesce(o.counts_executions, true)
        OFFSET 0) AS t"""
_MOVE: Final = """
WITH change AS MATERIALIZED (
    SELECT c.tenant_id, c.pattern_id, c.sign, c.at, c.executed_by, c.amount, c.chart_key, c.at >= w.since AS inside
    FROM ({source}) AS c JOIN usage_window w ON w.tenant_id = c.tenant_id
), told AS (
    SELECT tenant_id, pattern_id, executed_by, coalesce(sum(sign * amount) FILTER (WHERE inside), 0) AS n,
           coalesce(sum(sign) FILTER (WHERE inside), 0) AS runs,
           max(at) FILTER (WHERE sign > 0) AS came, max(at) FILTER (WHERE sign < 0) AS gone
    FROM change WHERE chart_key IS NULL GROUP BY tenant_id, pattern_id, executed_by
), executed AS MATERIALIZED (
    SELECT c.tenant_id, t.product_id, t.labels, c.n, c.came, c.gone, c.people, c.runs
    FROM (SELECT tenant_id, pattern_id, sum(n) AS n, max(came) AS came, max(gone) AS gone,
                 array_agg(executed_by) FILTER (WHERE executed_by IS NOT NULL AND runs <> 0) AS people,
                 array_agg(runs) FILTER (WHERE executed_by IS NOT NULL AND runs <> 0) AS runs
          FROM told GROUP BY tenant_id, pattern_id) AS c
    {executing}
), users AS (
    INSERT INTO product_user AS known (tenant_id, product_id, user_key, n)
    SELECT e.tenant_id, e.product_id, {user_key} AS user_key, sum(u.n)
    FROM executed e CROSS JOIN LATERAL unnest(e.people, e.runs) AS u (name, n)
    GROUP BY e.tenant_id, e.product_id, u.name HAVING sum(u.n) <> 0 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, product_id, user_key) DO UPDATE SET n = known.n + excluded.n
    RETURNING new.tenant_id, new.product_id, new.user_key, new.n, coalesce(old.n, 0) AS before
), columns AS (
    INSERT INTO product_column AS known (tenant_id, product_id, label_key, label, n)
    SELECT e.tenant_id, e.product_id, {label_key} AS label_key, l.label, sum(e.n)
    FROM executed e CROSS JOIN LATERAL unnest(e.labels) AS l (label)
    WHERE e.n <> 0
    GROUP BY e.tenant_id, e.product_id, l.label HAVING sum(e.n) <> 0 ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, product_id, label_key) DO UPDATE SET n = known.n + excluded.n
    RETURNING new.tenant_id, new.product_id, new.label_key, new.n
), charts AS (
    INSERT INTO product_chart AS known (tenant_id, product_id, connector_id, chart_key, n)
    SELECT c.tenant_id, t.product_id, t.connector_id, c.chart_key, sum(c.n)
    FROM (SELECT tenant_id, pattern_id, chart_key, sum(sign) AS n FROM change
          WHERE inside AND chart_key IS NOT NULL
          GROUP BY tenant_id, pattern_id, chart_key HAVING sum(sign) <> 0) AS c
    {target}
    GROUP BY 1, 2, 3, 4 HAVING sum(c.n) <> 0 ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, product_id, connector_id, chart_key) DO UPDATE SET n = known.n + excluded.n
    RETURNING new.tenant_id, new.product_id, new.connector_id, new.chart_key, new.n, coalesce(old.n, 0) AS before
), seen AS (
    SELECT tenant_id, pattern_id, max(at) AS until FROM change
    WHERE sign > 0 AND chart_key IS NOT NULL GROUP BY tenant_id, pattern_id
), delta AS MATERIALIZED (
    SELECT tenant_id, product_id, sum(n) AS executions, sum(users) AS users, sum(charts) AS charts,
           max(came) FILTER (WHERE $1) AS came, max(gone) FILTER (WHERE $1) AS gone, max(until) AS until
    FROM (
        SELECT tenant_id, product_id, n, 0 AS users, 0 AS charts, came, gone, NULL::timestamptz AS until
        FROM executed
        UNION ALL
        SELECT tenant_id, product_id, 0, (n > 0)::int - (before > 0)::int, 0, NULL, NULL, NULL FROM users
        UNION ALL
        SELECT tenant_id, product_id, 0, 0, (n > 0)::int - (before > 0)::int, NULL, NULL, NULL FROM charts
        UNION ALL
        SELECT c.tenant_id, t.product_id, 0, 0, 0, NULL, NULL, c.until FROM seen c {target}
    ) AS parts
    GROUP BY tenant_id, product_id
), moved AS (
    INSERT INTO product_state AS s (
        tenant_id, product_id, space_id, stale, executions, users, charts, last_at, seen_until)
    SELECT tenant_id, product_id, product_id, false, executions, users, charts, came, until
    FROM delta ORDER BY tenant_id, product_id
    ON CONFLICT (tenant_id, product_id) DO UPDATE SET
        executions = s.executions + excluded.executions, users = s.users + excluded.users,
        charts = s.charts + excluded.charts, last_at = greatest(s.last_at, excluded.last_at),
        seen_until = greatest(s.seen_until, excluded.seen_until)
)
SELECT 'last' AS kind, tenant_id, product_id, gone AS at,
       NULL::bytea AS key, NULL::uuid AS connector_id, NULL::uuid AS chart_key
FROM delta WHERE gone IS NOT NULL AND (came < gone OR came IS NULL)
UNION ALL SELECT 'user', tenant_id, product_id, NULL, user_key, NULL, NULL FROM users WHERE n = 0
UNION ALL SELECT 'column', tenant_id, product_id, NULL, label_key, NULL, NULL FROM columns WHERE n = 0
UNION ALL SELECT 'chart', tenant_id, product_id, NULL, NULL, connector_id, chart_key FROM charts WHERE n = 0"""

_FIND_LAST: Final = """
UPDATE product_state s SET last_at = (
    SELECT max(q.executed_at) FROM product_pattern p
    LEFT JOIN connector n ON n.tenant_id = p.tenant_id AND n.id = p.connector_id
    CROSS JOIN LATERAL (
        SELECT executed_at FROM query_log WHERE tenant_id = p.tenant_id AND pattern_id = p.pattern_id
        ORDER BY executed_at DESC LIMIT 1
    ) AS q
    WHERE p.tenant_id = s.tenant_id AND p.product_id = s.product_id AND coalesce(n.counts_executions, true))
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS l (tenant_id, product_id, gone)
WHERE s.tenant_id = l.tenant_id AND s.product_id = l.product_id AND s.last_at <= l.gone"""

_SPENT: Final = {
    "user": """DELETE FROM product_user k USING unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS d (t, p, u)
               WHERE k.tenant_id = d.t AND k.product_id = d.p AND k.user_key = d.u""",
    "column": """DELETE FROM product_column k USING unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS d (t, p, l)
                 WHERE k.tenant_id = d.t AND k.product_id = d.p AND k.label_key = d.l""",
    "chart": """DELETE FROM product_chart k
                USING unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS d (t, p, c, h)
                WHERE k.tenant_id = d.t AND k.product_id = d.p AND k.connector_id = d.c AND k.chart_key = d.h""",
}


async def apply(
    connection: Connection,
    now: datetime,
    tenants: Iterable[UUID],
    inserted: Batch | None = None,
    *,
    mapping: bool = False,
) -> None:
    """Mark and count what this transaction changed. The last thing that it does but for its commit.

    `inserted`: a batch whose executions were inserted, and are not staged as changes yet. `mapping`: whether patterns
    are staged, whose products may not be known.
    """
    await locks.share_windows(connection, tenants)
    # The parameter: see records.known.
    found = await connection.fetch(_MAP, True) if mapping else []
    grown = [(row["tenant_id"], row["product_id"]) for row in found]
    if inserted is not None:
        await records.note_inserted(connection, inserted)
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
        source=source,
        target=_TARGET,
        executing=_EXECUTING,
        user_key=USER_KEY.format("e.tenant_id", "u.name"),
        label_key=key_of("l.label"),
    )
    rows = await connection.fetch(query, follow_last, *values)
    found: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    for row in rows:
        found[row["kind"]].append(tuple(value for value in row[1:] if value is not None))
    for kind, keys in found.items():
        statement = _FIND_LAST if kind == "last" else _SPENT[kind]
        await connection.execute(statement, *map(list, zip(*keys, strict=True)))
