"""200 executions at once of a query that takes 50 ms on its server, through a pool of ten connections: throughput
against what ten connections can give (200 a second), errors, and the growth of the service's memory."""

import asyncio
import time

import aiohttp
import asyncpg

from bench.harness import Result
from bench.query_stack import QueryStack, query_stack

AT_ONCE, CONNECTIONS, SECONDS, TARGET = 200, 10, 0.05, 0.7
_VIEW = f"CREATE VIEW slow AS SELECT 1 AS n, pg_sleep({SECONDS})::text AS waited"


async def _execute(stack: QueryStack, path: str) -> bool:
    try:
        await stack.execute(path, {})
    except aiohttp.ClientError:
        return False
    return True


async def _measured() -> tuple[float, int, int]:
    async with query_stack(tidemark_connections_per_secret=str(CONNECTIONS)) as stack:
        connection = await asyncpg.connect(stack.customer.admin_url)
        await connection.execute(_VIEW)
        await connection.execute(f"GRANT SELECT ON slow TO {stack.customer.username}")
        await connection.close()
        path = await stack.save("waits", "SELECT n, waited FROM slow")
        await asyncio.gather(*(_execute(stack, path) for _ in range(CONNECTIONS)))
        before, began = stack.resident(), time.perf_counter()
        fine = await asyncio.gather(*(_execute(stack, path) for _ in range(AT_ONCE)))
        return time.perf_counter() - began, fine.count(False), stack.resident() - before


def measure() -> list[Result]:
    """One burst after the pool is warm."""
    taken, failed, grown = asyncio.run(_measured())
    rate, limit = AT_ONCE / taken, CONNECTIONS / SECONDS
    mib = grown / 1024 / 1024
    print(f"QUERY_CONCURRENCY at_once={AT_ONCE} seconds={taken:.2f} failed={failed} grown_mib={mib:.1f}")
    return [
        Result("query_concurrency", rate, "req/s", rate / limit, f">={TARGET:g}", rate / limit >= TARGET),
        Result("query_concurrency_failed", failed, "requests", failed / AT_ONCE, "=0", failed == 0),
        Result("query_concurrency_memory", mib, "MiB", mib / 64, "<64MiB", mib < 64),
    ]
