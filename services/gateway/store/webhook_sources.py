"""Webhook sources, their secrets sealed."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection, Pool
from libs.common.settings import Environment
from services.gateway.domain import Position
from services.gateway.ingress.signatures import Kind
from services.gateway.store.pages import behind


@dataclass(frozen=True, slots=True)
class WebhookSource:
    """`mapping` is JSON. `old_secret_until` is null where the old secret is valid until it is revoked."""

    tenant_id: UUID
    id: UUID
    name: str
    kind: Kind
    environment: Environment
    enabled: bool
    signed_only: bool
    mapping: str
    sealed_secret: str = field(repr=False)
    sealed_old_secret: str | None = field(repr=False)
    old_secret_until: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


_COLUMNS = (
    "tenant_id, id, name, kind, environment, enabled, signed_only, mapping, sealed_secret, sealed_old_secret,"
    " old_secret_until, version, created_at, updated_at"
)


async def insert_webhook_source(connection: Connection, source: WebhookSource, repeatable_after: datetime) -> bool:
    """Insert. A repeated creation gives a young source that nobody changed its new secret; False for any other.

    Raises UniqueViolationError (webhook_source_name_taken), ForeignKeyViolationError.
    """
    done = await connection.execute(
        f"INSERT INTO webhook_source ({_COLUMNS})"  # noqa: S608
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9, NULL, NULL, $10, $11, $12)"
        " ON CONFLICT (tenant_id, id) DO UPDATE SET sealed_secret = excluded.sealed_secret"
        " WHERE webhook_source.version = 1 AND webhook_source.created_at > $13",
        source.tenant_id,
        source.id,
        source.name,
        source.kind,
        source.environment,
        source.enabled,
        source.signed_only,
        source.mapping,
        source.sealed_secret,
        source.version,
        source.created_at,
        source.updated_at,
        repeatable_after,
    )
    return bool(done == "INSERT 0 1")


async def webhook_source_of_address(worker: Pool, source: UUID) -> WebhookSource | None:
    """By id alone, across tenants: the address is what tells the tenant."""
    row = await worker.fetchrow(f"SELECT {_COLUMNS} FROM webhook_source WHERE id = $1", source)  # noqa: S608
    return WebhookSource(**row) if row else None


async def find_webhook_source(connection: Connection, tenant: UUID, source: UUID) -> WebhookSource | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM webhook_source WHERE tenant_id = $1 AND id = $2",  # noqa: S608
        tenant,
        source,
    )
    return WebhookSource(**row) if row else None


async def lock_webhook_source(connection: Connection, tenant: UUID, source: UUID) -> WebhookSource | None:
    """As find_webhook_source; writers of this source wait for each other."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM webhook_source WHERE tenant_id = $1 AND id = $2 FOR UPDATE",  # noqa: S608
        tenant,
        source,
    )
    return WebhookSource(**row) if row else None


async def list_webhook_sources(
    connection: Connection, tenant: UUID, after: Position | None, limit: int
) -> list[WebhookSource]:
    found = await connection.fetch(
        f"SELECT {_COLUMNS} FROM webhook_source WHERE tenant_id = $4"  # noqa: S608
        " AND ($1::timestamptz IS NULL OR (created_at, id) > ($1, $2::uuid)) ORDER BY created_at, id LIMIT $3",
        *behind(after),
        limit,
        tenant,
    )
    return [WebhookSource(**row) for row in found]


async def update_webhook_source(connection: Connection, source: WebhookSource) -> None:
    """Write what may change; raises UniqueViolationError (webhook_source_name_taken)."""
    await connection.execute(
        "UPDATE webhook_source SET name = $3, environment = $4, enabled = $5, signed_only = $6, mapping = $7::jsonb,"
        " sealed_secret = $8, sealed_old_secret = $9, old_secret_until = $10, version = $11, updated_at = $12"
        " WHERE tenant_id = $1 AND id = $2",
        source.tenant_id,
        source.id,
        source.name,
        source.environment,
        source.enabled,
        source.signed_only,
        source.mapping,
        source.sealed_secret,
        source.sealed_old_secret,
        source.old_secret_until,
        source.version,
        source.updated_at,
    )


async def delete_webhook_source(connection: Connection, tenant: UUID, source: UUID) -> bool:
    """Whether there was one."""
    done = await connection.execute("DELETE FROM webhook_source WHERE tenant_id = $1 AND id = $2", tenant, source)
    return bool(done == "DELETE 1")
