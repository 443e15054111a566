"""The API of saved queries through the gateway, on a real Postgres, word for word where the specification has words."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.query_harness import PASSWORD, Shop, Stack, new_shop, query_stack
from tests.support.platform import Platform
from tests.support.servers import Servers


@pytest.fixture(scope="module")
async def stack(platform: Platform, servers: Servers) -> AsyncIterator[Stack]:
    async with query_stack(platform, servers) as running:
        yield running


@pytest.fixture
async def shop(stack: Stack) -> Shop:
    return await new_shop(stack)


async def test_the_documented_example(shop: Shop) -> None:
    text = "SELECT region, SUM(amount) as total FROM sales WHERE date = '{{ date }}' GROUP BY region ORDER BY 2 DESC"
    made = await shop.query(text, "Daily Sales Report", description="Aggregates daily sales by region", tags=["sales"])
    assert made.status == 201
    assert made.body["status"] == "success"
    assert made.body["data"]["slug"] == "daily-sales-report"
    found = await shop.call(
        "POST",
        "analytics/queries/daily-sales-report/execute/",
        {"params": {"date": "2024-01-15", "region": "North America"}},
    )
    assert found.status == 200, found.body
    key = found.body.pop("execution_key")
    assert key.startswith("exec_")
    assert found.body == {
        "status": "success",
        "message": "Query executed successfully",
        "data": [{"region": "North America", "total": 150000.0}, {"region": "Europe", "total": 120000.5}],
        "total": 2,
        "truncated": False,
    }
