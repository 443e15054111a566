"""The whole chain: a csvlog mined, analysed, sent, stored and counted, by real processes on real servers.

Rows of a log per second from the request to mine until the job is closed, which is when every row is committed in the
aggregator's tables and counted; where the processor time went; the peak of each process's memory. The ratio is to
the aim of one million rows in 60 seconds.
"""

import asyncio
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from bench.csvlog import busiest_tables, write_log
from bench.harness import Result
from bench.stack import cpu_seconds, memory, own_stack
from cli.client import Gateway
from cli.demo.run import ensure_tenant
from cli.demo.warehouse import DemoWarehouse
from cli.settings import OperatorSettings
from cli.tokens import development_token
from deploy.local.supervisor import Stack

ROWS = int(os.environ.get("BENCH_CHAIN_ROWS", "1000000"))
AIM_ROWS_A_SECOND = 1_000_000 / 60
_PROCESSES = ("postgres", "warehouse", "kafka", "setup", "gateway", "log_miner", "aggregator")
_PRODUCTS = 20
_SLOWEST = """SELECT total_exec_time / 1000 AS seconds, calls, left(regexp_replace(query, '\\s+', ' ', 'g'), 90) AS text
FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT $1"""


@dataclass(slots=True)
class Watch:
    """Processor seconds and peak memory of the stack's processes."""

    pids: dict[str, int]
    before: dict[str, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, stack: Stack) -> "Watch":
        pids = {name: each.process.pid for name, each in stack.known.items() if each.process.pid}
        return cls(pids, {name: cpu_seconds(pid) for name, pid in pids.items()})

    async def run(self) -> None:
        """Look every two seconds, which costs next to nothing."""
        while True:
            for name, pid in self.pids.items():
                self.peak[name] = max(self.peak.get(name, 0), memory(pid))
            await asyncio.sleep(2)

    def lines(self, seconds: float) -> list[str]:
        """A line for each process."""
        spent = {name: cpu_seconds(pid) - self.before[name] for name, pid in self.pids.items()}
        return [
            f"CHAIN process={name} cpu_s={cpu:.1f} cpu_us_a_row={cpu / ROWS * 1e6:.1f} cores={cpu / seconds:.2f} "
            f"peak_mb={self.peak.get(name, 0) / 1e6:.0f}"
            for name, cpu in spent.items()
        ]


async def _log_file(warehouse: DemoWarehouse) -> Path:
    admin = await asyncpg.connect(warehouse.url())
    try:
        data: str = await admin.fetchval("SHOW data_directory")
        log: str = await admin.fetchval("SHOW log_directory")
        return Path(data) / log / "bench.csv"
    finally:
        await admin.close()


async def _slowest(stack: Stack, count: int = 8) -> list[str]:
    """The platform's statements that took most, by the server's own account."""
    admin = await asyncpg.connect(stack.infrastructure.postgres.dsn())
    try:
        await admin.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        rows = await admin.fetch(_SLOWEST, count)
    finally:
        await admin.close()
    return [f"CHAIN statement_s={row['seconds']:.1f} calls={row['calls']} text={row['text']}" for row in rows]


async def _describe(gateway: Gateway, tables: list[str]) -> None:
    await gateway.ensure("/spaces", {"name": "Bench", "slug": "bench"})
    for number in range(_PRODUCTS):
        body = {"name": f"Product {number}", "tables": [{"name": name} for name in tables[number::_PRODUCTS]]}
        await gateway.ensure("/spaces/bench/products", body)


async def _finished(gateway: Gateway, job: dict[str, Any], began: float) -> tuple[dict[str, Any], float]:
    """The closed job, and when its reading was over."""
    read_at = 0.0
    while True:
        job = await gateway.get(f"/mining-jobs/{job['id']}")
        if job["phase"] not in ("waiting", "reading") and not read_at:
            read_at = time.monotonic() - began
        if job["state"] not in ("pending", "running"):
            return job, read_at
        await asyncio.sleep(0.25)


async def _chain(stack: Stack) -> list[Result]:
    given = {name.removeprefix("TIDEMARK_").lower(): value for name, value in stack.env.items()}
    operator = OperatorSettings.model_validate(given)
    warehouse = DemoWarehouse(stack.env["TIDEMARK_WAREHOUSE_URL"])
    await warehouse.prepare()
    size = write_log(await _log_file(warehouse), ROWS, warehouse.database, datetime.now(UTC))
    tenant = await ensure_tenant(operator, "Bench", "bench")
    async with Gateway(operator.gateway_url, development_token(operator, tenant)) as gateway:
        connector = await gateway.ensure("/connectors", {"name": "bench", "settings": warehouse.settings()})
        await _describe(gateway, busiest_tables(warehouse.database, 3 * _PRODUCTS))
        watch = Watch.of(stack)
        watching = asyncio.create_task(watch.run())
        began = time.monotonic()
        path = f"/connectors/{connector['id']}/query-log-mining"
        job, read = await _finished(gateway, await gateway.post(path, prefer="respond-async"), began)
        took = time.monotonic() - began
        watching.cancel()
    print(
        f"CHAIN rows={ROWS} log_mb={size / 1e6:.0f} read_s={read:.1f} read_us_a_row={read / ROWS * 1e6:.1f} "
        f"stored_s={took:.1f} state={job['state']}"
    )
    print(*watch.lines(took), *await _slowest(stack), sep="\n")
    if job["state"] != "completed" or job["rows_upserted"] < ROWS:
        raise RuntimeError(f"the chain lost rows: {job}")
    rate = ROWS / took
    ratio = rate / AIM_ROWS_A_SECOND
    return [Result("chain", rate, "rows/s", ratio, ">=1", ratio >= 1)]


def measure() -> list[Result]:
    """One run: a log of a million rows is its own repetition."""

    async def run() -> list[Result]:
        async with own_stack(_PROCESSES) as stack:
            return await _chain(stack)

    return asyncio.run(run())
