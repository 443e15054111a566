"""What is executed counts as usage of the tables that it read, from end to end."""

from pathlib import Path
from typing import Any

import aiohttp

from tests.integration.query_harness import Stack, customer, new_shop
from tests.support.platform import Platform
from tests.support.processes import eventually, running_services
from tests.support.servers import Servers


async def test_a_saved_query_is_usage_of_its_tables(platform: Platform, servers: Servers, tmp_path: Path) -> None:
    async with (
        customer(servers) as someone,
        running_services(platform, tmp_path, ("query_executor", "aggregator")) as running,
        aiohttp.ClientSession() as session,
    ):
        shop = await new_shop(Stack(running.gateway_url, platform, someone, session))
        stack, tenant = shop.stack, shop.tenant
        await stack.call("POST", "/spaces", tenant, {"name": "Shop"})
        product = {"name": "Sales", "tables": [{"name": f"{someone.database}.public.sales"}]}
        assert (await stack.call("POST", "/spaces/shop/products", tenant, product)).status == 201
        await shop.query("SELECT amount FROM sales WHERE id = {{ id }}", "Amount of one")
        for number in range(3):
            assert (await shop.execute("amount-of-one", id=number)).status == 200

        async def popular() -> Any:
            found = await stack.call("GET", "/spaces/shop/usage/popular-queries", tenant)
            return [item for item in found.body["items"] if item["query_count"] == 3]

        (query,) = await eventually(popular)
        assert query["sql_text"] == "SELECT amount FROM sales WHERE id = ?"
        assert query["tables"] == [f"{someone.database}.public.sales"]
