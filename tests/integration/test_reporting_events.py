"""What a deployment is follows from all its states, in whatever order and however often they come."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.integration.reporting_harness import NOON, Harness, deployed, replicas
from tests.support.platform import Platform

STATES = ("PENDING", "IN_PROGRESS", "SUCCEEDED")


@pytest.fixture(scope="module")
async def reporting(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (one,):
        yield one


@pytest.fixture
async def tenant(reporting: Harness) -> UUID:
    """One with the component `shop` and the environment `live`."""
    tenant = uuid4()
    await reporting.named("component", tenant, "shop")
    await reporting.named("environment", tenant, "live")
    return tenant


async def test_states_are_folded(reporting: Harness, tenant: UUID) -> None:
    await reporting.take(
        deployed(tenant, 1, "IN_PROGRESS", 0, started_at=NOON - timedelta(hours=2), version="1.2", commit_sha="abc"),
        deployed(tenant, 1, "SUCCEEDED", 9, finished_at=NOON - timedelta(minutes=111), deployed_by="ada"),
        deployed(tenant, 1, "PENDING", -1, metadata={"run": 7}, is_rework=True),
    )
    (one,) = await reporting.deployments(tenant)
    assert (one["status"], one["version"], one["commit_sha"], one["deployed_by"]) == ("SUCCEEDED", "1.2", "abc", "ada")
    assert (one["finished_at"] - one["started_at"], one["moment"]) == (timedelta(minutes=9), one["finished_at"])
    assert (one["is_rework"], json.loads(one["metadata"])) == (True, {"run": 7})
    assert await reporting.count("deployment_state", tenant) == 3


async def test_a_rollback_of_what_is_current_finds_its_deployment(reporting: Harness, tenant: UUID) -> None:
    rollback = deployed(tenant, 99, "ROLLED_BACK", 30, rolls_back_current=True)
    await reporting.take(rollback)
    assert await reporting.deployments(tenant) == []
    await reporting.take(deployed(tenant, 1, "SUCCEEDED", 10))
    assert [each["status"] for each in await reporting.deployments(tenant)] == ["ROLLED_BACK"]
    await reporting.take(deployed(tenant, 2, "SUCCEEDED", 20), deployed(tenant, 3, "SUCCEEDED", 40))
    found = [each["status"] for each in await reporting.deployments(tenant)]
    assert found == ["SUCCEEDED", "ROLLED_BACK", "SUCCEEDED"]


async def test_a_success_that_is_reported_late_was_current_all_the_same(reporting: Harness, tenant: UUID) -> None:
    await reporting.take(deployed(tenant, 1, "SUCCEEDED", 10))
    await reporting.take(deployed(tenant, 99, "ROLLED_BACK", 30, rolls_back_current=True, sequence=0))
    late = deployed(tenant, 2, "SUCCEEDED", 60, sequence=7, finished_at=NOON - timedelta(minutes=100))
    await reporting.take(late)
    assert [each["status"] for each in await reporting.deployments(tenant)] == ["SUCCEEDED", "ROLLED_BACK"]
    await reporting.take(deployed(tenant, 2, "SUCCEEDED", 70))
    assert [each["status"] for each in await reporting.deployments(tenant)] == ["SUCCEEDED", "SUCCEEDED"]


async def test_what_has_no_place_waits_for_it(reporting: Harness, tenant: UUID) -> None:
    await reporting.take(
        deployed(tenant, 1, "SUCCEEDED", 1, component_ref="Later"), deployed(tenant, 2, "SUCCEEDED", 1)
    )
    assert (await reporting.count("parked_deployment", tenant), len(await reporting.deployments(tenant))) == (1, 1)
    component = await reporting.named("component", tenant, "later")
    assert await reporting.recording.unpark(tenant) == 1
    assert component in {each["component_id"] for each in await reporting.deployments(tenant)}
    assert await reporting.count("parked_deployment", tenant) == 0


async def test_replicas_that_write_at_the_same_time_lose_nothing(platform: Platform) -> None:
    async with replicas(platform, 2) as (one, other):
        tenant = uuid4()
        await one.named("component", tenant, "shop")
        await one.named("environment", tenant, "live")
        # States of one deployment go out together, each by itself.
        told = [deployed(tenant, n, status, n, sequence=at) for n in range(1, 61) for at, status in enumerate(STATES)]
        told += [deployed(tenant, 99, "ROLLED_BACK", n, sequence=9, rolls_back_current=True) for n in (5, 15)]
        await asyncio.gather(*((one, other)[at % 2].take(each) for at, each in enumerate(told)))
        found = {row["id"].int: row["status"] for row in await one.deployments(tenant)}
    assert found == {n: "ROLLED_BACK" if n in (5, 15) else "SUCCEEDED" for n in range(1, 61)}
