"""Logins and schemas of tenants' own queries, through the functions that the setup step provides."""

from dataclasses import dataclass, field
from uuid import UUID

from libs.common.db import Connection

# A login belongs to the server, not to the database: it is missing where the database was restored elsewhere.
_CURRENT = """stamp IS NOT DISTINCT FROM tidemark.share_stamp()
    AND to_regrole(tidemark.tenant_role($1)::text) IS NOT NULL
    AND to_regnamespace(tidemark.tenant_role($1)::text) IS NOT NULL"""
_HOLD = f"""
INSERT INTO tenant_schema AS known (tenant_id, sealed_password) VALUES ($1, $2)
ON CONFLICT (tenant_id) DO UPDATE SET tenant_id = known.tenant_id
RETURNING sealed_password, {_CURRENT} AS current"""  # noqa: S608
_STALE = """
SELECT tenant_id FROM tenant t FULL JOIN tenant_schema s USING (tenant_id)
WHERE t.deleted_at IS NULL
  AND (s.stamp IS DISTINCT FROM (SELECT tidemark.share_stamp())
       OR to_regrole(tidemark.tenant_role(tenant_id)::text) IS NULL)
ORDER BY random() LIMIT $1"""
_LEFT_OVER = """
SELECT tenant_id FROM tenant
WHERE deleted_at IS NOT NULL
  AND (to_regrole(tidemark.tenant_role(tenant_id)::text) IS NOT NULL
       OR to_regnamespace(tidemark.tenant_role(tenant_id)::text) IS NOT NULL)
ORDER BY random() LIMIT $1"""
_READABLE = """
SELECT c.relname FROM pg_catalog.pg_class c
WHERE c.relnamespace = to_regnamespace(tidemark.tenant_role($1)::text) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND has_table_privilege(to_regrole(tidemark.tenant_role($1)::text), c.oid, 'SELECT')"""


@dataclass(frozen=True, slots=True)
class TenantSchema:
    """`current`: as is_current."""

    sealed_password: str = field(repr=False)
    current: bool


async def hold(connection: Connection, tenant: UUID, sealed_password: str) -> TenantSchema:
    """The tenant's row, held until the transaction ends; a first one is made with this password."""
    row = await connection.fetchrow(_HOLD, tenant, sealed_password)
    assert row is not None
    return TenantSchema(row["sealed_password"], row["current"])


async def is_current(connection: Connection, tenant: UUID) -> bool:
    """Whether login and schema are there, and the schema holds what is offered now."""
    statement = f"SELECT true FROM tenant_schema WHERE tenant_id = $1 AND {_CURRENT}"  # noqa: S608
    return bool(await connection.fetchval(statement, tenant))


async def find_password(connection: Connection, tenant: UUID) -> str | None:
    """Sealed; None before the first provisioning."""
    found: str | None = await connection.fetchval(
        "SELECT sealed_password FROM tenant_schema WHERE tenant_id = $1 AND stamp IS NOT NULL", tenant
    )
    return found


async def is_deleted(connection: Connection, tenant: UUID) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT true FROM tenant WHERE tenant_id = $1 AND deleted_at IS NOT NULL FOR SHARE", tenant
        )
    )


async def provision(connection: Connection, tenant: UUID, verifier: str) -> None:
    """Make or repair login, schema and views; the caller holds the row."""
    stamp = await connection.fetchval("SELECT tidemark.provision_tenant($1, $2)", tenant, verifier)
    await connection.execute("UPDATE tenant_schema SET stamp = $2 WHERE tenant_id = $1", tenant, stamp)


async def drop(connection: Connection, tenant: UUID) -> None:
    """Login, schema and all that the schema holds; the row first, as whoever provisions takes it first."""
    await connection.execute("DELETE FROM tenant_schema WHERE tenant_id = $1", tenant)
    await connection.execute("SELECT tidemark.drop_tenant($1)", tenant)


async def stale(connection: Connection, most: int) -> list[UUID]:
    """Tenants that lack something of what they should have."""
    return [row["tenant_id"] for row in await connection.fetch(_STALE, most)]


async def left_over(connection: Connection, most: int) -> list[UUID]:
    """Deleted tenants that have a login or a schema still."""
    return [row["tenant_id"] for row in await connection.fetch(_LEFT_OVER, most)]


async def readable(connection: Connection, tenant: UUID) -> frozenset[str]:
    """Tables and views that the tenant's login may read in its schema."""
    return frozenset(row["relname"] for row in await connection.fetch(_READABLE, tenant))
