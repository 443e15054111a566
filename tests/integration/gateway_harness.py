"""The gateway in front of an upstream that records what it gets, both behind real sockets."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from deploy.local.service import ServiceProcess
from libs.common.auth import InternalVerifier, Principal
from libs.common.sealed import encode
from libs.common.settings import CommonSettings
from libs.common.topics import Topic
from services.gateway.app import build
from services.gateway.settings import Settings
from tests.support.in_process import free_ports, served
from tests.support.messaging import Bench
from tests.support.platform import KEY_ID, Platform, values_of
from tests.support.processes import eventually, token
from tests.support.spans import recorded_spans

PIECE = bytes(range(256)) * 256
BIG = 64 * 1024 * 1024
SERVICES = ("log_miner", "aggregator", "scraper")


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived at the service."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    caller: Principal


@dataclass
class Upstream:
    """Answers for every service. The last segment of a path, or the body of a POST, says how."""

    verifier: InternalVerifier
    seen: list[Seen] = field(default_factory=list)
    effects: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> Starlette:
        methods = ["GET", "POST", "PATCH", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=methods)])

    async def _answer(self, request: Request) -> Response:
        if request.url.path == "/openapi.json":
            return JSONResponse(OPENAPI)
        _, _, bearer = request.headers["authorization"].partition(" ")
        headers = dict(request.headers)
        path = request.scope["raw_path"].decode()
        caller = self.verifier.verify(bearer)
        self.seen.append(Seen(request.method, path, request.url.query, headers, caller))
        self.started.set()
        special = getattr(self, "_" + request.url.path.rpartition("/")[2], None)
        if special is not None and request.method == "GET":
            answer: Response = await special(request)
            return answer
        return await (self._effect(request) if request.url.path == "/spaces" else self._echo(request))

    async def _echo(self, request: Request) -> Response:
        digest, size = hashlib.sha256(), 0
        async for chunk in request.stream():
            digest.update(chunk)
            size += len(chunk)
        return JSONResponse({"size": size, "sha256": digest.hexdigest()})

    async def _effect(self, request: Request) -> Response:
        """Counts, waits (`held`: until the gate is opened), answers as the body says."""
        wish = await request.json()
        self.effects += 1
        number = self.effects
        await asyncio.sleep(wish.get("pause", 0))
        if wish.get("held"):
            await self.gate.wait()
        if wish.get("breaks"):
            return await self._broken(request)
        if "size" in wish:
            return Response(b"x" * wish["size"], 201)
        return JSONResponse({"number": number}, wish.get("status", 201), {"Location": f"/spaces/{number}"})

    async def _drip(self, _request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await self.gate.wait()
            yield b"data: 2\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _big(self, _request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(BIG // len(PIECE)):
                yield PIECE

        return StreamingResponse(pieces())

    async def _hang(self, request: Request) -> Response:
        assert (await request.receive())["type"] == "http.request"
        assert (await request.receive())["type"] == "http.disconnect"
        self.left.set()
        return Response()

    async def _broken(self, _request: Request) -> Response:
        return Response(PIECE, headers={"Content-Length": str(2 * len(PIECE))})

    async def _short(self, _request: Request) -> Response:
        return Response(b"half", headers={"Content-Length": "8"})


OPENAPI = {
    "openapi": "3.1.0",
    "info": {"title": "upstream", "version": "1"},
    "paths": {
        "/spaces/{slug}": {"get": {"operationId": "space", "responses": {"200": {"description": "A space"}}}},
        "/livez": {"get": {"responses": {"200": {"description": "hidden"}}}},
    },
}


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str
    body: Any


@dataclass(frozen=True, slots=True)
class Front:
    """The gateway's address, what stands behind it, and the installation."""

    url: str
    upstream: Upstream
    platform: Platform
    session: aiohttp.ClientSession
    spans: InMemorySpanExporter

    async def call(
        self, method: str, path: str, *, tenant: UUID | None, roles: tuple[str, ...] = ("staff",), **options: Any
    ) -> Reply:
        """A request of somebody of that tenant; `bearer` and `headers` override."""
        bearer = options.pop("bearer", None) or token(tenant, *roles)
        headers = {"Authorization": f"Bearer {bearer}", **options.pop("headers", {})}
        async with self.session.request(method, self.url + path, headers=headers, **options) as answer:
            text = await answer.text()
            body = await answer.json() if answer.content_type == "application/json" and text else None
            return Reply(answer.status, answer.headers, text, body)

    async def new_tenant(self) -> UUID:
        body = {"name": f"t-{uuid4().hex[:8]}"}
        made = await self.call("POST", "/tenants", tenant=None, roles=("superuser",), json=body)
        return UUID(made.body["id"])

    async def sql(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """As the administrator, who sees all."""
        connection = await asyncpg.connect(self.platform.admin_url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def relayed(self) -> None:
        """Wait until the gateway's outbox is empty."""

        async def empty() -> bool:
            return not await self.sql("SELECT FROM gateway.outbox LIMIT 1")

        await eventually(empty)

    async def events(self, topic: Topic) -> list[Any]:
        """All that was published, once the outbox is empty."""
        await self.relayed()
        settings = CommonSettings(kafka=self.platform.kafka, topic_prefix=self.platform.topic_prefix)
        return await Bench(settings).read(self.platform.topic_prefix + topic.name)


def _upstream(platform: Platform) -> Upstream:
    public = platform.signing_key.public_key().public_bytes_raw()
    return Upstream(InternalVerifier.of({KEY_ID: encode(public)}))


@asynccontextmanager
async def front(platform: Platform, **changes: Any) -> AsyncIterator[Front]:
    """A gateway with these settings changed, in this process."""
    upstream, ports = _upstream(platform), free_ports("gateway", "upstream")
    behind = dict.fromkeys(SERVICES, ports["upstream"])
    values = values_of(platform.gateway_environment(ports["gateway"], behind)) | changes
    with recorded_spans() as spans:
        async with (
            served(upstream.app(), ports["upstream"]),
            served(build(Settings.model_validate(values)), ports["gateway"]),
            aiohttp.ClientSession() as session,
        ):
            yield Front(f"http://127.0.0.1:{ports['gateway']}", upstream, platform, session, spans)


@asynccontextmanager
async def front_process(platform: Platform, logs: Path, **env: str) -> AsyncIterator[tuple[Front, ServiceProcess]]:
    """A gateway as a process of its own, to be measured, stopped and killed."""
    upstream, ports = _upstream(platform), free_ports("gateway", "upstream")
    behind = dict.fromkeys(SERVICES, ports["upstream"])
    settings = {**os.environ, **platform.gateway_environment(ports["gateway"], behind), **env}
    log = logs / "gateway.log"
    process = ServiceProcess("gateway", log, "gateway", ports["gateway"], settings, "TIDEMARK_HTTP_PORT")
    async with served(upstream.app(), ports["upstream"]), aiohttp.ClientSession() as session:
        await process.start()
        try:
            url = f"http://127.0.0.1:{ports['gateway']}"
            yield Front(url, upstream, platform, session, InMemorySpanExporter()), process
        finally:
            await process.stop()


def connector(name: str = "Shop", **settings: object) -> dict[str, Any]:
    """The body of a connector."""
    known = {"type": "postgres", "host": "127.0.0.1", "database": "shop", "username": "miner", "password": "canary-1"}
    return {"name": name, "settings": known | settings}


def secret_of(key: str) -> str:
    """The secret in `tmk_<id>_<secret>`; it may hold underscores itself."""
    return key.split("_", 2)[2]
