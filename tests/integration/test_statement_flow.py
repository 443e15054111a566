"""Counters of pg_stat_statements through real processes: they add up to a product's figures; a schedule beside them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.mining import Warehouse, administrator, fresh_warehouse
from tests.support.platform import Platform
from tests.support.processes import Running, running_services
from tests.support.servers import Servers


@pytest.fixture(scope="module")
async def running(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running_services(platform, Path(tmp_path_factory.mktemp("logs"))) as services:
        yield services


async def work(warehouse: Warehouse, user: str, times: int) -> None:
    connection = await warehouse.connect(user)
    for number in range(times):
        await connection.fetch("SELECT total FROM orders WHERE id = $1", number)
    await connection.close()


async def test_counts_become_figures(running: Running, servers: Servers) -> None:
    tenant = await running.new_tenant()
    async with fresh_warehouse(servers.warehouse) as warehouse, running.client(tenant, "staff") as gateway:
        async with administrator(warehouse.url) as admin:
            await admin.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE orders (id int, total int)")
            await admin.execute("GRANT SELECT ON orders TO PUBLIC")
        ada, bob = [await warehouse.login(name) for name in ("ada", "bob")]
        schedule = {"cron": "0 3 1 1 *", "timezone": "Europe/Berlin"}
        body = {"name": "Shop", "settings": warehouse.settings(mode="statements"), "schedule": schedule}
        path = f"/connectors/{(await gateway.post('/connectors', body))['id']}"
        await gateway.post("/spaces", {"name": "Shop", "slug": "shop"})
        await gateway.post("/spaces/shop/products", {"name": "Orders", "tables": [{"name": "orders"}]})

        await work(warehouse, ada, 4)
        assert await gateway.post(f"{path}/query-log-mining") == {"rows_upserted": 0}
        totals = []
        for times in (40, 2):
            await work(warehouse, ada, times)
            await work(warehouse, bob, 2 * times)
            assert await gateway.post(f"{path}/query-log-mining") == {"rows_upserted": 2}
            await gateway.post("/spaces/shop/usage/aggregate")
            (stats,) = (await gateway.get("/spaces/shop/usage"))["items"]
            totals.append((stats["query_count_30d"], stats["unique_users_30d"], stats["reference_count"]))
        print(f"COUNTERS executions={totals[-1][0]} expected={3 * 42} users={totals[-1][1]}")
        assert totals == [(3 * 40, 2, 0), (3 * 42, 2, 0)]

        state = await gateway.get(f"{path}/schedule")
        assert (state["schedule"], state["failures"]) == (schedule, 0)
        assert state["next_run_at"].endswith("-01-01T02:00:00Z")
        assert state["last_job"]["state"] == "completed"
