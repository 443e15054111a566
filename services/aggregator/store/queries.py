"""BiQuery records as they are read back."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class BiQuery:
    """A record; `moment` orders them: the execution's time, for a reference the time of its first arrival."""

    id: UUID
    connector_id: UUID
    resource_type: str
    resource_id: str
    title: str | None
    sql_text: str | None
    referenced_tables: list[str]
    referenced_columns: list[str]
    executed_by: str | None
    executed_at: datetime | None
    execution_count: int
    dashboard_id: str | None
    dashboard_title: str | None
    dashboard_url: str | None
    created_at: datetime
    moment: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records; a bound on time is compared with `moment`."""

    resource_type: str | None = None
    user: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_SHARED = """id, connector_id, resource_type, resource_id, title, pattern_id, executed_by, dashboard_id,
             dashboard_title, dashboard_url, created_at"""
_WHERE = """tenant_id = $1 AND connector_id = $2
            AND ($3::text IS NULL OR resource_type = $3) AND ($4::text IS NULL OR executed_by = $4)
            AND ($5::timestamptz IS NULL OR {moment} >= $5) AND ($6::timestamptz IS NULL OR {moment} <= $6)
            AND ($7::timestamptz IS NULL OR ({moment}, id) < ($7, $8::uuid))"""


async def list_queries(
    connection: Connection,
    tenant: UUID,
    connector: UUID,
    only: Filter,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[BiQuery]:
    """A connector's records, newest first, from behind (moment, id). Retired references are gone."""
    executed, arrived = (_WHERE.format(moment=moment) for moment in ("executed_at", "created_at"))
    rows = await connection.fetch(
        f"""WITH page AS (
                SELECT * FROM (
                    (SELECT {_SHARED}, executed_at, execution_count, executed_at AS moment FROM query_log
                     WHERE {executed} ORDER BY executed_at DESC, id DESC LIMIT $9)
                    UNION ALL
                    (SELECT {_SHARED}, NULL, 1, created_at FROM bi_reference
                     WHERE {arrived} AND retired_at IS NULL ORDER BY created_at DESC, id DESC LIMIT $9)
                ) AS both_kinds ORDER BY moment DESC, id DESC LIMIT $9
            )
            SELECT g.id, g.connector_id, g.resource_type, g.resource_id, g.title, g.executed_by, g.dashboard_id,
                   g.dashboard_title, g.dashboard_url, g.created_at, g.executed_at, g.execution_count, g.moment,
                   p.sql_text,
                   coalesce((SELECT array_agg(t.display ORDER BY t.display) FROM pattern_table t
                             WHERE t.tenant_id = $1 AND t.pattern_id = g.pattern_id), '{{}}') AS referenced_tables,
                   coalesce((SELECT array_agg(t.last_part || '.' || u.column_name ORDER BY t.display, u.column_name)
                             FROM pattern_column u
                             JOIN pattern_table t ON t.tenant_id = u.tenant_id AND t.pattern_id = u.pattern_id
                              AND t.table_key = u.table_key
                             WHERE u.tenant_id = $1 AND u.pattern_id = g.pattern_id), '{{}}') AS referenced_columns
            FROM page g
            JOIN sql_pattern p ON p.tenant_id = $1 AND p.id = g.pattern_id
            ORDER BY g.moment DESC, g.id DESC""",  # noqa: S608
        tenant,
        connector,
        only.resource_type,
        only.user,
        only.since,
        only.until,
        *(after or (None, None)),
        limit,
    )
    return [BiQuery(**dict(row)) for row in rows]
