"""Tenants."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.gateway.domain import Position
from services.gateway.store.pages import behind


@dataclass(frozen=True, slots=True)
class Tenant:
    id: UUID
    name: str
    slug: str
    version: int
    created_at: datetime


_TENANT = "id, name, slug, version, created_at"
# All that is a tenant's but the marker that stays.
TENANT_TABLES = ("api_key", "connector", "webhook_source", "idempotency_key", "erased_name")


async def insert_tenant(connection: Connection, tenant: Tenant) -> bool:
    """Whether it is new; raises UniqueViolationError (tenant_slug_taken)."""
    done = await connection.execute(
        f"INSERT INTO tenant ({_TENANT}) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",  # noqa: S608
        tenant.id,
        tenant.name,
        tenant.slug,
        tenant.version,
        tenant.created_at,
    )
    return bool(done == "INSERT 0 1")


async def find_tenant(connection: Connection, tenant: UUID) -> Tenant | None:
    row = await connection.fetchrow(f"SELECT {_TENANT} FROM tenant WHERE id = $1 AND deleted_at IS NULL", tenant)  # noqa: S608
    return Tenant(**row) if row else None


async def lock_tenant(connection: Connection, tenant: UUID) -> Tenant | None:
    """As find_tenant; waits for whoever is making something of the tenant, and lets nobody begin."""
    row = await connection.fetchrow(
        f"SELECT {_TENANT} FROM tenant WHERE id = $1 AND deleted_at IS NULL FOR UPDATE",  # noqa: S608
        tenant,
    )
    return Tenant(**row) if row else None


async def is_living(connection: Connection, tenant: UUID) -> bool:
    """Whether the tenant exists; a deletion waits for the transaction."""
    living = await connection.fetchval("SELECT true FROM tenant WHERE id = $1 AND deleted_at IS NULL FOR SHARE", tenant)
    return bool(living)


async def is_deleted(connection: Connection, tenant: UUID) -> bool:
    """False for one that never was."""
    return bool(await connection.fetchval("SELECT deleted_at IS NOT NULL FROM tenant WHERE id = $1", tenant))


async def mark_deleted(connection: Connection, tenant: UUID, version: int, at: datetime) -> None:
    """Leave a marker without name and slug."""
    await connection.execute(
        "UPDATE tenant SET name = NULL, slug = NULL, version = $2, deleted_at = $3 WHERE id = $1", tenant, version, at
    )


async def delete_rows(connection: Connection, tenant: UUID) -> None:
    """All that hangs on a tenant."""
    for table in TENANT_TABLES:
        await connection.execute(f"DELETE FROM {table} WHERE tenant_id = $1", tenant)  # noqa: S608


async def list_tenants(connection: Connection, after: Position | None, limit: int) -> list[Tenant]:
    """In the order of creation, behind a position."""
    found = await connection.fetch(
        f"SELECT {_TENANT} FROM tenant"  # noqa: S608
        " WHERE deleted_at IS NULL AND ($1::timestamptz IS NULL OR (created_at, id) > ($1, $2::uuid))"
        " ORDER BY created_at, id LIMIT $3",
        *behind(after),
        limit,
    )
    return [Tenant(**row) for row in found]
