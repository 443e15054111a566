"""API keys: hashes of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from libs.common.settings import Environment
from services.gateway.domain import Position
from services.gateway.store.pages import behind


@dataclass(frozen=True, slots=True)
class ApiKey:
    tenant_id: UUID
    id: UUID
    name: str
    environment: Environment
    roles: Sequence[str]
    secret_hash: bytes = field(repr=False)
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


_API_KEY = "tenant_id, id, name, environment, roles, secret_hash, created_by, created_at, last_used_at, revoked_at"


async def upsert_api_key(connection: Connection, key: ApiKey, repeatable_after: datetime) -> bool:
    """Insert. A repeated creation gives an unused young key its new secret; False where the key is older or used."""
    done = await connection.execute(
        f"INSERT INTO api_key ({_API_KEY}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, NULL)"  # noqa: S608
        " ON CONFLICT (tenant_id, id) DO UPDATE SET secret_hash = excluded.secret_hash"
        " WHERE api_key.last_used_at IS NULL AND api_key.revoked_at IS NULL AND api_key.created_at > $9",
        key.tenant_id,
        key.id,
        key.name,
        key.environment,
        key.roles,
        key.secret_hash,
        key.created_by,
        key.created_at,
        repeatable_after,
    )
    return bool(done == "INSERT 0 1")


async def find_api_key(connection: Connection, key_id: UUID) -> ApiKey | None:
    """By id alone, across tenants: the key is what tells the tenant."""
    row = await connection.fetchrow(f"SELECT {_API_KEY} FROM api_key WHERE id = $1", key_id)  # noqa: S608
    return ApiKey(**row) if row else None


async def list_api_keys(connection: Connection, tenant: UUID, after: Position | None, limit: int) -> list[ApiKey]:
    found = await connection.fetch(
        f"SELECT {_API_KEY} FROM api_key WHERE tenant_id = $4"  # noqa: S608
        " AND ($1::timestamptz IS NULL OR (created_at, id) > ($1, $2::uuid)) ORDER BY created_at, id LIMIT $3",
        *behind(after),
        limit,
        tenant,
    )
    return [ApiKey(**row) for row in found]


async def revoke_api_key(connection: Connection, tenant: UUID, key_id: UUID, at: datetime) -> bool:
    """Whether there is such a key; the first revocation's time stays."""
    done = await connection.execute(
        "UPDATE api_key SET revoked_at = coalesce(revoked_at, $3) WHERE tenant_id = $1 AND id = $2", tenant, key_id, at
    )
    return bool(done == "UPDATE 1")


async def rename_creator(connection: Connection, tenant: UUID, name: str, pseudonym: str) -> None:
    """Somebody is forgotten who made keys."""
    await connection.execute(
        "UPDATE api_key SET created_by = $3 WHERE tenant_id = $1 AND created_by = $2", tenant, name, pseudonym
    )


async def mark_api_key_used(connection: Connection, key: ApiKey, at: datetime) -> None:
    await connection.execute(
        "UPDATE api_key SET last_used_at = greatest(last_used_at, $3) WHERE tenant_id = $1 AND id = $2",
        key.tenant_id,
        key.id,
        at,
    )
