"""A result of a million rows, all rules on, against what the same machine does without them.

NDJSON: against asyncpg and the standard library's json row by row. CSV and Arrow: against binary COPY … TO STDOUT by
asyncpg. Both alternatives run here, without HTTP; ours is a service process read over a socket. NDJSON and CSV bind a
parameter. Memory is the growth of the service's resident memory while it streams.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from bench.harness import Result
from bench.query_stack import QueryStack, query_stack

ROWS, ROUNDS = 1_000_000, 3
NDJSON, CSV, ARROW = "application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream"
_MIB = 1024 * 1024
_COLUMNS = "id, customer, amount, at, state, quantity"
_TABLE = f"""CREATE TABLE wide AS
SELECT g::int8 AS id, 'customer ' || g % 1000 AS customer, g * 0.37::float8 AS amount,
    TIMESTAMPTZ '2024-01-01' + g * INTERVAL '1.25 second' AS at,
    CASE g % 3 WHEN 0 THEN 'open' WHEN 1 THEN 'closed' ELSE 'a longer text' END AS state, (g % 100)::int4 AS quantity
FROM generate_series(1, {ROWS}) AS g"""


async def _json(connection: Any) -> None:
    """Row by row from a cursor, as one writes it first."""
    size = 0
    async with connection.transaction():
        async for record in connection.cursor(f"SELECT {_COLUMNS} FROM wide", prefetch=1000):
            size += len(json.dumps(dict(record), default=str).encode()) + 1


async def _copy(connection: Any) -> None:
    async def away(_: bytes) -> None:
        """The limit: nothing is made of it."""

    await connection.copy_from_query(f"SELECT {_COLUMNS} FROM wide", output=away, format="binary")


async def _seconds(work: Awaitable[Any]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


class _Peak:
    """The highest resident memory of the service while something runs, above what it was before."""

    def __init__(self, stack: QueryStack) -> None:
        self._stack = stack
        self.growth = 0

    async def during(self, work: Awaitable[Any]) -> float:
        before, done = self._stack.resident(), asyncio.Event()

        async def watch() -> None:
            while not done.is_set():
                self.growth = max(self.growth, self._stack.resident() - before)
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        try:
            return await _seconds(work)
        finally:
            done.set()
            await watching


async def _rounds(stack: QueryStack, connection: Any) -> tuple[dict[str, list[float]], int]:
    bound = await stack.save("bound", f"SELECT {_COLUMNS} FROM wide WHERE quantity >= {{{{ least }}}}")
    plain = await stack.save("plain", f"SELECT {_COLUMNS} FROM wide")
    peak = _Peak(stack)
    arms: dict[str, Callable[[], Awaitable[float]]] = {
        "json": lambda: _seconds(_json(connection)),
        "copy": lambda: _seconds(_copy(connection)),
        NDJSON: lambda: peak.during(stack.execute(bound, {"least": 0}, NDJSON)),
        CSV: lambda: peak.during(stack.execute(bound, {"least": 0}, CSV)),
        ARROW: lambda: peak.during(stack.execute(plain, {}, ARROW)),
    }
    for accept, path in ((NDJSON, bound), (CSV, bound), (ARROW, plain)):  # what is imported and learned once
        await stack.execute(path, {"least": 99}, accept)
    peak.growth = 0
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(ROUNDS):
        for name, arm in arms.items():
            taken[name].append(await arm())
    return taken, peak.growth


async def _measured() -> tuple[dict[str, list[float]], int]:
    async with query_stack(tidemark_query_bytes=str(1024 * _MIB), tidemark_query_rows_ceiling=str(ROWS)) as stack:
        connection = await asyncpg.connect(stack.customer.admin_url)
        try:
            await connection.execute(_TABLE)
            await connection.execute(f"GRANT SELECT ON wide TO {stack.customer.username}; ANALYZE wide")
            return await _rounds(stack, connection)
        finally:
            await connection.close()


def measure() -> list[Result]:
    """Five arms, interleaved; the ratio of a round's two, medians."""
    taken, growth = asyncio.run(_measured())
    for name, seconds in taken.items():
        print(f"QUERY_STREAMING arm={name} rows_per_second={ROWS / statistics.median(seconds):.0f}")
    results = []
    for name, accept, against, target in (
        ("ndjson", NDJSON, "json", 2.0),
        ("arrow", ARROW, "copy", 0.6),
        ("csv", CSV, "copy", 0.4),
    ):
        ratio = statistics.median(theirs / ours for ours, theirs in zip(taken[accept], taken[against], strict=True))
        rate = ROWS / statistics.median(taken[accept])
        results.append(Result(f"query_streaming_{name}", rate, "rows/s", ratio, f">={target:g}", ratio >= target))
    grown = growth / _MIB
    return [*results, Result("query_streaming_memory", grown, "MiB", grown / 64, "<64MiB", grown < 64)]
