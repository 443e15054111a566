"""`/dora` and `/usage`: 1,000,000 deployments and 5,000,000 audit events of one tenant in a year, 30 days asked for.

Ours is the whole request to the service's own process, with its internal token; the other arm is the one statement that
somebody would write by hand for the same numbers, sent by one connection of the same login, which row-level security
binds too. Both in turns. Growth: the same window of tenants with a tenth of the rows, once of the same rate (a shorter
history), once of a tenth of the rate.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
import asyncpg

from bench.harness import Result
from bench.reporting_data import Tenant, fill
from libs.common.auth import Principal
from libs.common.db import Connection
from tests.support.platform import Platform, fresh_platform, template_database
from tests.support.processes import running_services
from tests.support.servers import running_servers

MANY, FEW, YEAR, DAYS = 1_000_000, 100_000, 365.0, 30
ROUNDS, GROWTH_ROUNDS, TARGET = 100, 20, 1.5

_DORA_BY_HAND: Final = """
WITH decided AS (
    SELECT component_id, environment_id, status, moment, started_at, finished_at FROM deployment
    WHERE tenant_id = $1 AND moment BETWEEN $2 AND $3 AND status IN ('SUCCEEDED', 'FAILED', 'ROLLED_BACK')
), recovered AS (
    SELECT *, min(moment) FILTER (WHERE status = 'SUCCEEDED') OVER (
        PARTITION BY component_id, environment_id ORDER BY moment DESC
        GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS next_success
    FROM decided
)
SELECT count(*) FILTER (WHERE status = 'SUCCEEDED') AS succeeded,
       count(*) FILTER (WHERE status <> 'SUCCEEDED') AS failed, count(*) AS total,
       count(next_success) FILTER (WHERE status = 'FAILED') AS recoveries,
       avg(next_success - moment) FILTER (WHERE status = 'FAILED') AS recovery,
       avg(finished_at - started_at) FILTER (WHERE status = 'SUCCEEDED') AS lead
FROM recovered"""
_USAGE_BY_HAND: Final = """
WITH seen AS (
    SELECT action, component_id, actor_id, actor_username, occurred_at FROM audit_event
    WHERE tenant_id = $1 AND occurred_at BETWEEN $2 AND $3
), actors AS (
    SELECT actor_id, count(*) AS n, (array_agg(actor_username ORDER BY occurred_at DESC))[1] AS name
    FROM seen WHERE actor_id IS NOT NULL GROUP BY actor_id
)
SELECT (SELECT count(*) FROM seen) AS total,
       (SELECT json_agg(t) FROM (SELECT action, count(*) FROM seen GROUP BY action) AS t) AS actions,
       (SELECT json_agg(t) FROM (
            SELECT s.component_id, c.name, count(*) AS n
            FROM seen s JOIN component c ON c.tenant_id = $1 AND c.id = s.component_id
            GROUP BY s.component_id, c.name ORDER BY n DESC, c.name, s.component_id LIMIT 10) AS t) AS components,
       (SELECT json_agg(t) FROM (SELECT * FROM actors ORDER BY n DESC, name, actor_id LIMIT 10) AS t) AS users"""
BY_HAND: Final = {"dora": _DORA_BY_HAND, "usage": _USAGE_BY_HAND}


@dataclass(frozen=True, slots=True)
class Running:
    """The service, and a connection of the login that it answers requests with."""

    platform: Platform
    url: str
    session: aiohttp.ClientSession = field(repr=False)
    connection: Connection = field(repr=False)

    async def report(self, name: str, tenant: Tenant) -> Any:
        """The answer of a request."""
        bearer = self.platform.signer.mint(Principal(tenant.id, "bench"))
        headers = {"Authorization": f"Bearer {bearer}"}
        async with self.session.get(f"{self.url}/{name}?days={DAYS}", headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def by_hand(self, name: str, tenant: Tenant) -> Any:
        """The row of the statement."""
        now = datetime.now(UTC)
        async with self.connection.transaction():
            await self.connection.execute("SELECT set_config('app.tenant', $1, true)", str(tenant.id))
            return await self.connection.fetchrow(BY_HAND[name], tenant.id, now - timedelta(days=DAYS), now)


@asynccontextmanager
async def _running(*tenants: Tenant) -> AsyncIterator[Running]:
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(running_servers())
        template = await stack.enter_async_context(template_database(servers))
        platform = await stack.enter_async_context(fresh_platform(servers, template))
        admin = await asyncpg.connect(platform.admin_url)
        await fill(admin, datetime.now(UTC), *tenants)
        await admin.close()
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = await stack.enter_async_context(running_services(platform, logs, ("reporting",)))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        connection = await asyncpg.connect(platform.api_url("reporting"), server_settings={"jit": "off"})
        stack.push_async_callback(connection.close)
        url = f"http://127.0.0.1:{services.processes['reporting'].port}/api/v1/analytics"
        yield Running(platform, url, session, connection)


async def _milliseconds(ask: Callable[[str, Tenant], Awaitable[Any]], name: str, tenant: Tenant) -> float:
    began = time.perf_counter()
    await ask(name, tenant)
    return (time.perf_counter() - began) * 1e3


def _p99(spent: list[float]) -> float:
    return sorted(spent)[-(-99 * len(spent) // 100) - 1]


async def _against_by_hand(running: Running, name: str, tenant: Tenant) -> Result:
    print(f"-- {name} by hand{BY_HAND[name]};")
    ours, hand = list[float](), list[float]()
    for _ in range(3):
        await running.report(name, tenant)
        await running.by_hand(name, tenant)
    for _ in range(ROUNDS):
        ours.append(await _milliseconds(running.report, name, tenant))
        hand.append(await _milliseconds(running.by_hand, name, tenant))
    ratio = median(ours) / median(hand)
    print(
        f"REPORTING report={name} p50_ms={median(ours):.1f} p99_ms={_p99(ours):.1f} "
        f"hand_p50_ms={median(hand):.1f} hand_p99_ms={_p99(hand):.1f}"
    )
    return Result(f"reporting_{name}", median(ours), "ms", ratio, f"<={TARGET:g}", ratio <= TARGET)


async def _growth(running: Running, name: str, small: Tenant, big: Tenant, label: str, limit: float) -> Result:
    spent = [
        (await _milliseconds(running.report, name, small), await _milliseconds(running.report, name, big))
        for _ in range(GROWTH_ROUNDS)
    ]
    little, much = (median(each[n] for each in spent) for n in (0, 1))
    print(f"REPORTING_GROWTH report={name} {label} little_ms={little:.1f} much_ms={much:.1f}")
    ratio = much / little
    return Result(f"reporting_{name}_growth_{label}", much, "ms", ratio, f"<{limit:g}", ratio < limit)


async def _check(running: Running, tenant: Tenant) -> None:
    """Both arms tell the same."""
    ours, hand = await running.report("dora", tenant), await running.by_hand("dora", tenant)
    # The window moves between the two: a second holds a deployment in thirty.
    if abs(ours["changeFailureRate"]["total"] - hand["total"]) > 5:
        raise RuntimeError("the arms differ")
    if abs((await running.report("usage", tenant))["totalAuditEvents"] - hand["total"] * 5.1) > hand["total"]:
        raise RuntimeError("the events of the window are not those that were made")


async def _run() -> list[Result]:
    big, short, thin = Tenant(MANY, YEAR), Tenant(FEW, YEAR / 10), Tenant(FEW, YEAR)
    results = []
    async with _running(big, short, thin) as running:
        await _check(running, big)
        for name in BY_HAND:
            results.append(await _against_by_hand(running, name, big))
            results.append(await _growth(running, name, short, big, "by_history", 2))
            results.append(await _growth(running, name, thin, big, "by_rate", MANY / FEW))
    return results


def measure() -> list[Result]:
    """Both arms in turns, medians; then growth from 1e5 to 1e6 deployments (5e5 to 5e6 events) for one window."""
    return asyncio.run(_run())
