"""Statistics of products, from their counters or from the rows. Every figure is defined in docs/usage.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from libs.common.db import Connection

# Patterns of a product: each once, however many of the product's tables it names. `counted`: its executions count.
# A count saturates at 2^53, the largest integer that every JSON reader takes exactly.
MATCHED = """
    SELECT DISTINCT c.product_id, k.pattern_id, coalesce(n.counts_executions, true) AS counted
    FROM product_table_key c
    JOIN pattern_table_key k ON k.tenant_id = c.tenant_id AND k.match_key = c.match_key
     AND (c.connector_id IS NULL OR c.connector_id = k.connector_id)
    LEFT JOIN connector n ON n.tenant_id = k.tenant_id AND n.id = k.connector_id
    WHERE c.tenant_id = $1 AND c.product_id = ANY($2::uuid[]) AND c.whole
"""
_SATURATED = "least(coalesce(sum({}), 0), 9007199254740992)::bigint"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the rows say of one product at one moment; the window is the 30 days before it."""

    product_id: UUID
    space_id: UUID
    execution_count_30d: int
    reference_count: int
    unique_users_30d: int
    last_queried_at: datetime | None
    top_columns: tuple[str, ...]


async def figures(
    connection: Connection, tenant: UUID, products: Sequence[UUID], since: datetime, now: datetime, columns: int
) -> list[Figures]:
    """Figures of these products over the closed window [since, now], by id."""
    rows = await connection.fetch(
        f"""WITH matched AS MATERIALIZED ({MATCHED}),
            executed AS (
                SELECT m.product_id, {_SATURATED.format("q.execution_count")} AS executions,
                       count(DISTINCT q.executed_by) AS users
                FROM matched m
                JOIN query_log q ON q.tenant_id = $1 AND q.pattern_id = m.pattern_id
                WHERE m.counted AND q.executed_at >= $3 AND q.executed_at <= $4
                GROUP BY m.product_id
            ), newest AS (
                SELECT m.product_id, max(q.executed_at) AS last_at
                FROM matched m
                CROSS JOIN LATERAL (
                    SELECT executed_at FROM query_log
                    WHERE tenant_id = $1 AND pattern_id = m.pattern_id AND executed_at <= $4
                    ORDER BY executed_at DESC LIMIT 1
                ) AS q
                WHERE m.counted
                GROUP BY m.product_id
            ), referenced AS (
                SELECT m.product_id, count(DISTINCT (r.connector_id, r.chart_key)) AS charts
                FROM matched m
                JOIN bi_reference r ON r.tenant_id = $1 AND r.pattern_id = m.pattern_id AND r.retired_at IS NULL
                WHERE r.seen_at >= $3 AND r.seen_at <= $4
                GROUP BY m.product_id
            )
            SELECT p.id AS product_id, p.space_id, coalesce(e.executions, 0) AS execution_count_30d,
                   coalesce(r.charts, 0) AS reference_count, coalesce(e.users, 0) AS unique_users_30d,
                   n.last_at AS last_queried_at
            FROM data_product p
            LEFT JOIN executed e ON e.product_id = p.id
            LEFT JOIN newest n ON n.product_id = p.id
            LEFT JOIN referenced r ON r.product_id = p.id
            WHERE p.tenant_id = $1 AND p.id = ANY($2::uuid[])
            ORDER BY p.id""",  # noqa: S608
        tenant,
        products,
        since,
        now,
    )
    top = await _top_columns(connection, tenant, products, since, now, columns)
    return [Figures(**dict(row), top_columns=top.get(row["product_id"], ())) for row in rows]


