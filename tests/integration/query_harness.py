"""Gateway and query_executor in this process behind real sockets, and a database of somebody's to be queried."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from services.gateway.app import build as build_gateway
from services.gateway.settings import Settings as GatewaySettings
from services.query_executor.app import build
from services.query_executor.settings import Settings
from tests.support.in_process import free_ports, served
from tests.support.platform import Platform, values_of
from tests.support.processes import eventually, token
from tests.support.servers import Servers

PASSWORD = "canary-password-9431"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any
    headers: Any


@dataclass(frozen=True, slots=True)
class Customer:
    """A database with a reader who may only read."""

    admin_url: str = field(repr=False)
    host: str
    port: int
    database: str
    username: str

    def value(self, **changes: object) -> dict[str, Any]:
        """The value of a connection secret."""
        known = {
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "username": self.username,
            "password": PASSWORD,
        }
        return known | changes


@dataclass(frozen=True, slots=True)
class Stack:
    """The gateway's address and what stands behind it."""

    url: str
    platform: Platform
    customer: Customer
    session: aiohttp.ClientSession = field(repr=False)

    async def call(
        self, method: str, path: str, tenant: UUID | None, body: Any = None, *roles: str, **options: Any
    ) -> Reply:
        """A request of somebody of that tenant; `bearer` and `headers` override."""
        bearer = options.pop("bearer", None) or token(tenant, *(roles or ("staff",)))
        headers = {"Authorization": f"Bearer {bearer}", **options.pop("headers", {})}
        async with self.session.request(
            method, self.url + path, json=body, headers=headers, allow_redirects=False, **options
        ) as answer:
            text = await answer.text()
            return Reply(answer.status, await answer.json() if text else None, answer.headers)

    async def new_tenant(self) -> UUID:
        made = await self.call("POST", "/tenants", None, {"name": f"t-{uuid4().hex[:8]}"}, "superuser")
        return UUID(made.body["id"])

    async def sql(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """On the platform's database, as its administrator."""
        connection = await asyncpg.connect(self.platform.admin_url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def relayed(self) -> None:
        """Wait until the service's outbox is empty."""

        async def is_empty() -> bool:
            return not await self.sql("SELECT FROM query_executor.outbox LIMIT 1")

        await eventually(is_empty)


@dataclass(frozen=True, slots=True)
class Shop:
    """An app of a tenant of its own, with a secret for the customer's database."""

    stack: Stack
    tenant: UUID
    slug: str = "shop"

    @property
    def root(self) -> str:
        return f"/api/apps/{self.slug}"

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        """Below the app."""
        return await self.stack.call(method, f"{self.root}/{path}", self.tenant, body, **options)

    async def secret(self, key: str, type_slug: str, value: object, **more: object) -> Reply:
        return await self.call("POST", "secrets/", {"key": key, "type_slug": type_slug, "value": value, **more})

    async def query(self, text: str, name: str = "Some query", **more: object) -> Reply:
        body = {"name": name, "query_text": text, "secret_key": "db", **more}
        return await self.call("POST", "analytics/queries/", body)

    async def execute(self, slug: str, /, **params: object) -> Reply:
        return await self.call("POST", f"analytics/queries/{slug}/execute/", {"params": params})

    async def run(self, text: str, /, **params: object) -> Reply:
        """Save a query under a name of its own and execute it."""
        made = await self.query(text, name=f"q {uuid4().hex[:10]}")
        assert made.status == 201, made.body
        return await self.execute(made.body["data"]["slug"], **params)


async def new_shop(stack: Stack) -> Shop:
    """Ready to have queries."""
    tenant = await stack.new_tenant()
    made = await stack.call("POST", "/api/apps/", tenant, {"name": "Shop"})
    assert made.status == 201, made.body
    shop = Shop(stack, tenant)
    assert (await shop.secret("db", "analytics-postgres", stack.customer.value())).status == 201
    return shop


_TABLES = """
CREATE TABLE sales (id int PRIMARY KEY, region text, amount numeric(12, 2), date date, sold_at timestamptz);
INSERT INTO sales VALUES
    (1, 'North America', 100000, '2024-01-15', '2024-01-15T10:30:00Z'),
    (2, 'North America', 50000, '2024-01-15', '2024-01-15T11:30:00+02:00'),
    (3, 'Europe', 120000.5, '2024-01-15', '2024-01-15T12:30:00.25Z'),
    (4, 'Europe', 1, '2024-01-16', NULL);
CREATE TABLE tokens (id int, token text);
INSERT INTO tokens VALUES (1, 'sk_live_0123456789'), (2, 'other');
"""


@asynccontextmanager
async def customer(servers: Servers) -> AsyncIterator[Customer]:
    """A fresh database on the warehouse's server, dropped at the end with its role."""
    name = f"customer_{uuid4().hex[:10]}"
    parts = urlsplit(servers.warehouse)
    assert parts.hostname
    assert parts.port
    admin = await asyncpg.connect(servers.warehouse)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        url = parts._replace(path=f"/{name}").geturl()
        inside = await asyncpg.connect(url)
        await inside.execute(_TABLES)
        await inside.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        await inside.close()
        yield Customer(url, parts.hostname, parts.port, name, name)
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.execute(f"DROP ROLE IF EXISTS {name}")
        await admin.close()


@asynccontextmanager
async def query_stack(platform: Platform, servers: Servers, **settings: Any) -> AsyncIterator[Stack]:
    """Started, ready, and stopped in order at the end."""
    ports = free_ports("gateway", "query_executor")
    own = values_of(platform.environment("query_executor", ports["query_executor"])) | settings
    front = values_of(platform.gateway_environment(ports["gateway"], {"query_executor": ports["query_executor"]}))
    async with (
        customer(servers) as someone,
        served(build(Settings.model_validate(own)), ports["query_executor"]),
        served(build_gateway(GatewaySettings.model_validate(front)), ports["gateway"]),
        aiohttp.ClientSession() as session,
    ):
        yield Stack(f"http://127.0.0.1:{ports['gateway']}", platform, someone, session)
        await asyncio.sleep(0)
