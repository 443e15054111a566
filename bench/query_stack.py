"""What the benchmarks of saved queries share: query_executor as a process of its own, asked directly with an internal
token, in front of a database of somebody's. The gateway serves for setting up only."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import psutil

from cli.client import Gateway
from deploy.local.ports import free_ports
from deploy.local.process import all_of
from deploy.local.service import ServiceProcess
from libs.common.auth import Principal
from services.gateway.service import Mint
from tests.integration.query_harness import Customer, customer
from tests.support.platform import Platform, fresh_platform, template_database
from tests.support.processes import token
from tests.support.servers import running_servers


@dataclass(frozen=True, slots=True)
class QueryStack:
    """A running service with an app `shop` and a secret `db`."""

    url: str
    gateway: str
    tenant: UUID
    platform: Platform
    customer: Customer
    process: ServiceProcess
    session: aiohttp.ClientSession = field(repr=False)
    mint: Mint = field(repr=False)

    async def save(self, name: str, text: str) -> str:
        """Save a query; the path of its execution."""
        async with Gateway(self.gateway, token(self.tenant, "staff")) as staff:
            body = {"name": name, "query_text": text, "secret_key": "db"}
            made = await staff.post("/api/apps/shop/analytics/queries/", body)
        return f"{self.url}/api/apps/shop/analytics/queries/{made['data']['slug']}/execute/"

    def headers(self, accept: str = "application/json") -> dict[str, str]:
        """Of a caller whom the gateway let in: it sends the same token for some seconds."""
        bearer = self.mint.token(Principal(self.tenant, "bench", roles=frozenset({"staff"})))
        return {"Authorization": f"Bearer {bearer}", "Accept": accept}

    async def execute(self, path: str, params: dict[str, Any], accept: str = "application/json") -> int:
        """Read an answer to its end, away; its bytes."""
        size = 0
        async with self.session.post(path, json={"params": params}, headers=self.headers(accept)) as answer:
            answer.raise_for_status()
            async for chunk in answer.content.iter_any():
                size += len(chunk)
        return size

    def resident(self) -> int:
        """Bytes of memory that the service holds."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@asynccontextmanager
async def query_stack(**settings: str) -> AsyncIterator[QueryStack]:
    """Started and stopped; `settings` of the service beyond the usual."""
    async with (
        running_servers() as servers,
        template_database(servers) as template,
        fresh_platform(servers, template) as platform,
        customer(servers) as someone,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        with tempfile.TemporaryDirectory() as logs:
            front, port = free_ports(2)
            more = {name.upper(): value for name, value in settings.items()}
            env = {**os.environ, "TIDEMARK_TRACE_RATIO": "0"}
            service = ServiceProcess(
                "query_executor", Path(logs) / "query_executor.log", "query_executor", port,
                env | platform.environment("query_executor", port, **more), "TIDEMARK_HTTP_PORT",
            )  # fmt: skip
            gateway = ServiceProcess(
                "gateway", Path(logs) / "gateway.log", "gateway", front,
                env | platform.gateway_environment(front, {"query_executor": port}), "TIDEMARK_HTTP_PORT",
            )  # fmt: skip
            try:
                await all_of([service.start(), gateway.start()])
                outside = f"http://127.0.0.1:{front}"
                tenant = await _set_up(outside, someone)
                inside, mint = f"http://127.0.0.1:{port}", Mint(platform.signer)
                yield QueryStack(inside, outside, tenant, platform, someone, service, session, mint)
            finally:
                await asyncio.gather(service.stop(), gateway.stop())


async def _set_up(gateway: str, someone: Customer) -> UUID:
    async with Gateway(gateway, token(None, "superuser")) as superuser:
        tenant = UUID((await superuser.post("/tenants", {"name": "Bench"}))["id"])
    async with Gateway(gateway, token(tenant, "staff")) as staff:
        await staff.post("/api/apps/", {"name": "Shop"})
        secret = {"key": "db", "type_slug": "analytics-postgres", "value": someone.value()}
        limits = {"max_result_rows": 1_000_000, "timeout_seconds": 120}
        await staff.post("/api/apps/shop/secrets/", {**secret, "settings": limits})
    return tenant
