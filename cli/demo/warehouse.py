"""The demo warehouse: a database of its own on the second cluster, its users, and their work of a day."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from cli.demo.workload import PARAMETRISED, PARAMETRISED_TIMES, USERS, statements

MINER = "tidemark_miner"
_SEED = Path(__file__).with_name("shop.sql")
_READ_LOG = """DO $$ DECLARE reader regprocedure; BEGIN
    FOR reader IN SELECT oid FROM pg_proc WHERE proname IN ('pg_read_file', 'pg_read_binary_file')
    LOOP EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tidemark_miner', reader); END LOOP;
END $$"""


@dataclass(frozen=True, slots=True)
class DemoWarehouse:
    """Where it is, and the password that all of its users share for this run."""

    admin_url: str = field(repr=False)
    database: str = "shop"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)

    def settings(self) -> dict[str, object]:
        """Settings of a connector to it."""
        return {
            "type": "postgres",
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "username": MINER,
            "password": self.password,
            "ssl_mode": "disable",
        }

    @property
    def host(self) -> str:
        return urlsplit(self.admin_url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        return urlsplit(self.admin_url).port or 5432

    def url(self, user: str | None = None, database: str | None = None) -> str:
        """For one of its users; for the administrator by default."""
        parts = urlsplit(self.admin_url)
        login = f"{user}:{self.password}@{self.host}:{self.port}" if user else parts.netloc
        return urlunsplit(parts._replace(netloc=login, path=f"/{database or self.database}"))

    async def prepare(self) -> None:
        """Create the database and its users; what is there from an earlier run is replaced."""
        admin = await asyncpg.connect(self.url(database="postgres"))
        try:
            await admin.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
            await admin.execute(f"CREATE DATABASE {self.database}")
            for role in (*USERS, MINER):
                await self._ensure_login(admin, role)
            await admin.execute(f"GRANT pg_read_all_data TO {', '.join(USERS)}")
            await admin.execute(f"GRANT pg_monitor TO {MINER}")
        finally:
            await admin.close()
        shop = await asyncpg.connect(self.url())
        try:
            await shop.execute("SET log_min_duration_statement = -1")
            await shop.execute(_SEED.read_text())
            await shop.execute(_READ_LOG)
        finally:
            await shop.close()

    async def _ensure_login(self, admin: "asyncpg.Connection[asyncpg.Record]", role: str) -> None:
        await admin.execute("SET log_min_duration_statement = -1")
        if not await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
            await admin.execute(f"CREATE ROLE {role} LOGIN")
        await admin.execute(f"ALTER ROLE {role} PASSWORD '{self.password}'")

    async def work(self, progress: Callable[[int], None]) -> int:
        """Every user runs their statements over a connection of their own. Returns how many ran."""
        mine: dict[str, list[str]] = {user: [] for user in USERS}
        for statement in statements():
            mine[statement.user].append(statement.sql)
        done = await asyncio.gather(*(self._work_as(user, sqls, progress) for user, sqls in mine.items()))
        return sum(done)

    async def _work_as(self, user: str, sqls: list[str], progress: Callable[[int], None]) -> int:
        connection = await asyncpg.connect(self.url(user))
        try:
            for sql in sqls:
                await connection.execute(sql)
                progress(1)
            for number in range(PARAMETRISED_TIMES):
                await connection.fetch(PARAMETRISED, number)
                progress(1)
        finally:
            await connection.close()
        return len(sqls) + PARAMETRISED_TIMES
