"""A warehouse database whose log holds a known number of statements."""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from deploy.setup.bootstrap import with_database
from tests.support.csvlog import logged

USERS = 4


@dataclass(frozen=True, slots=True)
class LoadedWarehouse:
    """`statements` statements by four users, all on one table, are in the log."""

    host: str
    port: int
    database: str
    statements: int
    password: str

    def connector(self, name: str) -> dict[str, object]:
        """Body of POST /connectors."""
        settings = {
            "type": "postgres",
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "username": "load_miner",
            "password": self.password,
            "ssl_mode": "disable",
        }
        return {"name": name, "settings": settings}


async def _login(admin: "asyncpg.Connection[asyncpg.Record]", role: str, password: str) -> None:
    if not await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
        await admin.execute(f"CREATE ROLE {role} LOGIN")
    await admin.execute(f"ALTER ROLE {role} PASSWORD '{password}'")


async def _query(url: str, user: str, password: str, count: int) -> None:
    connection = await asyncpg.connect(url, user=user, password=password)
    for number in range(count):
        await connection.execute(f"SELECT amount FROM sale WHERE id = {number} AND note = 'secret {number}'")
    await connection.close()


async def loaded_warehouse(admin_url: str, statements: int) -> LoadedWarehouse:
    """Make the database and fill the log. The miner's role may read the log, and nothing else."""
    database, password = f"load_{uuid4().hex[:8]}", uuid4().hex
    admin = await asyncpg.connect(admin_url)
    await admin.execute("SET log_min_duration_statement = -1")
    await admin.execute(f"CREATE DATABASE {database}")
    users = [f"load_user_{number}" for number in range(USERS)]
    for role in (*users, "load_miner"):
        await _login(admin, role, password)
    await admin.execute("GRANT pg_monitor TO load_miner")
    await admin.close()
    url = with_database(admin_url, database)
    inside = await asyncpg.connect(url)
    await inside.execute("SET log_min_duration_statement = -1")
    await inside.execute(
        "CREATE TABLE sale (id int PRIMARY KEY, amount numeric, note text); GRANT SELECT ON sale TO PUBLIC"
    )
    for function in await inside.fetch(
        "SELECT oid::regprocedure::text AS f FROM pg_proc WHERE proname LIKE 'pg_read%file'"
    ):
        await inside.execute(f"GRANT EXECUTE ON FUNCTION {function['f']} TO load_miner")
    await inside.close()
    await asyncio.gather(*(_query(url, user, password, statements // USERS) for user in users))
    await logged(admin_url)
    parts = urlsplit(admin_url)
    return LoadedWarehouse(parts.hostname or "", parts.port or 5432, database, statements, password)
