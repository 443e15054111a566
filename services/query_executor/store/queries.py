"""Queries and their versions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.common.db import Connection
from services.query_executor.domain import ConnectionType


@dataclass(frozen=True, slots=True)
class Query:
    """A query with what its newest version says."""

    id: UUID
    slug: str
    name: str
    description: str | None
    tags: tuple[str, ...]
    version: int
    connection_type: ConnectionType
    secret_key: str | None
    query_text: str
    parameters: tuple[dict[str, Any], ...]
    created_at: datetime
    updated_at: datetime

    def runs_as(self, other: "Query") -> bool:
        """Whether both say the same to a server: then it is the same version."""
        return (self.connection_type, self.secret_key, self.query_text, self.parameters) == (
            other.connection_type,
            other.secret_key,
            other.query_text,
            other.parameters,
        )


@dataclass(frozen=True, slots=True)
class Version:
    """What a query said, from when on, and who wrote it; an erased person by a pseudonym."""

    version: int
    connection_type: ConnectionType
    secret_key: str | None
    query_text: str
    parameters: tuple[dict[str, Any], ...]
    created_at: datetime
    created_by: str | None


QUERY = """q.id, q.slug, q.name, q.description, q.tags, q.version, v.connection_type, v.secret_key, v.query_text,
    v.parameters, q.created_at, q.updated_at"""
FROM = """analytics_query q
    JOIN analytics_query_version v ON v.tenant_id = q.tenant_id AND v.query_id = q.id AND v.version = q.version"""


def query_of(row: asyncpg.Record) -> Query:
    """From the columns of QUERY."""
    values = {name: row[name] for name in Query.__slots__}
    values["tags"] = tuple(values["tags"])
    values["parameters"] = tuple(orjson.loads(values["parameters"]))
    return Query(**values)


async def insert_query(connection: Connection, tenant: UUID, app: UUID, query: Query) -> bool:
    """Without its version; false where its slug or its id is taken."""
    return bool(
        await connection.fetchval(
            """INSERT INTO analytics_query
                   (tenant_id, app_id, id, slug, name, description, tags, version, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
               ON CONFLICT DO NOTHING RETURNING true""",
            tenant,
            app,
            query.id,
            query.slug,
            query.name,
            query.description,
            list(query.tags),
            query.version,
            query.created_at,
            query.updated_at,
        )
    )


async def insert_version(connection: Connection, tenant: UUID, query: Query, author: str) -> None:
    """What a query says from now on."""
    await connection.execute(
        """INSERT INTO analytics_query_version
               (tenant_id, query_id, version, connection_type, secret_key, query_text, parameters, created_at,
                created_by)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
        tenant,
        query.id,
        query.version,
        query.connection_type,
        query.secret_key,
        query.query_text,
        orjson.dumps(query.parameters).decode(),
        query.updated_at,
        author,
    )


async def list_versions(connection: Connection, tenant: UUID, query: UUID) -> list[Version]:
    """The newest first."""
    rows = await connection.fetch(
        f"""SELECT {", ".join(Version.__slots__)} FROM analytics_query_version
            WHERE tenant_id = $1 AND query_id = $2 ORDER BY version DESC""",  # noqa: S608
        tenant,
        query,
    )
    return [Version(**{**row, "parameters": tuple(orjson.loads(row["parameters"]))}) for row in rows]


async def find_query(connection: Connection, tenant: UUID, query: UUID) -> Query | None:
    row = await connection.fetchrow(
        f"SELECT {QUERY} FROM {FROM} WHERE q.tenant_id = $1 AND q.id = $2",  # noqa: S608
        tenant,
        query,
    )
    return query_of(row) if row else None


async def query_by_slug(
    connection: Connection, tenant: UUID, app: UUID, slug: str, *, lock: bool = False
) -> Query | None:
    row = await connection.fetchrow(
        f"SELECT {QUERY} FROM {FROM} WHERE q.tenant_id = $1 AND q.app_id = $2 AND q.slug = $3"  # noqa: S608
        + (" FOR UPDATE OF q" if lock else ""),
        tenant,
        app,
        slug,
    )
    return query_of(row) if row else None


async def query_slugs(connection: Connection, tenant: UUID, app: UUID) -> frozenset[str]:
    rows = await connection.fetch("SELECT slug FROM analytics_query WHERE tenant_id = $1 AND app_id = $2", tenant, app)
    return frozenset(row["slug"] for row in rows)


async def list_queries(connection: Connection, tenant: UUID, app: UUID, tag: str | None) -> list[Query]:
    """By name; with `tag`, those that have it."""
    rows = await connection.fetch(
        f"""SELECT {QUERY} FROM {FROM}
            WHERE q.tenant_id = $1 AND q.app_id = $2 AND ($3::text IS NULL OR $3 = ANY(q.tags))
            ORDER BY q.name, q.id""",  # noqa: S608
        tenant,
        app,
        tag,
    )
    return [query_of(row) for row in rows]


async def update_query(connection: Connection, tenant: UUID, query: Query) -> None:
    """The slug stays; the caller holds the row."""
    await connection.execute(
        """UPDATE analytics_query SET name = $3, description = $4, tags = $5, version = $6, updated_at = $7
           WHERE tenant_id = $1 AND id = $2""",
        tenant,
        query.id,
        query.name,
        query.description,
        list(query.tags),
        query.version,
        query.updated_at,
    )


async def delete_query(connection: Connection, tenant: UUID, app: UUID, slug: str) -> bool:
    """With its versions; whether it was there."""
    return bool(
        await connection.fetchval(
            "DELETE FROM analytics_query WHERE tenant_id = $1 AND app_id = $2 AND slug = $3 RETURNING true",
            tenant,
            app,
            slug,
        )
    )
