"""The whole flow from a real Superset: synced over HTTP, usage of its tables read back; what goes there goes here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.superset import ADMIN
from tests.real.conftest import RealSuperset
from tests.support.platform import Platform
from tests.support.processes import Running, running_services
from tests.support.syncing import Synced

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
async def services(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running_services(platform, Path(tmp_path_factory.mktemp("logs")), ("scraper", "aggregator")) as started:
        yield started


@pytest.fixture
async def shop(services: Running, superset: RealSuperset) -> AsyncIterator[Synced]:
    tenant = await services.new_tenant()
    settings = {"type": "superset", "base_url": superset.url, "username": ADMIN, "password": superset.password}
    async with services.client(tenant, "staff") as gateway:
        await gateway.post("/spaces", {"name": "Shop", "slug": "shop"})
        for table in ("public.orders", "public.customers", "finance.payments", "marketing.clicks"):
            await gateway.post("/spaces/shop/products", {"name": table, "tables": [{"name": table}]})
        connector = await gateway.post("/connectors", {"name": "superset", "settings": settings})
        yield Synced(gateway, tenant, connector["id"])


async def test_usage_of_a_real_superset_and_a_chart_deleted_there(shop: Synced, superset: RealSuperset) -> None:
    extra = await superset.api.chart("Soon gone", 1, {"groupby": ["method"]}, dashboards=(superset.content.board,))
    job = await shop.sync()
    assert (job["status"], job["rows_rejected"]) == ("completed", 0), job
    assert job["rows_upserted"] == job["rows_published"]
    before, resources = await shop.usage(), await shop.resources()
    assert {("chart", str(chart)) for chart in (*superset.content.charts, extra)} <= resources
    assert before["public.orders"][1] >= 3  # a table's chart, a virtual dataset's, one over that
    assert before["finance.payments"][1] >= 1
    assert before["public.customers"][0] >= 1
    assert before["marketing.clicks"][1] >= 1  # the saved query

    await superset.api.delete_chart(extra)
    again = await shop.sync()
    gone = resources - await shop.resources()
    print(f"REAL_SYNC rows={job['rows_upserted']} retired={again['references_retired']} gone={len(gone)}")
    assert again["status"] == "completed"
    assert gone == {("chart", str(extra)), ("dashboard_chart", f"{superset.content.board}:{extra}")}
    assert again["references_retired"] == 2
