"""Putting a pseudonym into the rows of a person, some at a time in the order of ids."""

from uuid import UUID

from libs.common.db import Connection
from libs.common.erasure import Erasure


async def rewrite_versions(connection: Connection, erasure: Erasure) -> None:
    """Rewrite who wrote which version of a query; there are few."""
    await connection.execute(
        "UPDATE analytics_query_version SET created_by = $3 WHERE tenant_id = $1 AND created_by = $2",
        erasure.tenant,
        erasure.name,
        erasure.pseudonym,
    )


async def rewrite_page(connection: Connection, erasure: Erasure, after: UUID | None, limit: int) -> UUID | None:
    """Rewrite the next executions of a tenant behind an id; the last id looked at, None behind the end."""
    last: UUID | None = await connection.fetchval(
        """WITH page AS MATERIALIZED (
                SELECT id, executed_by FROM query_execution
                WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
            ), changed AS (
                UPDATE query_execution AS known SET executed_by = $5 FROM page
                WHERE known.tenant_id = $1 AND known.id = page.id AND page.executed_by = $4
                RETURNING known.id
            )
            SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) FROM (SELECT count(*) FROM changed) AS done""",
        erasure.tenant,
        after,
        limit,
        erasure.name,
        erasure.pseudonym,
    )
    return last
