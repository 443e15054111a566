"""Statistics of a space after 100 new events, against the plain SQL over its rows.

One tenant: 2,000 products in one space, 10,000 patterns over one to three tables each, 5,000 users, 90 days of history
with a million rows in the window. Ours is what 100 new events cost beyond their storing: marking and counting them in
their transaction, then a refresh of the space (what left the window since the one before, a minute ago; figures and
scores of the products touched, written). The other arm computes and writes the same figures of all products of the
space by one query over the rows, which is what such a refresh has to do without counters. Both are timed by the
client, in turns, on one connection's server process; the end of each round compares their figures.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from asyncpg.connection import LoggedQuery

from bench.harness import Result
from bench.usage_log import Log
from libs.common.db import Connection
from services.aggregator.domain import TOP_COLUMNS, WINDOW
from services.aggregator.store import counters, stats
from tests.integration.aggregator_harness import Harness, replicas
from tests.support.platform import fresh_platform, template_database
from tests.support.servers import running_servers

IN_WINDOW, WINDOWS, EVENTS, ROUNDS = 1_000_000, 3, 100, 5
TARGET = 100.0


@dataclass(frozen=True, slots=True)
class Spent:
    """Milliseconds: counting new events, refreshing what they touched."""

    count: float
    refresh: float
    products: int

    @property
    def total(self) -> float:
        return self.count + self.refresh


@asynccontextmanager
async def installations(count: int) -> AsyncIterator[list[Harness]]:
    """The aggregator's use cases, each on an empty database of its own."""
    async with running_servers() as servers, template_database(servers) as template, AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            platform = await stack.enter_async_context(fresh_platform(servers, template))
            [one] = await stack.enter_async_context(replicas(platform))
            one.refresh._pause = timedelta(0)
            made.append(one)
        yield made


class _Timed:
    """Stands in front of `counters.apply` for as long as events are taken."""

    def __init__(self) -> None:
        self.ms = 0.0
        self._apply = counters.apply

    async def __call__(self, connection: Connection, *values: object, **named: object) -> None:
        began = time.perf_counter()
        await self._apply(connection, *values, **named)  # type: ignore[arg-type]
        self.ms += (time.perf_counter() - began) * 1e3


async def after_events(log: Log) -> Spent:
    """100 new events a minute after the last ones, and the refresh that they ask for."""
    log.harness.clock.advance(timedelta(minutes=1))
    timed = _Timed()
    counters.apply = timed
    try:
        await log.send_new(EVENTS)
    finally:
        counters.apply = timed._apply
    began = time.perf_counter()
    products = await log.harness.refresh.drain()
    return Spent(timed.ms, (time.perf_counter() - began) * 1e3, products)


async def _plain(log: Log) -> tuple[float, list[stats.Figures]]:
    """Milliseconds of the plain SQL, its rows written as statistics; the figures."""
    now = log.harness.clock()
    async with log.harness.database.work() as connection:
        began = time.perf_counter()
        found = await stats.figures(connection, log.tenant, log.products, now - WINDOW, now, TOP_COLUMNS)
        await stats.upsert_stats(connection, log.tenant, [(each, 0.0) for each in found], now)
        return (time.perf_counter() - began) * 1e3, found


async def _equal(log: Log, found: list[stats.Figures]) -> bool:
    async with log.harness.database.work() as connection:
        told, doubtful = await stats.counted(connection, log.tenant, log.products, log.harness.clock(), TOP_COLUMNS)
    return told == found and not doubtful


async def _print_plain(log: Log) -> None:
    def show(query: LoggedQuery) -> None:
        print(f"-- plain SQL\n{query.query};")

    now = log.harness.clock()
    async with log.harness.database.work() as connection:
        with connection.query_logger(show):
            await stats.figures(connection, log.tenant, log.products[:1], now - WINDOW, now, TOP_COLUMNS)


async def _rebuilds(log: Log) -> float:
    """Milliseconds of building one product's counters from the rows."""
    spent = []
    for product in log.products[:20]:
        began = time.perf_counter()
        await log.rebuild_one(product)
        spent.append((time.perf_counter() - began) * 1e3)
    return median(spent)


async def _run() -> list[Result]:
    async with installations(1) as [one]:
        log = Log(one)
        await log.begin()
        await log.fill(IN_WINDOW * WINDOWS, WINDOW.days * WINDOWS)
        began = time.perf_counter()
        await log.build()
        built = time.perf_counter() - began
        await _print_plain(log)
        await after_events(log)
        ours, plain = [], []
        for _ in range(ROUNDS):
            ours.append(await after_events(log))
            spent, found = await _plain(log)
            plain.append(spent)
            if not await _equal(log, found):
                raise RuntimeError("the counters differ from the rows")
        rebuild = await _rebuilds(log)
    count, refresh = median(each.count for each in ours), median(each.refresh for each in ours)
    value, ratio = median(each.total for each in ours), median(plain) / median(each.total for each in ours)
    print(
        f"USAGE_REFRESH count_ms={count:.1f} refresh_ms={refresh:.1f} products={ours[-1].products} "
        f"plain_ms={median(plain):.0f} build_all_s={built:.1f}"
    )
    return [
        Result("usage_refresh", value, "ms", ratio, f">={TARGET:g}", ratio >= TARGET),
        Result("usage_rebuild", rebuild, "ms", rebuild / 100, "<1", rebuild < 100),
    ]


def measure() -> list[Result]:
    """Both arms in turns, medians. The second line: one product built from rows, as a share of 100 ms."""
    return asyncio.run(_run())
