"""The aggregator's application behind a real socket, in this process, with a clock that the test moves."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import uvicorn

from services.aggregator.app import build
from services.aggregator.settings import Settings
from tests.integration.aggregator_harness import MovedClock
from tests.support.platform import Platform


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


@dataclass(frozen=True)
class RunningApp:
    platform: Platform
    clock: MovedClock
    session: aiohttp.ClientSession = field(repr=False)

    async def call(
        self, tenant: UUID, method: str, path: str, body: Any = None, *, key: str | None = None, **query: Any
    ) -> Answer:
        """One request as the gateway would send it inward."""
        headers = self.platform.bearer(tenant) | ({"Idempotency-Key": key} if key else {})
        async with self.session.request(method, path, json=body, params=query, headers=headers) as response:
            text = await response.text()
            return Answer(response.status, await response.json() if text else None)

    async def get(self, tenant: UUID, path: str, **query: Any) -> Any:
        """The body of a 200."""
        answer = await self.call(tenant, "GET", path, **query)
        assert answer.status == 200, answer
        return answer.body

    async def post(self, tenant: UUID, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """The body of a 2xx."""
        answer = await self.call(tenant, "POST", path, body, key=key)
        assert answer.status < 300, answer
        return answer.body


@asynccontextmanager
async def running_app(
    platform: Platform, clock: MovedClock | None = None, **settings: Any
) -> AsyncIterator[RunningApp]:
    """Started, ready, and stopped in order at the end."""
    clock = clock or MovedClock()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    configured = Settings.model_validate(platform.settings_values("aggregator", http_port=port, **settings))
    server = uvicorn.Server(uvicorn.Config(build(configured, clock), log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.02)
            if serving.done():
                serving.result()
                raise AssertionError("the application did not start")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield RunningApp(platform, clock, session)
    finally:
        server.should_exit = True
        await serving
