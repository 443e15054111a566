"""Syncs that start by the clock."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from libs.common.connector_copy import store_change
from libs.common.events import ConnectorChanged, ScheduleRef
from tests.integration.sync_harness import Place, SyncHarness, sync_harness
from tests.stubs.superset.server import SupersetStub, running
from tests.support.platform import Platform
from tests.support.syncing import recent_content


@pytest.fixture(scope="module")
async def harness(platform: Platform) -> AsyncIterator[SyncHarness]:
    async with sync_harness(platform) as started:
        yield started


@pytest.fixture
async def place(harness: SyncHarness) -> AsyncIterator[Place]:
    async with running(SupersetStub(recent_content(now=harness.clock.now.timestamp()))) as stub:
        yield await harness.connector(stub)


async def test_a_sync_starts_by_the_clock_and_rests_after_failures(place: Place) -> None:
    process, clock = place.harness.scraper, place.harness.clock
    change = ConnectorChanged(
        tenant=place.tenant,
        id=place.connector,
        version=2,
        name="bi",
        type="superset",
        schedule=ScheduleRef(cron="*/10 * * * *", timezone="UTC"),
    )
    async with process.database.work() as connection:
        await process.schedules.keep(connection, change)
    planned, newest = await process.scraper.schedule(place.caller, place.connector)
    assert planned is not None
    assert (planned.next_run_at > clock(), newest) == (True, None)
    clock.advance(timedelta(hours=3))  # missed runs do not pile up
    await process.schedules.start_due(process.scraper.sync_on_schedule)
    _, started = await process.scraper.schedule(place.caller, place.connector)
    assert started is not None
    assert (started.state, started.requested_by) == ("pending", "schedule")
    assert len(await process.scraper.list_jobs(place.caller, place.connector, None, 10)) == 1
    async with process.database.work() as connection:  # settings that cannot be opened: it fails
        await store_change(connection, replace_settings(change))
    await place.run(started)
    failed, _ = await process.scraper.schedule(place.caller, place.connector)
    assert failed is not None
    assert (failed.failures, (await place.state(started)).error_code) == (1, "settings_unreadable")


def replace_settings(change: ConnectorChanged) -> ConnectorChanged:
    return change.model_copy(update={"version": 3, "sealed_settings": "v1.k1.broken"})


async def test_the_schedule_of_another_tenant_is_not_shown(place: Place) -> None:
    stranger = replace(place.caller, tenant=uuid4(), connector_version=None)
    with pytest.raises(Exception, match="no such connector"):
        await place.harness.scraper.scraper.schedule(stranger, place.connector)
