"""The copy of what this service needs of connectors."""

from libs.common.db import Connection
from libs.common.events import ConnectorChanged


async def upsert_connector(connection: Connection, event: ConnectorChanged) -> bool | None:
    """Take a newer version; whether executions count now and did not before, or the reverse. None: not newer."""
    switched: bool | None = await connection.fetchval(
        """INSERT INTO connector AS known
                   (tenant_id, id, version, name, type, environment, counts_executions, deleted)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
               ON CONFLICT (tenant_id, id) DO UPDATE SET version = excluded.version,
                   name = coalesce(excluded.name, known.name), type = coalesce(excluded.type, known.type),
                   environment = excluded.environment, deleted = excluded.deleted,
                   counts_executions = CASE WHEN excluded.deleted THEN known.counts_executions
                                            ELSE excluded.counts_executions END
               WHERE known.version < excluded.version
               RETURNING coalesce(old.counts_executions, true) <> new.counts_executions""",
        event.tenant,
        event.id,
        event.version,
        event.name,
        event.type,
        event.environment,
        event.counts_executions,
        event.deleted,
    )
    return switched
