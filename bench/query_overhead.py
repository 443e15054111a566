"""What an execution of a query with one row adds to the same prepared statement by bare asyncpg, both asked from this
process and its one event loop, which is uvloop's, with the collector as calm as the services have it. One call at a
time.

Ours: a service process asked over HTTP with an internal token, look-up, template, guard, binding, read-only
transaction, redaction, record and usage event. The caller waits for all of these. What the relay sends and how a
session is renewed is behind the answer, and in the way of the next call. Not in: the gateway. Its token is the same
for ten seconds, as the gateway sends it, and signed in this process; the service verifies each new one.
"""

import asyncio
import time
from typing import Any

import asyncpg
import uvloop

from bench.harness import Result
from bench.query_stack import QueryStack, query_stack
from libs.common.process import calm_collector

CALLS, TARGET_MS = 1000, 3.0
_QUERY = "SELECT id, region FROM sales WHERE id = {{ id }}"


def _quantile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[int(len(seconds) * share)] * 1000


async def _rounds(stack: QueryStack, connection: Any) -> tuple[list[float], list[float]]:
    path = await stack.save("one", _QUERY)
    statement = await connection.prepare("SELECT id, region FROM sales WHERE id = $1")
    ours, bare = list[float](), list[float]()
    for number in range(CALLS + 50):
        began = time.perf_counter()
        await stack.execute(path, {"id": number % 4 + 1})
        between = time.perf_counter()
        await statement.fetch(number % 4 + 1)
        ended = time.perf_counter()
        if number >= 50:
            ours.append(between - began)
            bare.append(ended - between)
    return ours, bare


async def _measured() -> tuple[list[float], list[float]]:
    async with query_stack() as stack:
        connection = await asyncpg.connect(stack.customer.admin_url)
        try:
            return await _rounds(stack, connection)
        finally:
            await connection.close()


def measure() -> list[Result]:
    """Call by call in turn."""
    calm_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ours, bare = runner.run(_measured())
    results = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        mine, theirs = _quantile(ours, share), _quantile(bare, share)
        print(f"QUERY_OVERHEAD quantile={name} ours_ms={mine:.2f} bare_ms={theirs:.2f}")
        target = f"<={TARGET_MS:g}ms" if name == "p50" else "none"
        ok = mine - theirs <= TARGET_MS or name != "p50"
        results.append(Result(f"query_overhead_{name}", mine - theirs, "ms", mine / theirs, target, ok))
    return results
