"""Counting and refreshing 100 new events with 1e5 and with 5e6 rows of history, at one and the same rate.

The rate is 1e5 rows in 30 days, so the window holds the same and the history reaches back 30 days and 1,500 days. Two
tenants of two databases that differ in nothing else are measured in turns.
"""

import asyncio
from statistics import median

from bench.harness import Result
from bench.usage_log import Log
from bench.usage_refresh import after_events, installations

LITTLE, MUCH, DAYS, ROUNDS = 100_000, 5_000_000, 30, 15
TARGET = 1.5


async def _filled(log: Log, rows: int) -> Log:
    await log.begin()
    await log.fill(rows, DAYS * rows / LITTLE)
    await log.build()
    await after_events(log)
    return log


async def _run() -> list[Result]:
    async with installations(2) as (one, another):
        little, much = await _filled(Log(one), LITTLE), await _filled(Log(another), MUCH)
        spent = [(await after_events(little), await after_events(much)) for _ in range(ROUNDS)]
    short, long = (median(each[n].total for each in spent) for n in (0, 1))
    print(f"USAGE_REFRESH_GROWTH little_ms={short:.1f} much_ms={long:.1f}")
    return [Result("usage_refresh_growth", long, "ms", long / short, f"<{TARGET:g}", long / short < TARGET)]


def measure() -> list[Result]:
    """Both histories in turns, medians."""
    return asyncio.run(_run())
