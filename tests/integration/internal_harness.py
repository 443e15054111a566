"""Tenants with rows in every table that is offered to their own queries, and logins as those tenants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg

from libs.common.db import Connection, Database
from libs.common.sealed import KeyRing
from services.query_executor.drivers.internal import role_name
from services.query_executor.service.tenant_schemas import TenantSchemas
from services.query_executor.settings import Settings
from tests.support.platform import Platform

AT = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
_NO_VALUE = {"uuid": "gen_random_uuid()", "bigint": "1", "integer": "1", "smallint": "1", "boolean": "true"}
_NO_VALUE |= {"double precision": "0.5", "ARRAY": "'{}'", "jsonb": "'[]'", "text": "'x'"}
# What a constraint asks for, or what joins the rows of one tenant.
_VALUES = {"environment": "'production'", "state": "'completed'", "connection_type": "'internal'", "secret_key": "NULL"}
_VALUES |= {"retired_at": "NULL", "deleted_at": "NULL", "actor_type": "'user'"}
_VALUES |= {"lifecycle": "'planned'", "tier": "'other'", "status": "'SUCCEEDED'"}
_SHARED_IDS = ("id", "space_id", "product_id", "pattern_id", "app_id", "query_id")
# Whoever is referred to stands before whoever refers to it.
TABLES = (
    "gateway.tenant", "gateway.connector", "aggregator.space", "aggregator.data_product", "aggregator.product_table",
    "aggregator.product_usage_stats", "aggregator.sql_pattern", "aggregator.query_log", "aggregator.bi_reference",
    "query_executor.app", "query_executor.analytics_query", "query_executor.analytics_query_version",
    "query_executor.query_execution", "reporting.component", "reporting.environment", "reporting.deployment",
    "reporting.audit_event",
)  # fmt: skip


async def fill(admin: Connection, tenant: UUID, mark: str) -> None:
    """One row of each table; texts hold the mark, all ids are the tenant's own."""
    for table in TABLES:
        schema, name = table.split(".")
        columns = await admin.fetch(
            "SELECT column_name AS name, data_type AS type FROM information_schema.columns"
            " WHERE table_schema = $1 AND table_name = $2 AND is_generated = 'NEVER'",
            schema,
            name,
        )
        values = {each["name"]: _value(table, each["name"], each["type"], tenant, mark) for each in columns}
        await admin.execute(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())}) ON CONFLICT DO NOTHING"
        )


def _value(table: str, name: str, kind: str, tenant: UUID, mark: str) -> str:
    if name == "tenant_id" or name in _SHARED_IDS:
        return f"'{tenant}'"
    if (table, name) == ("gateway.tenant", "slug"):
        return f"'{tenant}'"
    if name in _VALUES:
        return _VALUES[name]
    if kind == "timestamp with time zone":
        return f"'{AT.isoformat()}'"
    if kind == "text":
        return f"'{mark}-{name}'" if name not in ("cron", "timezone") else "NULL"
    return _NO_VALUE[kind]


@asynccontextmanager
async def administrator(platform: Platform) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(platform.admin_url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def tenant_schemas(platform: Platform) -> AsyncIterator[TenantSchemas]:
    """As query_executor has them."""
    settings = Settings.model_validate(platform.settings_values("query_executor"))
    database = await Database.open(settings, "query-executor")
    try:
        yield TenantSchemas(database, KeyRing.of(settings.sealing_keys))
    finally:
        await database.close()


@asynccontextmanager
async def logged_in(
    platform: Platform, schemas: TenantSchemas, tenant: UUID
) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """Past the service: what the tenant's login itself may do."""
    password = await schemas.password(tenant)
    parts = urlsplit(platform.admin_url)
    connection = await asyncpg.connect(
        host=parts.hostname,
        port=parts.port,
        database=parts.path[1:],
        user=role_name(tenant),
        password=password.get_secret_value(),
    )
    try:
        yield connection
    finally:
        await connection.close()


async def new_tenant(platform: Platform, schemas: TenantSchemas, mark: str) -> UUID:
    """A tenant with rows and a schema."""
    tenant = uuid4()
    async with administrator(platform) as admin:
        await fill(admin, tenant, mark)
    await schemas.provision(tenant)
    return tenant
