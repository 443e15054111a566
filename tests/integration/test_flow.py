"""The whole flow through real processes: a real log, mined over HTTP, becomes popularity."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from cli.client import Gateway
from cli.demo.run import PRODUCTS, SPACE
from cli.demo.warehouse import DemoWarehouse
from cli.demo.workload import HABITS, PARAMETRISED_TIMES, USERS
from tests.support.platform import Platform
from tests.support.processes import Running, running_services
from tests.support.servers import Servers


@pytest.fixture(scope="module")
async def warehouse(servers: Servers) -> DemoWarehouse:
    demo = DemoWarehouse(servers.warehouse, database=f"shop_{uuid4().hex[:8]}")
    await demo.prepare()
    await demo.work(lambda _steps: None)
    return demo


@pytest.fixture(scope="module")
async def running(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running_services(platform, Path(tmp_path_factory.mktemp("logs"))) as services:
        yield services


@pytest.fixture(scope="module")
async def gateway(running: Running) -> AsyncIterator[Gateway]:
    tenant = await running.new_tenant()
    async with running.client(tenant, "staff") as client:
        yield client


EXECUTIONS = sum(habit.times * len(habit.users) for habit in HABITS) + PARAMETRISED_TIMES * len(USERS)


async def test_a_real_query_log_becomes_popularity(gateway: Gateway, warehouse: DemoWarehouse) -> None:
    connector = await gateway.post("/connectors", {"name": "Shop warehouse", "settings": warehouse.settings()})
    steps = (await gateway.post(f"/connectors/{connector['id']}/test"))["steps"]
    assert [step for step in steps if not step["ok"]] == []
    await gateway.post("/spaces", SPACE)
    for name, tables in PRODUCTS.items():
        body = {"name": name, "tables": [{"name": table} for table in tables]}
        await gateway.post("/spaces/shop/products", body)

    mined = await gateway.post(f"/connectors/{connector['id']}/query-log-mining")
    assert mined == {"rows_upserted": EXECUTIONS}
    assert await gateway.post("/spaces/shop/usage/aggregate") == {"products_updated": len(PRODUCTS)}

    stats = {row["product_name"]: row for row in (await gateway.get("/spaces/shop/usage"))["items"]}
    print(f"FLOW executions={EXECUTIONS} " + " ".join(f"{n}={r['query_count_30d']}" for n, r in stats.items()))
    for name, tables in PRODUCTS.items():
        wanted, users = _expected(tables)
        assert (stats[name]["query_count_30d"], stats[name]["unique_users_30d"]) == (wanted, len(users)), name
    unused = {product["name"] for product in await gateway.get("/spaces/shop/usage/unused")}
    assert unused == {"Returns", "Legacy reports"}
    unmatched = (await gateway.get("/spaces/shop/usage/unmatched"))["items"]
    assert [row["table"] for row in unmatched] == [f"{warehouse.database}.public.exchange_rates"]

    again = await gateway.post(f"/connectors/{connector['id']}/query-log-mining")
    assert again == {"rows_upserted": 0}


def _expected(tables: tuple[str, ...]) -> tuple[int, set[str]]:
    """Executions and users of a product, by hand: a habit reads it when it names one of its tables."""
    bare = [table.split(".", 1)[1] for table in tables]
    count, users = 0, set[str]()
    for habit in HABITS:
        if any(f"{table} " in habit.sql.replace("\n", " ") + " " for table in bare):
            count += habit.times * len(habit.users)
            users |= {"1" if user == "metabase" else user for user in habit.users}
    if "public.customers" in tables:
        count += PARAMETRISED_TIMES * len(USERS)
        users |= set(USERS)
    return count, users
