"""Deployments through the gateway: told, listed, changed through their states, parked."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs.common.events import DeploymentRecorded
from libs.common.ids import deployment_id
from libs.common.topics import DEPLOYMENT_RECORDED
from tests.integration.reporting_app import Company, Stack, new_company, reporting_stack
from tests.integration.reporting_harness import NOON, MovedClock
from tests.support.platform import Platform
from tests.support.processes import eventually


@pytest.fixture(scope="module")
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(scope="module")
async def stack(platform: Platform, clock: MovedClock) -> AsyncIterator[Stack]:
    async with reporting_stack(platform, clock) as running:
        yield running


@pytest.fixture
async def company(stack: Stack, clock: MovedClock) -> Company:
    clock.now = NOON
    return await new_company(stack)


def at(minutes: float) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


async def test_a_deployment_is_told(company: Company) -> None:
    told = {
        "version": "1.4",
        "startedAt": at(-9),
        "finishedAt": at(-3),
        "commitSha": "abc",
        "commitAt": at(-90),
        "source": "jenkins",
        "metadata": {"run": 7},
        "isRework": True,
    }
    made = await company.deploy("succeeded", **told)
    assert made.status == 201
    assert told.items() <= made.body.items()
    assert made.body["status"] == "SUCCEEDED"
    assert made.body["moment"] == told["finishedAt"]
    assert made.body["componentName"] == "shop"
    assert made.body["environmentName"] == "live"
    assert made.body["deployedBy"] == "tester"
    shown = (await company.call("GET", f"deployments/{made.body['id']}")).ok()
    assert made.body.items() <= shown.items()
    assert shown["allowed"] == ["ROLLED_BACK"]
    assert [each["status"] for each in shown["states"]] == ["SUCCEEDED"]


async def test_a_senders_own_id_is_one_deployment(company: Company) -> None:
    first = await company.deploy("IN_PROGRESS", externalId="run-1", source="jenkins", recordedAt=at(-10))
    second = await company.deploy("SUCCEEDED", externalId="run-1", source="jenkins", recordedAt=at(-5))
    late = await company.deploy("PENDING", externalId="run-1", source="jenkins", recordedAt=at(-20))
    other = await company.deploy("PENDING", externalId="run-1", source="github", recordedAt=at(-20))
    assert [each.status for each in (first, second, late, other)] == [201, 200, 200, 201]
    assert late.body["status"] == "SUCCEEDED"
    assert first.body["id"] == late.body["id"] == str(deployment_id(company.tenant, "jenkins", "run-1"))
    assert other.body["id"] != first.body["id"]
    states = (await company.call("GET", f"deployments/{first.body['id']}")).ok()["states"]
    assert [each["status"] for each in states] == ["SUCCEEDED", "IN_PROGRESS", "PENDING"]
    again = await company.deploy("IN_PROGRESS", externalId="run-1", source="jenkins", recordedAt=at(-10))
    assert again.status == 200
    assert (await company.call("GET", f"deployments/{first.body['id']}")).ok()["states"] == states, "told already"


async def test_places_may_be_named(company: Company) -> None:
    body = {"componentRef": "Shop", "environmentRef": " LIVE ", "status": "SUCCEEDED"}
    made = (await company.call("POST", "deployments", body)).ok()
    assert (made["componentId"], made["environmentId"]) == (company.component, company.environment)
    unknown = await company.call("POST", "deployments", body | {"componentRef": "?", "environmentRef": "!"})
    assert (unknown.status, unknown.fields) == (422, {"componentRef", "environmentRef"})
    assert "POST /api/v1/components" in unknown.body["detail"]
    assert (await company.call("GET", "deployments/parked")).ok()["items"] == []


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"startedAt": at(0), "finishedAt": at(-1)}, "finishedAt"),
        ({"finishedAt": at(6)}, "finishedAt"),
        ({"recordedAt": at(6)}, "recordedAt"),
        ({"startedAt": "1969-01-01T00:00:00Z"}, "startedAt"),
        ({"startedAt": "2026-03-18T12:00:00"}, "startedAt"),
        ({"status": "DONE"}, "status"),
        ({"sequence": -1}, "sequence"),
        ({"version": "a\0"}, "version"),
        ({"metadata": {"a": "x" * 70_000}}, "metadata"),
        ({"componentId": None}, "componentId"),
        ({"componentId": "x"}, "componentId"),
        ({"externalId": "x", "id": str(uuid4())}, "externalId"),
        ({"rollsBackCurrent": True}, "rollsBackCurrent"),
    ],
)
async def test_what_is_wrong_is_named(company: Company, more: dict[str, Any], field: str) -> None:
    status = more.pop("status", "SUCCEEDED")
    refused = await company.deploy(status, **more)
    assert refused.status == 422, refused
    assert field in refused.fields, refused
    assert (await company.call("GET", "deployments")).ok()["items"] == []


async def test_a_time_a_little_ahead_is_now(company: Company) -> None:
    made = (await company.deploy(finishedAt=at(4), recordedAt=at(4))).ok()
    assert (made["finishedAt"], made["recordedAt"]) == (at(0), at(0))


async def test_states_follow_each_other(company: Company, clock: MovedClock) -> None:
    path = f"deployments/{(await company.deploy('PENDING')).ok()['id']}"
    for minutes, status, started, finished in (
        (1, "IN_PROGRESS", at(1), None),
        (4, "SUCCEEDED", at(1), at(4)),
        (9, "ROLLED_BACK", at(1), at(4)),
    ):
        clock.now = NOON + timedelta(minutes=minutes)
        changed = (await company.call("PATCH", path, {"status": status.lower()})).ok()
        assert (changed["status"], changed["startedAt"], changed["finishedAt"]) == (status, started, finished)
    shown = (await company.call("GET", path)).ok()
    assert [each["status"] for each in shown["states"]] == ["ROLLED_BACK", "SUCCEEDED", "IN_PROGRESS", "PENDING"]
    assert (shown["allowed"], shown["sequence"]) == ([], 3)
    refused = await company.call("PATCH", path, {"status": "PENDING"})
    assert (refused.status, refused.body["allowed"], refused.body["current"]) == (409, [], "ROLLED_BACK")


@pytest.mark.parametrize(
    ("current", "wanted"),
    [("PENDING", "ROLLED_BACK"), ("SUCCEEDED", "IN_PROGRESS"), ("SUCCEEDED", "FAILED"), ("FAILED", "SUCCEEDED")],
)
async def test_a_state_that_cannot_follow_is_refused(company: Company, current: str, wanted: str) -> None:
    path = f"deployments/{(await company.deploy(current)).ok()['id']}"
    refused = await company.call("PATCH", path, {"status": wanted})
    assert refused.status == 409
    assert wanted not in refused.body["allowed"]
    assert all(each in refused.body["detail"] for each in refused.body["allowed"])
    assert (await company.call("GET", path)).ok()["status"] == current


async def test_facts_are_added_and_conflicts_seen(company: Company) -> None:
    path = f"deployments/{(await company.deploy('SUCCEEDED', startedAt=at(-9), finishedAt=at(-5))).ok()['id']}"
    changed = (await company.call("PATCH", path, {"version": "2", "metadata": {"a": 1}, "sequence": 0})).ok()
    assert (changed["version"], changed["metadata"], changed["sequence"]) == ("2", {"a": 1}, 1)
    assert changed["finishedAt"] == at(-5)
    assert (await company.call("PATCH", path, {"version": "2"})).ok() == changed, "nothing new"
    stale = await company.call("PATCH", path, {"version": "3", "sequence": 0})
    assert (stale.status, stale.body["sequence"]) == (409, 1)
    early = await company.call("PATCH", path, {"finishedAt": at(-10)})
    assert (early.status, early.fields) == (422, {"finishedAt"})
    assert (await company.call("PATCH", path, {"startedAt": at(-4)})).fields == {"startedAt"}
    assert (await company.call("PATCH", path, {"componentId": company.component})).status == 422
    assert (await company.call("PATCH", f"deployments/{uuid4()}", {})).status == 404


async def test_lists_are_filtered_and_paged(company: Company) -> None:
    other = (await company.call("POST", "components", {"name": "other"})).ok()["id"]
    made = [
        (await company.deploy("FAILED" if number == 2 else "SUCCEEDED", finishedAt=at(-number))).ok()["id"]
        for number in range(5)
    ]
    (await company.deploy(componentId=other, finishedAt=at(-60))).ok()

    async def ids(query: str) -> list[str]:
        return [each["id"] for each in (await company.call("GET", f"deployments?{query}")).ok()["items"]]

    assert (await ids(""))[:5] == made
    assert await ids("status=failed") == [made[2]]
    assert len(await ids(f"componentId={other}")) == 1
    assert len(await ids(f"environmentId={company.environment}")) == 6
    assert await ids(f"environmentId={uuid4()}") == []
    assert await ids(f"from={at(-3)}&to={at(-1)}") == [made[2], made[3]]
    first = (await company.call("GET", "deployments?limit=4")).ok()
    second = (await company.call("GET", f"deployments?limit=4&cursor={first['nextCursor']}")).ok()
    found = [each["id"] for each in first["items"] + second["items"]]
    assert (found[:5], len(set(found)), second["nextCursor"]) == (made, 6, None)
    for query in ("status=x", "from=x", "componentId=x", "limit=0"):
        assert (await company.call("GET", f"deployments?{query}")).status == 422, query


async def test_what_others_publish_waits_for_its_place(company: Company) -> None:
    event = DeploymentRecorded(
        tenant=company.tenant,
        deployment_id=uuid4(),
        component_ref="Web",
        environment_ref="live",
        status="SUCCEEDED",
        recorded_at=NOON - timedelta(minutes=5),
        source="ci",
    )
    foreign = event.model_copy(update={"deployment_id": uuid4(), "environment_ref": "moon"})
    await company.stack.publish(DEPLOYMENT_RECORDED, event, foreign)

    async def parked() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await company.call("GET", "deployments/parked")).ok()["items"]
        return found if len(found) == 2 else []

    reasons = {each["deploymentId"]: each["reason"] for each in await eventually(parked)}
    assert reasons[str(event.deployment_id)] == 'unknown component "web"'
    assert reasons[str(foreign.deployment_id)] == 'unknown component "web", unknown environment "moon"'
    component = (await company.call("POST", "components", {"name": "website", "refs": ["WEB"]})).ok()
    found = (await company.call("GET", f"deployments?componentId={component['id']}")).ok()["items"]
    assert [each["id"] for each in found] == [str(event.deployment_id)]
    (left,) = (await company.call("GET", "deployments/parked")).ok()["items"]
    assert left["reason"] == 'unknown environment "moon"'
    path = f"environments/{company.environment}"
    assert (await company.call("PATCH", path, {"refs": ["moon"]})).status == 200
    assert (await company.call("GET", "deployments/parked")).ok()["items"] == []
    assert len((await company.call("GET", f"deployments?componentId={component['id']}")).ok()["items"]) == 2


def test_times_are_written_as_the_api_does() -> None:
    assert at(0) == "2026-03-18T12:00:00Z"
    assert datetime.fromisoformat(at(0)).tzinfo == UTC
