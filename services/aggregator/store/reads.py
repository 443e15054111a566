"""What the usage pages show. All figures are taken at read time from the rows, but for stored statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from libs.common.db import Connection
from services.aggregator.domain import UnmatchedReason, unmatched_reason
from services.aggregator.store.catalogue import PRODUCT_TABLES, Claim, claims_of
from services.aggregator.store.stats import MATCHED


@dataclass(frozen=True, slots=True)
class ProductStats:
    """Stored statistics of one product; the fields are explained in docs/usage.md."""

    product_id: UUID
    space_id: UUID
    product_name: str
    product_slug: str
    query_count_30d: int
    execution_count_30d: int
    reference_count: int
    unique_users_30d: int
    last_queried_at: datetime | None
    popularity_score: float
    top_columns: list[str]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """Executions of one UTC day."""

    date: date
    query_count: int
    unique_users: int


@dataclass(frozen=True, slots=True)
class UnusedProduct:
    id: UUID
    name: str
    slug: str
    tables: tuple[Claim, ...]
    last_queried_at: datetime | None
    popularity_score: float


@dataclass(frozen=True, slots=True)
class PopularQuery:
    """Patterns of one text, all connectors together."""

    text_key: UUID
    sql_text: str
    query_count: int
    user_count: int
    last_queried_at: datetime
    tables: list[str]


@dataclass(frozen=True, slots=True)
class UnmatchedTable:
    table_key: UUID
    connector_id: UUID
    table: str
    reason: UnmatchedReason
    query_count: int
    execution_count: int
    reference_count: int
    user_count: int
    last_seen_at: datetime


_STATS = """s.product_id, s.space_id, p.name AS product_name, p.slug AS product_slug, s.query_count_30d,
            s.execution_count_30d, s.reference_count, s.unique_users_30d, s.last_queried_at, s.popularity_score,
            s.top_columns, s.updated_at"""
_SUM = "least(sum({}), 9007199254740992)::bigint"


async def list_stats(
    connection: Connection, tenant: UUID, space: UUID, after: tuple[float, UUID] | None, limit: int
) -> list[ProductStats]:
    """Stored statistics of a space, highest score first, from behind (score, product)."""
    score, product = after or (None, None)
    rows = await connection.fetch(
        f"""SELECT {_STATS} FROM product_usage_stats s
            JOIN data_product p ON p.tenant_id = s.tenant_id AND p.id = s.product_id
            WHERE s.tenant_id = $1 AND s.space_id = $2
              AND ($3::float8 IS NULL OR (s.popularity_score, s.product_id) < ($3, $4::uuid))
            ORDER BY s.popularity_score DESC, s.product_id DESC LIMIT $5""",  # noqa: S608
        tenant,
        space,
        score,
        product,
        limit,
    )
    return [ProductStats(**dict(row)) for row in rows]


async def stats_of_product(connection: Connection, tenant: UUID, product: UUID) -> ProductStats:
    """Stored statistics of one product; they exist from its creation."""
    row = await connection.fetchrow(
        f"""SELECT {_STATS} FROM product_usage_stats s
            JOIN data_product p ON p.tenant_id = s.tenant_id AND p.id = s.product_id
            WHERE s.tenant_id = $1 AND s.product_id = $2""",  # noqa: S608
        tenant,
        product,
    )
    assert row is not None
    return ProductStats(**dict(row))


async def daily_usage(
    connection: Connection, tenant: UUID, product: UUID, since: datetime, now: datetime
) -> list[DailyUsage]:
    """Executions of a product by UTC day over [since, now]; days without any are left out."""
    rows = await connection.fetch(
        f"""SELECT (q.executed_at AT TIME ZONE 'UTC')::date AS date, {_SUM.format("q.execution_count")} AS query_count,
                   count(DISTINCT q.executed_by) AS unique_users
            FROM ({MATCHED}) AS m
            JOIN query_log q ON q.tenant_id = $1 AND q.pattern_id = m.pattern_id
            WHERE m.counted AND q.executed_at >= $3 AND q.executed_at <= $4
            GROUP BY 1 ORDER BY 1""",  # noqa: S608
        tenant,
        [product],
        since,
        now,
    )
    return [DailyUsage(**dict(row)) for row in rows]


async def unused_products(
    connection: Connection, tenant: UUID, space: UUID, products: Sequence[UUID], since: datetime, now: datetime
) -> list[UnusedProduct]:
    """Products of a space without an execution or a reference in [since, now], by name."""
    rows = await connection.fetch(
        f"""WITH matched AS MATERIALIZED ({MATCHED}),
            newest AS (
                SELECT m.product_id, max(q.executed_at) AS last_at FROM matched m
                CROSS JOIN LATERAL (
                    SELECT executed_at FROM query_log
                    WHERE tenant_id = $1 AND pattern_id = m.pattern_id AND executed_at <= $5
                    ORDER BY executed_at DESC LIMIT 1
                ) AS q
                WHERE m.counted GROUP BY m.product_id
            ), referenced AS (
                SELECT DISTINCT m.product_id FROM matched m
                JOIN bi_reference r ON r.tenant_id = $1 AND r.pattern_id = m.pattern_id AND r.retired_at IS NULL
                WHERE r.seen_at >= $4 AND r.seen_at <= $5
            )
            SELECT p.id, p.name, p.slug, {PRODUCT_TABLES}, n.last_at AS last_queried_at,
                   coalesce(s.popularity_score, 0) AS popularity_score
            FROM data_product p
            LEFT JOIN newest n ON n.product_id = p.id
            LEFT JOIN product_usage_stats s ON s.tenant_id = p.tenant_id AND s.product_id = p.id
            WHERE p.tenant_id = $1 AND p.space_id = $3 AND (n.last_at IS NULL OR n.last_at < $4)
              AND p.id NOT IN (SELECT product_id FROM referenced)
            ORDER BY p.name, p.id""",  # noqa: S608
        tenant,
        products,
        space,
        since,
        now,
    )
    return [
        UnusedProduct(
            row["id"], row["name"], row["slug"], claims_of(row), row["last_queried_at"], row["popularity_score"]
        )
        for row in rows
    ]


async def popular_queries(
    connection: Connection,
    tenant: UUID,
    products: Sequence[UUID],
    since: datetime,
    now: datetime,
    after: tuple[int, UUID] | None,
    limit: int,
) -> list[PopularQuery]:
    """Statements over these products' tables by executions in [since, now], from behind (count, text)."""
    count, text = after or (None, None)
    rows = await connection.fetch(
        f"""WITH matched AS MATERIALIZED (SELECT DISTINCT pattern_id FROM ({MATCHED}) AS m WHERE m.counted),
            counted AS (
                SELECT p.text_key, {_SUM.format("q.execution_count")} AS query_count,
                       count(DISTINCT q.executed_by) AS user_count, max(q.executed_at) AS last_queried_at,
                       array_agg(DISTINCT p.id) AS patterns
                FROM matched m
                JOIN sql_pattern p ON p.tenant_id = $1 AND p.id = m.pattern_id AND p.text_key IS NOT NULL
                JOIN query_log q ON q.tenant_id = $1 AND q.pattern_id = m.pattern_id
                WHERE q.executed_at >= $3 AND q.executed_at <= $4
                GROUP BY p.text_key
            )
            SELECT c.text_key, c.query_count, c.user_count, c.last_queried_at,
                   (SELECT sql_text FROM sql_pattern p WHERE p.tenant_id = $1 AND p.id = c.patterns[1]) AS sql_text,
                   (SELECT array_agg(DISTINCT t.display ORDER BY t.display) FROM pattern_table t
                    WHERE t.tenant_id = $1 AND t.pattern_id = ANY (c.patterns)) AS tables
            FROM counted c
            WHERE $5::bigint IS NULL OR (c.query_count, c.text_key) < ($5, $6::uuid)
            ORDER BY c.query_count DESC, c.text_key DESC LIMIT $7""",  # noqa: S608
        tenant,
        products,
        since,
        now,
        count,
        text,
        limit,
    )
    return [PopularQuery(**dict(row)) for row in rows]


