"""Spaces, data products and the tables that products claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.common.db import Connection
from libs.common.errors import Conflict, NotFound
from services.aggregator.domain import claim_keys


@dataclass(frozen=True, slots=True)
class Space:
    id: UUID
    slug: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A table of a product, as typed; in one connector only where `connector_id` is set."""

    name: str
    connector_id: UUID | None


@dataclass(frozen=True, slots=True)
class Product:
    id: UUID
    space_id: UUID
    slug: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    tables: tuple[Claim, ...]


_SPACE = "id, slug, name, description, created_at, updated_at"
# Tables as a row of arrays: no client-side JSON decoding, the order of typing kept.
PRODUCT_TABLES = """
    (SELECT array_agg(t.name ORDER BY t.position) FROM product_table t
     WHERE t.tenant_id = p.tenant_id AND t.product_id = p.id) AS table_names,
    (SELECT array_agg(t.connector_id ORDER BY t.position) FROM product_table t
     WHERE t.tenant_id = p.tenant_id AND t.product_id = p.id) AS table_connectors
"""
_PRODUCT = f"p.id, p.space_id, p.slug, p.name, p.description, p.created_at, p.updated_at, {PRODUCT_TABLES}"


def claims_of(row: asyncpg.Record) -> tuple[Claim, ...]:
    """Claims from the columns of PRODUCT_TABLES."""
    return tuple(map(Claim, row["table_names"] or (), row["table_connectors"] or ()))


def _product(row: asyncpg.Record) -> Product:
    values: dict[str, Any] = dict(row)
    values.pop("table_names")
    values.pop("table_connectors")
    return Product(**values, tables=claims_of(row))


def _shown(claims: Sequence[Claim]) -> str:
    """Claims as the audit shows them; what is looked up are the rows of product_table."""
    return orjson.dumps(claims).decode()


async def insert_space(connection: Connection, tenant: UUID, space: Space) -> Space:
    """Create a space, or read back the one with its id. 409 where the slug is another space's."""
    try:
        await connection.execute(
            f"""INSERT INTO space (tenant_id, {_SPACE}) VALUES ($1, $2, $3, $4, $5, $6, $7)
                ON CONFLICT (tenant_id, id) DO NOTHING""",  # noqa: S608
            tenant,
            space.id,
            space.slug,
            space.name,
            space.description,
            space.created_at,
            space.updated_at,
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"slug: a space `{space.slug}` exists already; choose another slug or name.") from None
    row = await connection.fetchrow(f"SELECT {_SPACE} FROM space WHERE tenant_id = $1 AND id = $2", tenant, space.id)  # noqa: S608
    assert row is not None
    return Space(**dict(row))


async def space_by_slug(connection: Connection, tenant: UUID, slug: str) -> Space:
    """404 where the tenant has no such space."""
    row = await connection.fetchrow(f"SELECT {_SPACE} FROM space WHERE tenant_id = $1 AND slug = $2", tenant, slug)  # noqa: S608
    if row is None:
        raise NotFound("No space with this slug.")
    return Space(**dict(row))


async def list_spaces(connection: Connection, tenant: UUID, after: str | None, limit: int) -> list[Space]:
    """Spaces by slug, from behind `after`."""
    rows = await connection.fetch(
        f"""SELECT {_SPACE} FROM space WHERE tenant_id = $1 AND ($2::text IS NULL OR slug > $2)
            ORDER BY slug LIMIT $3""",  # noqa: S608
        tenant,
        after,
        limit,
    )
    return [Space(**dict(row)) for row in rows]


async def update_space(connection: Connection, tenant: UUID, space: Space) -> None:
    """Write name, slug and description. 409 where the slug is another space's."""
    try:
        await connection.execute(
            """UPDATE space SET slug = $3, name = $4, description = $5, updated_at = $6
               WHERE tenant_id = $1 AND id = $2""",
            tenant,
            space.id,
            space.slug,
            space.name,
            space.description,
            space.updated_at,
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"slug: a space `{space.slug}` exists already; choose another slug.") from None


