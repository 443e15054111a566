"""The scraper forgets deleted tenants and erased persons."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from libs.common.auth import Principal
from libs.common.broker import build_broker
from libs.common.clock import shifted_clock
from libs.common.collecting.erasing import without_erased
from libs.common.connector_copy import store_change
from libs.common.db import Database
from libs.common.events import ConnectorChanged, TenantChanged, UserErased
from services.scraper.app import ScraperProcess
from services.scraper.domain import SyncJob
from services.scraper.settings import Settings
from services.scraper.store import PLACES
from services.scraper.tenant_tables import TENANT_TABLES
from tests.integration.aggregator_harness import Source
from tests.support.platform import Platform

CANARY = "canary.person@example.org"


@pytest.fixture(scope="module")
async def scraper(platform: Platform) -> AsyncIterator[ScraperProcess]:
    """The scraper's objects, with nothing running by itself."""
    settings = Settings.model_validate(platform.settings_values("scraper"))
    database, broker = await Database.open(settings, "scraper"), build_broker(settings, "scraper")
    yield ScraperProcess(settings, database, broker, CollectorRegistry(), shifted_clock())
    await database.close()


async def started(scraper: ScraperProcess, tenant: UUID) -> SyncJob:
    """A job of somebody for a connector of hers, with a place to go on from."""
    connector = uuid4()
    change = ConnectorChanged(tenant=tenant, id=connector, version=1, name="BI", type="superset", sealed_settings="v1")
    async with scraper.database.work() as connection:
        assert await store_change(connection, change)
        await PLACES.origin(connection, tenant, connector, shifted_clock()())
        await PLACES.move(connection, tenant, connector, {"log": {"at": 1}})
    caller = Principal(tenant=tenant, subject="x", username=CANARY, connector_id=connector, connector_version=1)
    return await scraper.scraper.sync_connector(caller, connector, uuid4())


async def rows(platform: Platform, tenant: UUID) -> dict[str, int]:
    admin = await asyncpg.connect(platform.admin_url)
    try:
        return {
            table: await admin.fetchval(f"SELECT count(*) FROM scraper.{table} WHERE tenant_id = $1", tenant)
            for table in TENANT_TABLES
        }
    finally:
        await admin.close()


async def test_a_deleted_tenant_leaves_nothing(scraper: ScraperProcess, platform: Platform) -> None:
    gone, other = uuid4(), uuid4()
    job, kept = await started(scraper, gone), await started(scraper, other)
    before = await rows(platform, other)
    await scraper.tenants.follow([TenantChanged(tenant=gone, id=gone, version=2, deleted=True)])
    stopped = await scraper.scraper.jobs.find(Principal(tenant=gone, subject="x"), job.id)
    assert (stopped.state, stopped.cancel_requested) == ("cancelled", True)
    await scraper.tenants.purge()
    assert set((await rows(platform, gone)).values()) == {0}
    assert await rows(platform, other) == before
    assert (await scraper.scraper.jobs.find(Principal(tenant=other, subject="x"), kept.id)).state == "pending"


async def test_an_erased_person_asked_for_nothing_and_is_sent_no_more(scraper: ScraperProcess) -> None:
    tenant = uuid4()
    job, names = await started(scraper, tenant), scraper.scraping.erased
    assert job.requested_by == CANARY
    event = UserErased(tenant=tenant, sealed_name=names.sealed(tenant, CANARY), pseudonym="erased:0123abcd")
    await scraper.erasing.follow(event)
    assert await scraper.erasing.rewrite_pending() == 1
    caller = Principal(tenant=tenant, subject="x")
    assert (await scraper.scraper.jobs.find(caller, job.id)).requested_by == "erased:0123abcd"
    assert (await started(scraper, tenant)).requested_by == "erased:0123abcd"

    source = Source(tenant=tenant)
    records = [source.record("q1", executed_by=CANARY), source.chart("c1", executed_by="bob"), source.record("q2")]
    async with scraper.database.work() as connection:
        sent = await without_erased(connection, names, records)
    assert [each.executed_by for each in sent] == ["erased:0123abcd", "bob", None]
    assert [each.id for each in sent] == [each.id for each in records]
