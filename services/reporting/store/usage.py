"""Audit events, counted."""

from typing import Final
from uuid import UUID

from libs.common.db import Connection
from services.reporting.usage import TOP, Activity, ComponentUse, Usage
from services.reporting.windows import Window

# One pass over the window: all events, by action, by component, and by actor and the names it had. `grouping` tells
# which of these a row is.
_COUNTED: Final = """
counted AS MATERIALIZED (
    SELECT grouping(action, component_id, actor_id, actor_username) AS what, action, component_id, actor_id,
           actor_username, count(*) AS count, max(occurred_at) AS last_at
    FROM audit_event
    WHERE tenant_id = $1 AND occurred_at >= $2 AND occurred_at <= $3
    GROUP BY GROUPING SETS ((), (action), (component_id), (actor_id, actor_username))
), components AS (
    SELECT 'component' AS kind, c.component_id::text AS id, coalesce(n.name, c.component_id::text) AS name, c.count
    FROM counted c LEFT JOIN component n ON n.tenant_id = $1 AND n.id = c.component_id
    WHERE c.what = 11 AND c.component_id IS NOT NULL
    ORDER BY c.count DESC, 3, c.component_id LIMIT $4
), actors AS (
    SELECT actor_id, sum(count)::bigint AS count,
           (array_agg(actor_username ORDER BY last_at DESC, actor_username)
               FILTER (WHERE actor_username IS NOT NULL))[1] AS username
    FROM counted WHERE what = 12 AND actor_id IS NOT NULL GROUP BY actor_id
), users AS (
    SELECT 'user' AS kind, actor_id AS id, coalesce(username, actor_id) AS name, count
    FROM actors ORDER BY count DESC, 3, actor_id LIMIT $4
)"""


async def usage(connection: Connection, tenant: UUID, window: Window) -> Usage:
    """Of the events of a window."""
    rows = await connection.fetch(
        f"""WITH {_COUNTED}
            SELECT 'total' AS kind, NULL AS id, NULL AS name, count FROM counted WHERE what = 15
            UNION ALL SELECT 'action', NULL, action, count FROM counted WHERE what = 7
            UNION ALL SELECT * FROM components UNION ALL SELECT * FROM users""",  # noqa: S608
        tenant,
        window.since,
        window.last,
        TOP,
    )
    of = {kind: [row for row in rows if row["kind"] == kind] for kind in ("total", "action", "component", "user")}
    components = [ComponentUse(UUID(row["id"]), row["name"], row["count"]) for row in of["component"]]
    return Usage(
        window,
        of["total"][0]["count"],
        sorted(components, key=lambda each: (-each.count, each.name, each.id)),
        sorted((Activity(row["id"], row["name"], row["count"]) for row in of["user"]), key=_rank),
        {row["name"]: row["count"] for row in of["action"]},
    )


def _rank(user: Activity) -> tuple[int, str, str]:
    return -user.count, user.username, user.id
