"""What an execution of a query with one row adds to the same prepared statement by bare asyncpg, asked in the same
process and on its one event loop, which is uvloop's, with the collector as calm as the services have it. One call at
a time; the arms take turns.

Ours is the whole application, asked over ASGI with an internal token: token, look-up, template, guard, binding,
read-only transaction, redaction, record and usage event. The caller waits for all of these. What the relay sends and
how a session is renewed is behind the answer, and in the way of the next call. The token is the same for ten seconds,
as the gateway sends it; the service verifies each new one.

Over HTTP the same is asked of a process of its own, by aiohttp: what a service within a cluster waits for. Not in
either: the gateway.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson
import uvloop
from fastapi import FastAPI

from bench.harness import Result
from bench.query_stack import QueryStack, query_stack
from libs.common.process import calm_collector
from services.query_executor.app import build
from services.query_executor.settings import Settings
from tests.support.asgi import request

CALLS, WARM_UP, TARGET_MS = 1000, 50, 3.0
_QUERY = "SELECT id, region FROM sales WHERE id = {{ id }}"
Ask = Callable[[int], Awaitable[object]]


@asynccontextmanager
async def _application(stack: QueryStack) -> AsyncIterator[FastAPI]:
    """A second replica of the service, in this process."""
    app = build(Settings.model_validate(stack.platform.settings_values("query_executor", trace_ratio=0.0)))
    async with app.router.lifespan_context(app):
        yield app


def _inside(stack: QueryStack, app: FastAPI, path: str) -> Ask:
    where = urlsplit(path).path

    async def ask(number: int) -> None:
        headers = {**stack.headers(), "Content-Type": "application/json"}
        body = orjson.dumps({"params": {"id": number}})
        answer = await request(app, "POST", where, headers=headers, body=body, stays=True)
        assert answer.status == 200, answer.text

    return ask


def _quantile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[int(len(seconds) * share)] * 1000


async def _rounds(stack: QueryStack, app: FastAPI, connection: Any) -> dict[str, list[float]]:
    path = await stack.save("one", _QUERY)
    statement = await connection.prepare("SELECT id, region FROM sales WHERE id = $1")
    arms: dict[str, Ask] = {
        "bare": statement.fetch,
        "inside": _inside(stack, app, path),
        "http": lambda number: stack.execute(path, {"id": number}),
    }
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(CALLS + WARM_UP):
        for name, ask in arms.items():
            began = time.perf_counter()
            await ask(number % 4 + 1)
            taken[name].append(time.perf_counter() - began)
    return {name: seconds[WARM_UP:] for name, seconds in taken.items()}


async def _measured() -> dict[str, list[float]]:
    async with query_stack() as stack, _application(stack) as app:
        connection = await asyncpg.connect(stack.customer.admin_url)
        try:
            return await _rounds(stack, app, connection)
        finally:
            await connection.close()


def measure() -> list[Result]:
    """Call by call in turn; the promise is that of p50 in one process."""
    calm_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        taken = runner.run(_measured())
    results = []
    for arm, name in (("inside", "query_overhead"), ("http", "query_overhead_http")):
        for quantile, share in (("p50", 0.5), ("p99", 0.99)):
            ours, bare = _quantile(taken[arm], share), _quantile(taken["bare"], share)
            print(f"QUERY_OVERHEAD arm={arm} quantile={quantile} ours_ms={ours:.2f} bare_ms={bare:.2f}")
            promised = (arm, quantile) == ("inside", "p50")
            target, ok = (f"<={TARGET_MS:g}ms", ours - bare <= TARGET_MS) if promised else ("none", True)
            results.append(Result(f"{name}_{quantile}", ours - bare, "ms", ours / bare, target, ok))
    return results
