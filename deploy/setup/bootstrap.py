"""Database, roles, schemas and grants: idempotent, run by the administrator."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.setup.settings import LOGIN_ROLES, Settings
from libs.common.db import Connection
from libs.common.scram import scram_verifier
from libs.common.services import SERVICES

# In this order; each may run again.
_SQL = tuple(Path(__file__).with_name(name) for name in ("bootstrap.sql", "audit.sql", "tenants.sql", "public.sql"))
# Roles that cannot log in: who owns the shared views and the tenants' schemas, what tenants' logins have in common,
# what logins and owners of services may do that those may not.
_GROUPS = {"share_owner": "", "tenant_owner": "CREATEROLE", "tenant_login": "", "tidemark_service": ""}
# Concurrent setups of one server queue here: CREATE ROLE and CREATE DATABASE have no IF NOT EXISTS.
_SETUP_LOCK = 7_461_001


def database_of(url: str) -> str:
    """Name of the database that a URL opens."""
    return urlsplit(url).path.removeprefix("/") or "postgres"


def with_database(url: str, database: str) -> str:
    """The same URL for another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


async def _run(connection: Connection, template: str, *identifiers: str) -> None:
    """Run a statement whose %I and %L are filled and quoted by the server itself."""
    placeholders = "".join(f", ${number}::text" for number in range(1, len(identifiers) + 1))
    statement = await connection.fetchval(f"SELECT format($f${template}$f${placeholders})", *identifiers)
    await connection.execute(statement)


async def _ensure_role(connection: Connection, role: str, attributes: str) -> None:
    if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
        await _run(connection, "CREATE ROLE %I", role)
    await _run(connection, f"ALTER ROLE %I {attributes}", role)


async def ensure_roles(connection: Connection, settings: Settings) -> None:
    """Roles are cluster-wide: an owner that cannot log in and two logins per service, and the owner of shared views."""
    missing = [role for role in LOGIN_ROLES if role not in settings.role_passwords]
    if missing:
        raise ValueError(f"TIDEMARK_ROLE_PASSWORDS names no password for {', '.join(missing)}")
    for role, attributes in _GROUPS.items():
        await _ensure_role(connection, role, f"NOLOGIN {attributes}")
    for service in SERVICES:
        await _ensure_role(connection, f"{service}_owner", "NOLOGIN")
    for role in LOGIN_ROLES:
        await _ensure_role(connection, role, "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
        verifier = scram_verifier(settings.role_passwords[role].get_secret_value())
        await _run(connection, "ALTER ROLE %I PASSWORD %L", role, verifier)
        await _run(connection, "ALTER ROLE %I SET search_path = %I", role, role.rsplit("_", 1)[0])
    for role in (*LOGIN_ROLES, *(f"{service}_owner" for service in SERVICES), "tenant_owner"):
        await _run(connection, "GRANT tidemark_service TO %I WITH INHERIT TRUE, SET FALSE", role)
    await connection.execute("GRANT tenant_login TO tenant_owner WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")


async def ensure_schemas(connection: Connection) -> None:
    """One schema per service, owned by its owner role; login roles get data rights only, on all tables to come."""
    await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    await connection.execute("CREATE SCHEMA IF NOT EXISTS share AUTHORIZATION share_owner")
    for path in _SQL:
        await connection.execute(path.read_text())
    for service in SERVICES:
        owner, api, worker = (f"{service}_{kind}" for kind in ("owner", "api", "worker"))
        await _run(connection, "CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I", service, owner)
        await _run(connection, "GRANT USAGE ON SCHEMA %I TO %I, %I, share_owner", service, api, worker)
        defaults = "ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT "
        await _run(
            connection, defaults + "SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I, %I", owner, service, api, worker
        )
        await _run(connection, defaults + "USAGE, SELECT ON SEQUENCES TO %I, %I", owner, service, api, worker)


async def grant_database(connection: Connection, database: str) -> None:
    """Who may connect, and who may make schemas. A copy of a database does not take these rights along."""
    await _run(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", database)
    for role in LOGIN_ROLES:
        await _run(connection, "GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I", database, role)
    await _run(connection, "GRANT CONNECT ON DATABASE %I TO tenant_login", database)
    await _run(connection, "GRANT CREATE ON DATABASE %I TO tenant_owner", database)


async def _ensure_database(connection: Connection, database: str) -> None:
    if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
        await _run(connection, "CREATE DATABASE %I", database)
    await grant_database(connection, database)


async def bootstrap(settings: Settings) -> None:
    """Bring roles, database and schemas to what the services expect."""
    url = settings.superuser_database_url.get_secret_value()
    admin = await asyncpg.connect(with_database(url, "postgres"))
    try:
        await admin.execute("SELECT pg_advisory_lock($1)", _SETUP_LOCK)
        await ensure_roles(admin, settings)
        await _ensure_database(admin, database_of(url))
    finally:
        await admin.close()
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await ensure_schemas(connection)
    finally:
        await connection.close()