async def unmatched_tables(
    connection: Connection,
    tenant: UUID,
    since: datetime,
    now: datetime,
    after: tuple[int, UUID, UUID] | None,
    limit: int,
) -> list[UnmatchedTable]:
    """Tables used in [since, now] that no product of the tenant claims, most used first."""
    count, connector, table = after or (None, None, None)
    rows = await connection.fetch(
        f"""WITH unclaimed AS MATERIALIZED (
                SELECT t.connector_id, t.table_key, t.pattern_id, t.display FROM pattern_table t
                WHERE t.tenant_id = $1 AND NOT EXISTS (
                    SELECT FROM pattern_table_key k
                    JOIN product_table_key c ON c.tenant_id = k.tenant_id AND c.match_key = k.match_key AND c.whole
                     AND (c.connector_id IS NULL OR c.connector_id = k.connector_id)
                    WHERE k.tenant_id = $1 AND k.pattern_id = t.pattern_id AND k.table_key = t.table_key)
            ), executed AS (
                SELECT u.connector_id, u.table_key, sum(q.execution_count) AS n,
                       count(DISTINCT q.executed_by) AS users, max(q.executed_at) AS last_at
                FROM unclaimed u
                JOIN query_log q ON q.tenant_id = $1 AND q.pattern_id = u.pattern_id
                LEFT JOIN connector o ON o.tenant_id = $1 AND o.id = u.connector_id
                WHERE q.executed_at >= $2 AND q.executed_at <= $3 AND coalesce(o.counts_executions, true)
                GROUP BY u.connector_id, u.table_key
            ), referenced AS (
                SELECT u.connector_id, u.table_key, count(DISTINCT r.chart_key) AS n, max(r.seen_at) AS last_at
                FROM unclaimed u
                JOIN bi_reference r ON r.tenant_id = $1 AND r.pattern_id = u.pattern_id AND r.retired_at IS NULL
                WHERE r.seen_at >= $2 AND r.seen_at <= $3
                GROUP BY u.connector_id, u.table_key
            ), used AS (
                SELECT connector_id, table_key, {_SUM.format("executions")} AS execution_count,
                       sum(charts)::bigint AS reference_count, {_SUM.format("executions + charts")} AS query_count,
                       sum(users)::bigint AS user_count, max(last_at) AS last_seen_at
                FROM (SELECT connector_id, table_key, n AS executions, 0 AS charts, users, last_at FROM executed
                      UNION ALL SELECT connector_id, table_key, 0, n, 0, last_at FROM referenced) AS both_kinds
                GROUP BY connector_id, table_key
            )
            SELECT u.*,
                   (SELECT min(display) FROM unclaimed d
                    WHERE d.connector_id = u.connector_id AND d.table_key = u.table_key) AS "table",
                   (SELECT count(DISTINCT c.claim_key) FROM product_table_key c
                    WHERE c.tenant_id = $1 AND c.match_key = u.table_key AND NOT c.whole
                      AND (c.connector_id IS NULL OR c.connector_id = u.connector_id)) AS longer_claims
            FROM used u
            WHERE $4::bigint IS NULL OR (u.query_count, u.connector_id, u.table_key) < ($4, $5::uuid, $6::uuid)
            ORDER BY u.query_count DESC, u.connector_id DESC, u.table_key DESC LIMIT $7""",  # noqa: S608
        tenant,
        since,
        now,
        count,
        connector,
        table,
        limit,
    )
    return [_unmatched(dict(row)) for row in rows]


def _unmatched(values: dict[str, object]) -> UnmatchedTable:
    longer = values.pop("longer_claims")
    assert isinstance(longer, int)
    return UnmatchedTable(**values, reason=unmatched_reason(longer))  # type: ignore[arg-type]
