"""kill -9 of each process while 20,000 rows are mined, and replicas that share the work: no row lost, none twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.client import Gateway, GatewayError
from tests.support.loaded_warehouse import USERS, LoadedWarehouse, loaded_warehouse
from tests.support.platform import Platform
from tests.support.processes import FINAL_STATES, SHORT_LEASE, Running, eventually, finished_job, running_services
from tests.support.servers import Servers

ROWS = 20_000
BEFORE_THE_KILL = 2_000


@pytest.fixture(scope="module")
async def warehouse(servers: Servers) -> LoadedWarehouse:
    return await loaded_warehouse(servers.warehouse, ROWS)


@pytest.fixture(scope="module")
async def running(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    names = ("log_miner", "aggregator")
    async with running_services(platform, Path(tmp_path_factory.mktemp("logs")), names, **SHORT_LEASE) as services:
        yield services


@dataclass(frozen=True, slots=True)
class Mining:
    """A job on its way in a tenant of its own, whose one product is the table that all statements name."""

    gateway: Gateway
    connector: str
    job: str

    async def is_half_way(self) -> bool:
        """Once some rows are sent: whether not all are."""

        async def sent() -> dict[str, Any] | None:
            state: dict[str, Any] = await self.gateway.get(self.job)
            return state if state["rows_sent"] >= BEFORE_THE_KILL or state["state"] in FINAL_STATES else None

        state = await eventually(sent, pause=0.02)
        return state["state"] not in FINAL_STATES

    async def statistics(self) -> dict[str, int]:
        """What the product's statistics say once recomputed."""
        await self.gateway.post("/spaces/sales/usage/aggregate")
        (row,) = (await self.gateway.get("/spaces/sales/usage"))["items"]
        return {"queries": row["query_count_30d"], "users": row["unique_users_30d"]}


async def start_mining(gateway: Gateway, warehouse: LoadedWarehouse, name: str = "warehouse") -> Mining:
    connector = await gateway.post("/connectors", warehouse.connector(name))
    path = f"/connectors/{connector['id']}/query-log-mining"
    job = await gateway.post(path, prefer="respond-async")
    return Mining(gateway, connector["id"], f"/mining-jobs/{job['id']}")


async def describe_product(gateway: Gateway) -> None:
    await gateway.post("/spaces", {"name": "Sales", "slug": "sales"})
    await gateway.post("/spaces/sales/products", {"name": "Sales", "tables": [{"name": "public.sale"}]})


@asynccontextmanager
async def half_way(running: Running, warehouse: LoadedWarehouse) -> AsyncIterator[Mining]:
    """A job that has sent some of its rows; another one where it was over before that was seen."""
    for _ in range(5):
        async with running.client(await running.new_tenant(), "staff") as gateway:
            await describe_product(gateway)
            mining = await start_mining(gateway, warehouse)
            if await mining.is_half_way():
                yield mining
                return
    raise AssertionError("each job was over before anything could be killed")


@pytest.mark.parametrize("victim", ["log_miner", "aggregator", "gateway", "broker"])
async def test_a_kill_loses_nothing_and_counts_nothing_twice(
    victim: str, running: Running, warehouse: LoadedWarehouse, servers: Servers
) -> None:
    if victim == "broker" and servers.broker is None:
        pytest.skip("the broker is not this run's own, so it may not be killed")
    async with half_way(running, warehouse) as mining:
        started = time.monotonic()
        await _kill_and_restart(victim, running, servers)
        job = await finished_job(mining.gateway, mining.job)
        seconds = time.monotonic() - started
        found = await mining.statistics()
    lost, double = max(0, ROWS - found["queries"]), max(0, found["queries"] - ROWS)
    print(f"KILL victim={victim} rows={ROWS} lost={lost} double={double} state={job['state']} seconds={seconds:.1f}")
    assert (job["state"], job["rows_upserted"], job["rows_rejected"]) == ("completed", ROWS, 0)
    assert found == {"queries": ROWS, "users": USERS}


async def _kill_and_restart(victim: str, running: Running, servers: Servers) -> None:
    if victim == "broker":
        assert servers.broker is not None
        await servers.broker.kill()
        await servers.broker.start()
    else:
        await running.kill(victim)
        await running.restart(victim)


async def test_replicas_share_several_connectors(
    platform: Platform, warehouse: LoadedWarehouse, tmp_path: Path
) -> None:
    names = ("log_miner", "log_miner-2", "aggregator", "aggregator-2")
    async with running_services(platform, tmp_path, names) as running:
        tenant = await running.new_tenant()
        async with running.client(tenant, "staff") as gateway:
            await describe_product(gateway)
            minings = await asyncio.gather(*(start_mining(gateway, warehouse, f"w{n}") for n in range(3)))
            jobs = await asyncio.gather(*(finished_job(gateway, mining.job) for mining in minings))
            found = await minings[0].statistics()
    upserted = [job["rows_upserted"] for job in jobs]
    print(f"REPLICAS connectors=3 upserted={upserted} counted={found['queries']} expected={3 * ROWS}")
    assert upserted == [ROWS] * 3
    assert found == {"queries": 3 * ROWS, "users": USERS}


async def test_a_second_start_names_the_running_job(running: Running, warehouse: LoadedWarehouse) -> None:
    async with running.client(await running.new_tenant(), "staff") as gateway:
        mining = await start_mining(gateway, warehouse)
        with pytest.raises(GatewayError) as refused:
            await gateway.post(f"/connectors/{mining.connector}/query-log-mining")
        assert refused.value.status == 409
        assert mining.job.rsplit("/", 1)[1] in str(refused.value.body)
        await gateway.post(f"{mining.job}/cancel")
        job = await finished_job(gateway, mining.job)
        assert job["state"] == "cancelled"
