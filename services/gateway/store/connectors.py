"""Connectors, their settings sealed."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection, Pool
from libs.common.settings import Environment
from services.gateway.domain import Position
from services.gateway.store.pages import behind


@dataclass(frozen=True, slots=True)
class Connector:
    tenant_id: UUID
    id: UUID
    name: str
    type: str
    environment: Environment
    counts_executions: bool
    sealed_settings: str | None = field(repr=False)
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    cron: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectorFacts:
    """What the pass-through needs to know."""

    type: str
    version: int


_CONNECTOR = (
    "tenant_id, id, name, type, environment, counts_executions, sealed_settings, version, created_at, updated_at,"
    " deleted_at, cron, timezone"
)


async def insert_connector(connection: Connection, connector: Connector) -> bool:
    """Whether it is new; raises UniqueViolationError (connector_name_taken), ForeignKeyViolationError."""
    done = await connection.execute(
        f"INSERT INTO connector ({_CONNECTOR}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11, $12)"  # noqa: S608
        " ON CONFLICT (tenant_id, id) DO NOTHING",
        connector.tenant_id,
        connector.id,
        connector.name,
        connector.type,
        connector.environment,
        connector.counts_executions,
        connector.sealed_settings,
        connector.version,
        connector.created_at,
        connector.updated_at,
        connector.cron,
        connector.timezone,
    )
    return bool(done == "INSERT 0 1")


async def find_connector(connection: Connection, tenant: UUID, connector: UUID) -> Connector | None:
    """One that is not deleted."""
    row = await connection.fetchrow(
        f"SELECT {_CONNECTOR} FROM connector"  # noqa: S608
        " WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL",
        tenant,
        connector,
    )
    return Connector(**row) if row else None


async def lock_connector(connection: Connection, tenant: UUID, connector: UUID) -> Connector | None:
    """As find_connector; writers of this connector wait for each other."""
    row = await connection.fetchrow(
        f"SELECT {_CONNECTOR} FROM connector"  # noqa: S608
        " WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE",
        tenant,
        connector,
    )
    return Connector(**row) if row else None


async def lock_connectors(connection: Connection, tenant: UUID) -> list[Connector]:
    """All that are not deleted."""
    found = await connection.fetch(
        f"SELECT {_CONNECTOR} FROM connector WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY id FOR UPDATE",  # noqa: S608
        tenant,
    )
    return [Connector(**row) for row in found]


async def connector_facts(api: Pool, tenant: UUID, connector: UUID) -> ConnectorFacts | None:
    """Of one that is not deleted. One round trip: the function binds its own statement to the tenant."""
    row = await api.fetchrow("SELECT type, version FROM connector_facts($1, $2)", tenant, connector)
    return ConnectorFacts(row["type"], row["version"]) if row else None


async def list_connectors(connection: Connection, tenant: UUID, after: Position | None, limit: int) -> list[Connector]:
    found = await connection.fetch(
        f"SELECT {_CONNECTOR} FROM connector WHERE tenant_id = $4 AND deleted_at IS NULL"  # noqa: S608
        " AND ($1::timestamptz IS NULL OR (created_at, id) > ($1, $2::uuid)) ORDER BY created_at, id LIMIT $3",
        *behind(after),
        limit,
        tenant,
    )
    return [Connector(**row) for row in found]


async def update_connector(connection: Connection, connector: Connector) -> None:
    """Write what may change; raises UniqueViolationError (connector_name_taken)."""
    await connection.execute(
        "UPDATE connector SET name = $3, counts_executions = $4, sealed_settings = $5, version = $6, updated_at = $7,"
        " deleted_at = $8, cron = $9, timezone = $10 WHERE tenant_id = $1 AND id = $2",
        connector.tenant_id,
        connector.id,
        connector.name,
        connector.counts_executions,
        connector.sealed_settings,
        connector.version,
        connector.updated_at,
        connector.deleted_at,
        connector.cron,
        connector.timezone,
    )
