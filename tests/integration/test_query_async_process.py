"""A process that ends while it runs what nobody waits for; no other replica takes the job here."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from tests.integration.query_harness import Stack, customer, new_shop
from tests.integration.test_query_async import begin, ended, place, recorded
from tests.integration.test_query_execution import activity
from tests.support.platform import Platform
from tests.support.processes import SHORT_LEASE, eventually, running_services
from tests.support.servers import Servers

PATIENT = SHORT_LEASE | {"TIDEMARK_QUERY_SECONDS": "300"}


@asynccontextmanager
async def as_process(platform: Platform, servers: Servers, logs: Path) -> AsyncIterator[tuple[Stack, Any]]:
    """The same stack with the executor in a process that can be killed."""
    async with (
        customer(servers) as someone,
        running_services(platform, logs, ("query_executor",), **PATIENT) as running,
        aiohttp.ClientSession() as session,
    ):
        yield Stack(running.gateway_url, platform, someone, session), running


# Whoever reads the view while it is held waits for minutes: a process can be ended in that time on any machine.
HELD = """CREATE TABLE held (seconds float8); INSERT INTO held VALUES (600);
CREATE VIEW slow_sales AS SELECT s.id FROM sales s, LATERAL (SELECT pg_sleep(seconds) FROM held) w"""
LET_GO = "UPDATE held SET seconds = 0"


async def on_server(stack: Stack, *statements: str) -> None:
    admin = await asyncpg.connect(stack.customer.admin_url)
    try:
        for statement in statements:
            await admin.execute(statement)
    finally:
        await admin.close()


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_process_that_ends_in_the_middle(
    platform: Platform, servers: Servers, tmp_path: Path, end: str
) -> None:
    """kill -9, or an orderly end: the job is run again from its beginning; it is on record once."""
    async with as_process(platform, servers, tmp_path) as (stack, running):
        shop = await new_shop(stack)
        mark = f"ended_{uuid4().hex[:6]}"
        await on_server(stack, HELD, f"GRANT SELECT ON slow_sales TO {stack.customer.username}")
        text = f"SELECT count(*) AS {mark} FROM slow_sales WHERE id < {{{{ n }}}}"
        key = (await begin(shop, text, n=1000)).body["execution_key"]

        async def runs() -> bool:
            return await activity(stack, mark) == 1

        await eventually(runs)
        process = running.processes["query_executor"]
        await (process.kill() if end == "kill" else process.stop())
        assert await recorded(shop) == []
        if end == "stop":
            assert await activity(stack, mark) == 0
        await on_server(stack, LET_GO)
        began = time.monotonic()
        await process.start()
        state = await ended(shop, key)
        assert (state["state"], state["rows"]) == ("completed", 1)
        page = await shop.call("GET", place(key, "result/"))
        assert page.body["data"] == [{mark: 4}]
        known = await stack.sql("SELECT run FROM query_executor.execution_job WHERE tenant_id = $1", shop.tenant)
        print(f"ASYNC end={end} runs={known[0]['run']} seconds={time.monotonic() - began:.1f}")
        assert known[0]["run"] == 2
        assert await recorded(shop) == [("completed", 1)]
