"""A stub of Superset as a real HTTP server: tokens that expire, pages of at most 100, and faults that twist answers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from deploy.local.ports import free_port
from tests.stubs.superset.content import OWN, Content, Row, small

PASSWORD = "correct-horse-secret"
USERNAME = "miner"
_CAP = 100
_LISTS = {"chart": "slice_name", "dashboard": "dashboard_title", "dataset": "table_name", "database": "database_name"}
_LISTS |= {"saved_query": "label", "query": "start_time", "security/users": "username"}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
# A fault sees each request and how it would be answered.
Fault = Callable[[web.Request, Answer], Awaitable[web.StreamResponse]]


async def no_fault(request: web.Request, answer: Answer) -> web.StreamResponse:
    return await answer(request)


def reply(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type="application/json", headers=headers)


def _number(q: str, name: str, default: float) -> float:
    found = re.search(rf"[(,]{name}:([0-9.eE+]+)", q)
    return float(found[1]) if found else default


@dataclass(slots=True)
class SupersetStub:
    """One Superset. `token_uses` is after how many requests a token expires."""

    content: Content = field(default_factory=small)
    fault: Fault = no_fault
    token_uses: int = 10**9
    refreshable: bool = True
    denied: frozenset[str] = frozenset()
    cap: int = _CAP
    port: int = field(default_factory=free_port)
    requests: list[str] = field(default_factory=list)
    logins: int = 0
    refreshes: int = 0
    with_context: bool = False
    _uses: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        return await self.fault(request, self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/health":
            return web.Response(text="OK")
        if path == "/api/v1/security/login":
            return self._login(json.loads(await request.text() or "{}"))
        if path == "/api/v1/security/refresh":
            return self._refresh(request)
        refused = self._refused(request)
        if refused is not None:
            return refused
        name = path.removeprefix("/api/v1/").rstrip("/")
        if name in self.denied:
            return reply({"message": "Forbidden"}, 403)
        if name in _LISTS:
            return self._page(name, unquote(request.query.get("q", "()")))
        return self._single(request, name)

    def _login(self, body: Any) -> web.Response:
        self.logins += 1
        if body.get("username") != USERNAME or body.get("password") != PASSWORD:
            return reply({"message": "Not authorized"}, 401)
        return reply({"access_token": self._token("access"), "refresh_token": f"refresh-{self.logins}"})

    def _refresh(self, request: web.Request) -> web.Response:
        self.refreshes += 1
        token = request.headers.get("Authorization", "")
        if not self.refreshable or not token.startswith("Bearer refresh-"):
            return reply({"msg": "Token has expired"}, 401)
        return reply({"access_token": self._token("access")})

    def _token(self, kind: str) -> str:
        token = f"{kind}-secret-{len(self._uses)}"
        self._uses[token] = 0
        return token

    def _refused(self, request: web.Request) -> web.Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return reply({"msg": "Missing Authorization Header"}, 401)
        if token not in self._uses:
            return reply({"msg": "Not enough segments"}, 422)
        self._uses[token] += 1
        return reply({"msg": "Token has expired"}, 401) if self._uses[token] > self.token_uses else None

    def _page(self, name: str, q: str) -> web.Response:
        rows = sorted(self.content.of(name.rpartition("/")[2]), key=lambda row: str(row.get(_LISTS[name])))
        if name == "query":
            after = _number(q, "value", 0.0)
            rows = [row for row in rows if not isinstance(row["start_time"], float) or row["start_time"] > after]
        size = min(int(_number(q, "page_size", 25)), self.cap)
        start = int(_number(q, "page", 0)) * size
        return reply({"count": len(rows), "result": rows[start : start + size]})

    def _single(self, request: web.Request, name: str) -> web.Response:
        if name == "me":
            return reply({"result": {"id": OWN, "username": USERNAME}})
        if name == "me/roles":
            return reply({"result": {"roles": {"Admin": [["all_query_access", "all_query_access"]]}}})
        if re.fullmatch(r"database/\d+/connection", name):
            return reply({"result": {"sqlalchemy_uri": "postgresql+psycopg2://u:XXXXXXXXXX@db:5432/shop"}})
        found = re.fullmatch(r"chart/(\d+)/data", name)
        if found and request.method == "GET":
            if not self.with_context:
                return reply({"message": "Chart has no query context saved. Please save the chart again."}, 400)
            return reply(
                {"result": [{"language": "sql", "query": f"SELECT status FROM public.orders LIMIT {found[1]}"}]}
            )
        if name == "chart/data":
            return reply({"result": [{"language": "sql", "query": "SELECT count(*) FROM public.orders WHERE a = 'x'"}]})
        return reply({"message": "Not found"}, 404)


@asynccontextmanager
async def running(stub: SupersetStub) -> AsyncIterator[SupersetStub]:
    """The stub while it listens on its port of 127.0.0.1."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", stub.port).start()
    try:
        yield stub
    finally:
        await asyncio.wait_for(runner.cleanup(), 5)


__all__ = ["PASSWORD", "USERNAME", "Answer", "Fault", "Row", "SupersetStub", "no_fault", "reply", "running"]
