"""Apps and the tenant's types of secrets."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.db import Connection
from libs.common.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class App:
    id: UUID
    slug: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class TypeRow:
    """A tenant's type of secrets."""

    slug: str
    name: str
    description: str | None
    created_at: datetime


_APP = "id, slug, name, description, created_at, updated_at"
_TYPE = "slug, name, description, created_at"


async def insert_app(connection: Connection, tenant: UUID, app: App) -> bool:
    """False where its slug or its id is taken."""
    return bool(
        await connection.fetchval(
            f"""INSERT INTO app (tenant_id, {_APP}) VALUES ($1, $2, $3, $4, $5, $6, $7)
                ON CONFLICT DO NOTHING RETURNING true""",  # noqa: S608
            tenant,
            app.id,
            app.slug,
            app.name,
            app.description,
            app.created_at,
            app.updated_at,
        )
    )


async def find_app(connection: Connection, tenant: UUID, app: UUID) -> App | None:
    row = await connection.fetchrow(f"SELECT {_APP} FROM app WHERE tenant_id = $1 AND id = $2", tenant, app)  # noqa: S608
    return App(**dict(row)) if row else None


async def app_by_slug(connection: Connection, tenant: UUID, slug: str) -> App:
    """404 where the tenant has no such app."""
    row = await connection.fetchrow(f"SELECT {_APP} FROM app WHERE tenant_id = $1 AND slug = $2", tenant, slug)  # noqa: S608
    if row is None:
        raise NotFound("App not found")
    return App(**dict(row))


async def app_slugs(connection: Connection, tenant: UUID) -> frozenset[str]:
    rows = await connection.fetch("SELECT slug FROM app WHERE tenant_id = $1", tenant)
    return frozenset(row["slug"] for row in rows)


async def list_apps(connection: Connection, tenant: UUID) -> list[App]:
    """By name."""
    rows = await connection.fetch(f"SELECT {_APP} FROM app WHERE tenant_id = $1 ORDER BY name, id", tenant)  # noqa: S608
    return [App(**dict(row)) for row in rows]


async def update_app(connection: Connection, tenant: UUID, app: App) -> None:
    """The slug stays."""
    await connection.execute(
        "UPDATE app SET name = $3, description = $4, updated_at = $5 WHERE tenant_id = $1 AND id = $2",
        tenant,
        app.id,
        app.name,
        app.description,
        app.updated_at,
    )


async def delete_app(connection: Connection, tenant: UUID, app: UUID) -> None:
    """With its secrets and queries; what was executed stays on record."""
    await connection.execute("DELETE FROM app WHERE tenant_id = $1 AND id = $2", tenant, app)


async def seed_types(connection: Connection, tenant: UUID, types: Iterable[TypeRow]) -> None:
    """Add those that are missing."""
    await connection.executemany(
        f"INSERT INTO secret_type (tenant_id, {_TYPE}) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",  # noqa: S608
        [(tenant, each.slug, each.name, each.description, each.created_at) for each in types],
    )


async def insert_type(connection: Connection, tenant: UUID, new: TypeRow) -> None:
    """409 where the slug is taken."""
    try:
        await connection.execute(
            f"INSERT INTO secret_type (tenant_id, {_TYPE}) VALUES ($1, $2, $3, $4, $5)",  # noqa: S608
            tenant,
            new.slug,
            new.name,
            new.description,
            new.created_at,
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"slug: a secret type `{new.slug}` exists already.") from None


async def list_types(connection: Connection, tenant: UUID) -> list[TypeRow]:
    """By slug."""
    rows = await connection.fetch(f"SELECT {_TYPE} FROM secret_type WHERE tenant_id = $1 ORDER BY slug", tenant)  # noqa: S608
    return [TypeRow(**dict(row)) for row in rows]


async def has_type(connection: Connection, tenant: UUID, slug: str) -> bool:
    return bool(
        await connection.fetchval("SELECT true FROM secret_type WHERE tenant_id = $1 AND slug = $2", tenant, slug)
    )