async def delete_space(connection: Connection, tenant: UUID, space: UUID) -> None:
    """Remove a space with its products; usage records stay."""
    await connection.execute("DELETE FROM usage_refresh WHERE tenant_id = $1 AND space_id = $2", tenant, space)
    await connection.execute("DELETE FROM usage_mark WHERE tenant_id = $1 AND space_id = $2", tenant, space)
    await connection.execute("DELETE FROM space WHERE tenant_id = $1 AND id = $2", tenant, space)


async def insert_product(connection: Connection, tenant: UUID, product: Product) -> bool:
    """Create a product without its tables; false where one with its id exists. 409 where the slug is taken."""
    try:
        return bool(
            await connection.fetchval(
                """INSERT INTO data_product
                       (tenant_id, id, space_id, slug, name, description, created_at, updated_at, tables)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                   ON CONFLICT (tenant_id, id) DO NOTHING RETURNING true""",
                tenant,
                product.id,
                product.space_id,
                product.slug,
                product.name,
                product.description,
                product.created_at,
                product.updated_at,
                _shown(product.tables),
            )
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"slug: a product `{product.slug}` exists in this space; choose another slug or name.") from None


async def product(connection: Connection, tenant: UUID, space: UUID, product_id: UUID) -> Product:
    """404 where the space has no such product."""
    row = await connection.fetchrow(
        f"SELECT {_PRODUCT} FROM data_product p WHERE p.tenant_id = $1 AND p.space_id = $2 AND p.id = $3",  # noqa: S608
        tenant,
        space,
        product_id,
    )
    if row is None:
        raise NotFound("No product with this id in this space.")
    return _product(row)


async def list_products(
    connection: Connection, tenant: UUID, space: UUID, after: str | None, limit: int
) -> list[Product]:
    """Products of a space by slug, from behind `after`."""
    rows = await connection.fetch(
        f"""SELECT {_PRODUCT} FROM data_product p
            WHERE p.tenant_id = $1 AND p.space_id = $2 AND ($3::text IS NULL OR p.slug > $3)
            ORDER BY p.slug LIMIT $4""",  # noqa: S608
        tenant,
        space,
        after,
        limit,
    )
    return [_product(row) for row in rows]


async def product_ids(connection: Connection, tenant: UUID, space: UUID) -> list[UUID]:
    """All products of a space."""
    rows = await connection.fetch("SELECT id FROM data_product WHERE tenant_id = $1 AND space_id = $2", tenant, space)
    return [row["id"] for row in rows]


async def update_product(connection: Connection, tenant: UUID, product: Product) -> None:
    """Write name, slug and description. 409 where the slug is taken."""
    try:
        await connection.execute(
            """UPDATE data_product SET slug = $3, name = $4, description = $5, updated_at = $6, tables = $7
               WHERE tenant_id = $1 AND id = $2""",
            tenant,
            product.id,
            product.slug,
            product.name,
            product.description,
            product.updated_at,
            _shown(product.tables),
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(f"slug: a product `{product.slug}` exists in this space; choose another slug.") from None


async def delete_product(connection: Connection, tenant: UUID, product_id: UUID) -> None:
    await connection.execute("DELETE FROM usage_mark WHERE tenant_id = $1 AND product_id = $2", tenant, product_id)
    await connection.execute("DELETE FROM data_product WHERE tenant_id = $1 AND id = $2", tenant, product_id)


async def replace_claims(
    connection: Connection, tenant: UUID, space: UUID, product_id: UUID, claims: Sequence[Claim]
) -> None:
    """Give a product exactly these tables. The caller has locked out ingests of the tenant."""
    await connection.execute("DELETE FROM product_table WHERE tenant_id = $1 AND product_id = $2", tenant, product_id)
    await connection.executemany(
        "INSERT INTO product_table (tenant_id, product_id, position, name, connector_id) VALUES ($1, $2, $3, $4, $5)",
        [(tenant, product_id, at, claim.name, claim.connector_id) for at, claim in enumerate(claims)],
    )
    await connection.executemany(
        """INSERT INTO product_table_key
               (tenant_id, match_key, product_id, position, whole, claim_key, space_id, connector_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        [
            (tenant, key.key, product_id, at, key.whole, key.claim, space, claim.connector_id)
            for at, claim in enumerate(claims)
            for key in claim_keys(claim.name)
        ],
    )