async def _top_columns(
    connection: Connection, tenant: UUID, products: Sequence[UUID], since: datetime, now: datetime, limit: int
) -> dict[UUID, tuple[str, ...]]:
    """The products' own columns by executions, then by name. A statement counts once for a label."""
    rows = await connection.fetch(
        """WITH used AS (
               SELECT c.product_id, k.pattern_id, array_agg(DISTINCT u.label) AS labels
               FROM product_table_key c
               JOIN pattern_table_key k ON k.tenant_id = c.tenant_id AND k.match_key = c.match_key
                AND (c.connector_id IS NULL OR c.connector_id = k.connector_id)
               CROSS JOIN LATERAL (
                   SELECT (t.last_part || '.' || u.column_name) COLLATE "C" AS label
                   FROM pattern_table t
                   JOIN pattern_column u ON u.tenant_id = t.tenant_id AND u.pattern_id = t.pattern_id
                    AND u.table_key = t.table_key
                   WHERE t.tenant_id = $1 AND t.pattern_id = k.pattern_id AND t.table_key = k.table_key OFFSET 0
               ) AS u
               LEFT JOIN connector n ON n.tenant_id = k.tenant_id AND n.id = k.connector_id
               WHERE c.tenant_id = $1 AND c.product_id = ANY($2::uuid[]) AND c.whole
                 AND coalesce(n.counts_executions, true)
               GROUP BY c.product_id, k.pattern_id
           ), ranked AS (
               SELECT u.product_id, l.label, row_number() OVER (
                          PARTITION BY u.product_id ORDER BY sum(e.n) DESC, l.label) AS place
               FROM used u
               CROSS JOIN LATERAL (
                   SELECT sum(execution_count) AS n FROM query_log
                   WHERE tenant_id = $1 AND pattern_id = u.pattern_id AND executed_at >= $3 AND executed_at <= $4
                   OFFSET 0
               ) AS e
               CROSS JOIN LATERAL unnest(u.labels) AS l (label)
               WHERE e.n IS NOT NULL
               GROUP BY u.product_id, l.label
           )
           SELECT product_id, array_agg(label ORDER BY place) AS labels FROM ranked WHERE place <= $5
           GROUP BY product_id""",
        tenant,
        products,
        since,
        now,
        limit,
    )
    return {row["product_id"]: tuple(row["labels"]) for row in rows}


def _figures(row: Record) -> Figures:
    values: dict[str, Any] = dict(row)
    del values["doubtful"]
    return Figures(**values | {"top_columns": tuple(row["top_columns"])})


async def counted(
    connection: Connection, tenant: UUID, products: Sequence[UUID], now: datetime, columns: int
) -> tuple[list[Figures], list[UUID]]:
    """Figures of these products by their counters; and those of which counters cannot tell the figures.

    `now` is the end of the tenant's window. Rows behind it (a clock was set back) count in the counters already.
    """
    rows = await connection.fetch(
        """SELECT s.product_id, s.space_id, least(s.executions, 9007199254740992)::bigint AS execution_count_30d,
                  s.charts AS reference_count, s.users AS unique_users_30d, s.last_at AS last_queried_at,
                  coalesce(c.labels, '{}') AS top_columns,
                  s.stale OR coalesce(greatest(s.last_at, s.seen_until) > $3, false) AS doubtful
           FROM product_state s
           LEFT JOIN LATERAL (
               SELECT array_agg(label ORDER BY n DESC, label) AS labels
               FROM (SELECT label, n FROM product_column
                     WHERE tenant_id = $1 AND product_id = s.product_id ORDER BY n DESC, label LIMIT $4) AS best
           ) AS c ON true
           WHERE s.tenant_id = $1 AND s.product_id = ANY($2::uuid[])
           ORDER BY s.product_id""",
        tenant,
        products,
        now,
        columns,
    )
    told = [_figures(row) for row in rows if not row["doubtful"]]
    return told, [row["product_id"] for row in rows if row["doubtful"]]


def _array(texts: Sequence[str]) -> str:
    """A text[] as Postgres writes it: arrays of arrays of different lengths cannot be sent."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


async def upsert_stats(
    connection: Connection, tenant: UUID, stats: Sequence[tuple[Figures, float]], now: datetime
) -> None:
    """Write figures with their popularity scores."""
    if not stats:
        return
    rows = [
        (
            each.product_id,
            each.space_id,
            each.execution_count_30d,
            each.reference_count,
            each.unique_users_30d,
            each.last_queried_at,
            _array(each.top_columns),
            score,
        )
        for each, score in stats
    ]
    await connection.execute(
        """INSERT INTO product_usage_stats (tenant_id, product_id, space_id, query_count_30d, execution_count_30d,
               reference_count, unique_users_30d, last_queried_at, top_columns, popularity_score, updated_at)
           SELECT $1, p, s, least(e + r, 9007199254740992), e, r, u, l, c::text[], f, $2
           FROM unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::timestamptz[], $9::text[],
                       $10::float8[]) AS x (p, s, e, r, u, l, c, f)
           ON CONFLICT (tenant_id, product_id) DO UPDATE SET
               query_count_30d = excluded.query_count_30d, execution_count_30d = excluded.execution_count_30d,
               reference_count = excluded.reference_count, unique_users_30d = excluded.unique_users_30d,
               last_queried_at = excluded.last_queried_at, top_columns = excluded.top_columns,
               popularity_score = excluded.popularity_score, updated_at = excluded.updated_at""",
        tenant,
        now,
        *map(list, zip(*rows, strict=True)),
    )
