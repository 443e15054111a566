"""Gateway and reporting in this process behind real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from libs.common.broker import Publisher, build_broker
from libs.common.clock import Clock
from libs.common.events import AnyEvent
from libs.common.settings import CommonSettings
from libs.common.topics import Topic
from services.gateway.app import build as build_gateway
from services.gateway.settings import Settings as GatewaySettings
from services.reporting.app import build
from services.reporting.settings import Settings
from tests.support.in_process import free_ports, served
from tests.support.platform import Platform, values_of
from tests.support.processes import token

ROOT = "/api/v1"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any

    def ok(self) -> Any:
        """The body of a 2xx."""
        assert self.status < 300, self
        return self.body

    @property
    def fields(self) -> set[str]:
        """The fields that a refusal names."""
        return {each["field"] for each in self.body.get("errors") or []}


@dataclass(frozen=True, slots=True)
class Stack:
    """The gateway's address and what stands behind it."""

    url: str
    platform: Platform
    session: aiohttp.ClientSession = field(repr=False)

    async def call(
        self, method: str, path: str, tenant: UUID | None, body: Any = None, *roles: str, **options: Any
    ) -> Reply:
        """A request of somebody of that tenant, below the root of the API."""
        bearer = token(tenant, *(roles or ("staff",)))
        headers = {"Authorization": f"Bearer {bearer}", **options.pop("headers", {})}
        given = {"data": body} if isinstance(body, (bytes, str)) else {"json": body}
        url = self.url + ("" if path.startswith("/") else f"{ROOT}/") + path
        async with self.session.request(method, url, headers=headers, **given, **options) as answer:
            text = await answer.text()
            return Reply(answer.status, await answer.json() if text else None)

    async def new_tenant(self) -> UUID:
        made = await self.call("POST", "/tenants", None, {"name": f"t-{uuid4().hex[:8]}"}, "superuser")
        return UUID(made.ok()["id"])

    async def sql(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """On the platform's database, as its administrator."""
        connection = await asyncpg.connect(self.platform.admin_url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def publish(self, topic: Topic, *events: AnyEvent) -> None:
        """Straight to Kafka, as a system that holds credentials of the broker."""
        settings = CommonSettings(kafka=self.platform.kafka, topic_prefix=self.platform.topic_prefix)
        broker = build_broker(settings, "test")
        await broker.connect()
        try:
            await Publisher(broker, settings, service="test").send_many(topic, [("key", each, {}) for each in events])
        finally:
            await broker.stop()


@dataclass(frozen=True, slots=True)
class Company:
    """A tenant with the component `shop` and the environment `live`."""

    stack: Stack
    tenant: UUID
    component: str
    environment: str

    async def call(self, method: str, path: str, body: Any = None, *roles: str, **options: Any) -> Reply:
        return await self.stack.call(method, path, self.tenant, body, *roles, **options)

    async def deploy(self, status: str = "SUCCEEDED", **more: Any) -> Reply:
        body = {"componentId": self.component, "environmentId": self.environment, "status": status, **more}
        return await self.call("POST", "deployments", body)


async def new_company(stack: Stack) -> Company:
    """Ready to deploy."""
    tenant = await stack.new_tenant()
    component = (await stack.call("POST", "components", tenant, {"name": "shop", "owner": "team-a"})).ok()
    environment = (await stack.call("POST", "environments", tenant, {"name": "live"})).ok()
    return Company(stack, tenant, component["id"], environment["id"])


@asynccontextmanager
async def reporting_stack(platform: Platform, clock: Clock | None = None, **settings: Any) -> AsyncIterator[Stack]:
    """Started, ready, and stopped in order at the end."""
    ports = free_ports("gateway", "reporting")
    own = values_of(platform.environment("reporting", ports["reporting"])) | settings
    front = values_of(platform.gateway_environment(ports["gateway"], {"reporting": ports["reporting"]}))
    async with (
        served(build(Settings.model_validate(own), clock), ports["reporting"]),
        served(build_gateway(GatewaySettings.model_validate(front)), ports["gateway"]),
        aiohttp.ClientSession() as session,
    ):
        yield Stack(f"http://127.0.0.1:{ports['gateway']}", platform, session)
