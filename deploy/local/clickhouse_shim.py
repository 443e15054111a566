"""ClickHouse's HTTP interface in front of chDB, which is ClickHouse in this process: users, settings by the address,
parameters by the address. What a server has beyond that (KILL QUERY, streaming) it has not."""

import asyncio
import re
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from deploy.local.ports import free_port

PASSWORD = "canary-clickhouse-8802"  # noqa: S105 - opens what lives as long as its test or demo
# What a profile says, by user.
PROFILES: dict[str, dict[str, str]] = {"admin": {}, "locked": {"readonly": "1"}, "changeable": {"readonly": "2"}}
_NOT_SETTINGS = frozenset({"database", "default_format", "query_id"})
_FORMAT = re.compile(r"\sFORMAT\s+(\w+)\s*\Z", re.IGNORECASE)


@dataclass(slots=True)
class Shim:
    """Where it listens, and the addresses that it was asked."""

    folder: Path
    port: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    def ask(self, user: str, query: Mapping[str, str], text: str) -> str:
        """Run one request in a session of its own. Raises RuntimeError with what ClickHouse says."""
        from chdb import session

        made: Any = session.Session
        known = made(str(self.folder))
        try:
            settings = {key: value for key, value in query.items() if key not in _NOT_SETTINGS}
            values = {key.removeprefix("param_"): settings.pop(key) for key in query if key.startswith("param_")}
            known.query(f"USE {query.get('database', 'default')}")
            for name, value in PROFILES[user].items():
                known.query(f"SET {name} = {value}")
            # As a server does: what an address asks for is set before readonly takes hold.
            for name in sorted(settings, key=lambda name: name == "readonly"):
                known.query(f"SET {name} = '{settings[name]}'")
            chosen = _FORMAT.search(text)
            format_ = chosen[1] if chosen else query.get("default_format", "TabSeparated")
            return str(known.query(_FORMAT.sub("", text), format_, params=values or None))
        finally:
            known.close()

    async def handle(self, request: web.Request) -> web.Response:
        name, _, password = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
        if name not in PROFILES or password != PASSWORD:
            said = "Code: 516. DB::Exception: Authentication failed"
            return web.Response(status=403, text=said, headers={"X-ClickHouse-Exception-Code": "516"})
        text = await request.text()
        self.asked.append(dict(request.query))
        self.bodies.append(text)
        try:
            body = await asyncio.to_thread(self.ask, name, dict(request.query), text)
        except RuntimeError as error:
            return web.Response(status=500, text=str(error))
        return web.Response(text=body, headers={"X-ClickHouse-Timezone": "UTC"})


@asynccontextmanager
async def clickhouse_shim(folder: Path) -> AsyncIterator[Shim]:
    """Raises ImportError where chDB is not installed."""
    import chdb  # noqa: F401 - whether it is there

    shim = Shim(folder, free_port())
    app = web.Application()
    app.router.add_post("/", shim.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", shim.port).start()
        yield shim
    finally:
        await runner.cleanup()
