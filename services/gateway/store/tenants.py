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
    row = await connection.fetchrow(f"SELECT {_TENANT} FROM tenant WHERE id = $1", tenant)  # noqa: S608
    return Tenant(**row) if row else None


async def list_tenants(connection: Connection, after: Position | None, limit: int) -> list[Tenant]:
    """In the order of creation, behind a position."""
    found = await connection.fetch(
        f"SELECT {_TENANT} FROM tenant"  # noqa: S608
        " WHERE $1::timestamptz IS NULL OR (created_at, id) > ($1, $2::uuid) ORDER BY created_at, id LIMIT $3",
        *behind(after),
        limit,
    )
    return [Tenant(**row) for row in found]
