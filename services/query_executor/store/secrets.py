"""Secrets: their values are sealed before they come here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.common.db import Connection
from libs.common.errors import Conflict


@dataclass(frozen=True, slots=True)
class Secret:
    id: UUID
    key: str
    type_slug: str
    description: str | None
    settings: dict[str, Any]
    sealed_value: str = field(repr=False)
    version: int
    created_at: datetime
    updated_at: datetime


SECRET = "id, key, type_slug, description, settings, sealed_value, version, created_at, updated_at"  # noqa: S105


def secret_of(row: Mapping[str, Any]) -> Secret:
    """From the columns of SECRET."""
    values = {name: row[name] for name in SECRET.split(", ")}
    return Secret(**values | {"settings": orjson.loads(values["settings"])})


async def insert_secret(connection: Connection, tenant: UUID, app: UUID, secret: Secret) -> None:
    """Keep the first of two with one id. 409 where the app has the key already."""
    try:
        await connection.execute(
            f"""INSERT INTO secret (tenant_id, app_id, {SECRET})
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                ON CONFLICT (tenant_id, id) DO NOTHING""",  # noqa: S608
            tenant,
            app,
            secret.id,
            secret.key,
            secret.type_slug,
            secret.description,
            orjson.dumps(secret.settings).decode(),
            secret.sealed_value,
            secret.version,
            secret.created_at,
            secret.updated_at,
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"key: a secret `{secret.key}` exists already in this app.") from None


async def find_secret(
    connection: Connection, tenant: UUID, app: UUID, key: str, *, lock: bool = False
) -> Secret | None:
    row = await connection.fetchrow(
        f"SELECT {SECRET} FROM secret WHERE tenant_id = $1 AND app_id = $2 AND key = $3"  # noqa: S608
        + (" FOR UPDATE" if lock else ""),
        tenant,
        app,
        key,
    )
    return secret_of(dict(row)) if row else None


async def list_secrets(connection: Connection, tenant: UUID, app: UUID) -> list[Secret]:
    """By key."""
    rows = await connection.fetch(
        f"SELECT {SECRET} FROM secret WHERE tenant_id = $1 AND app_id = $2 ORDER BY key",  # noqa: S608
        tenant,
        app,
    )
    return [secret_of(dict(row)) for row in rows]


async def secret_types_by_key(connection: Connection, tenant: UUID, app: UUID) -> dict[str, str]:
    """The type's slug of each key of an app."""
    rows = await connection.fetch("SELECT key, type_slug FROM secret WHERE tenant_id = $1 AND app_id = $2", tenant, app)
    return {row["key"]: row["type_slug"] for row in rows}


async def secrets_by_keys(connection: Connection, tenant: UUID, app: UUID, keys: Collection[str]) -> list[Secret]:
    rows = await connection.fetch(
        f"SELECT {SECRET} FROM secret WHERE tenant_id = $1 AND app_id = $2 AND key = ANY($3::text[])",  # noqa: S608
        tenant,
        app,
        list(keys),
    )
    return [secret_of(dict(row)) for row in rows]


async def update_secret(connection: Connection, tenant: UUID, secret: Secret) -> None:
    """Write what may change; the caller holds the row."""
    await connection.execute(
        """UPDATE secret SET description = $3, settings = $4, sealed_value = $5, version = $6, updated_at = $7
           WHERE tenant_id = $1 AND id = $2""",
        tenant,
        secret.id,
        secret.description,
        orjson.dumps(secret.settings).decode(),
        secret.sealed_value,
        secret.version,
        secret.updated_at,
    )


async def delete_secret(connection: Connection, tenant: UUID, secret: UUID) -> None:
    await connection.execute("DELETE FROM secret WHERE tenant_id = $1 AND id = $2", tenant, secret)
