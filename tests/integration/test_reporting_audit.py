"""Audit events: what is done here comes back through Kafka; others tell theirs by HTTP or straight to the topic."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.events import AuditRecorded
from libs.common.sealed import MASK
from libs.common.topics import AUDIT_RECORDED
from tests.integration.reporting_app import Company, Stack, new_company, reporting_stack
from tests.support.platform import Platform
from tests.support.processes import eventually

CANARY = "canary-secret-7731"


@pytest.fixture(scope="module")
async def stack(platform: Platform) -> AsyncIterator[Stack]:
    async with reporting_stack(platform) as running:
        yield running


@pytest.fixture
async def company(stack: Stack) -> Company:
    return await new_company(stack)


async def audited(company: Company, count: int, query: str = "") -> list[dict[str, Any]]:
    """The events that fit, the oldest first, once they are so many."""

    async def so_many() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await company.call("GET", f"audit-events?limit=500&{query}")).ok()["items"]
        return found[::-1] if len(found) >= count else []

    found: list[dict[str, Any]] = await eventually(so_many)
    assert len(found) == count
    return found


async def test_changes_here_come_back_as_audit_events(company: Company) -> None:
    path = f"components/{company.component}"
    changed = (await company.call("PATCH", path, {"lifecycle": "deprecated", "refs": ["store"]})).ok()
    (await company.call("PATCH", path, {"lifecycle": "deprecated"})).ok()
    assert (await company.call("DELETE", path)).status == 204
    created, updated, deleted = await audited(company, 3, "resourceType=component")
    assert [each["action"] for each in (created, updated, deleted)] == ["CREATE", "UPDATE", "DELETE"]
    for each in (created, updated, deleted):
        assert each["eventType"] == f"COMPONENT_{each['action']}"
        assert (each["resourceId"], each["componentId"]) == (company.component, company.component)
        assert (each["actorType"], each["actorUsername"], each["environment"]) == ("user", "tester", "production")
    times = ("createdAt", "updatedAt")
    told = {name: value for name, value in updated["currentResource"].items() if name not in times}
    assert told == {name: value for name, value in changed.items() if name not in times}
    assert set(updated["currentResource"]) == set(changed)
    assert updated["previousResource"]["lifecycle"] == "production"
    assert deleted["currentResource"] is None


async def test_deployments_through_the_api_are_audited_and_name_their_component(company: Company) -> None:
    made = (await company.deploy("IN_PROGRESS")).ok()
    changed = (await company.call("PATCH", f"deployments/{made['id']}", {"status": "SUCCEEDED"})).ok()
    created, updated = await audited(company, 2, f"componentId={company.component}&resourceType=deployment")
    assert (created["action"], updated["action"]) == ("CREATE", "UPDATE")
    assert updated["currentResource"]["status"] == "SUCCEEDED"
    assert set(updated["currentResource"]) == set(changed) - {"componentName", "environmentName"}


async def test_others_tell_theirs(company: Company) -> None:
    body = {
        "action": "approve",
        "resourceType": "release",
        "resourceId": "r-1",
        "componentId": company.component,
        "actorId": "u-7",
        "actorUsername": "jane_doe",
        "actorType": "user",
        "currentResource": {
            "name": "r",
            "settings": {"password": CANARY, "list": [{"api_key": CANARY}]},
            "token": None,
        },
    }
    made = (await company.call("POST", "audit-events", body, "publisher")).ok()
    assert (made["action"], made["eventType"]) == ("APPROVE", "RELEASE_APPROVE")
    assert made["currentResource"] == {
        "name": "r", "settings": {"password": MASK, "list": [{"api_key": MASK}]}, "token": None,
    }  # fmt: skip
    found = await audited(company, 1, "resourceType=release&resourceId=r-1&actorId=u-7&action=approve")
    assert found == [made]
    own = (
        await company.call("POST", "audit-events", {"action": "VIEW", "resourceType": "page", "resourceId": "p"})
    ).ok()
    assert (own["actorUsername"], own["actorType"]) == ("tester", "user")
    gone = {"action": "DELETE", "resourceType": "page", "resourceId": "p", "currentResource": {"a": 1}}
    assert (await company.call("POST", "audit-events", gone)).ok()["currentResource"] is None


async def test_the_same_event_is_stored_once(company: Company) -> None:
    body = {"eventId": str(uuid4()), "action": "VIEW", "resourceType": "page", "resourceId": "p"}
    first = (await company.call("POST", "audit-events", body)).ok()
    assert (await company.call("POST", "audit-events", body | {"resourceId": "q"})).ok() == first
    key = {"Idempotency-Key": uuid4().hex}
    body.pop("eventId")
    (await company.call("POST", "audit-events", body, headers=key)).ok()
    (await company.call("POST", "audit-events", body, headers=key)).ok()
    await audited(company, 2, "resourceType=page")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"action": ""}, "action"),
        ({"resourceId": "x" * 1025}, "resourceId"),
        ({"resourceType": "a\0"}, "resourceType"),
        ({"currentResource": {"a": "x" * 70_000}}, "currentResource"),
        ({"currentResource": [1]}, "currentResource"),
        ({"occurredAt": "2999-01-01T00:00:00Z"}, "occurredAt"),
        ({"eventId": "x"}, "eventId"),
        ({"actorType": "robot"}, "actorType"),
    ],
)
async def test_what_is_wrong_is_named(company: Company, more: dict[str, Any], field: str) -> None:
    body = {"action": "VIEW", "resourceType": "page", "resourceId": "p", **more}
    refused = await company.call("POST", "audit-events", body)
    assert refused.status == 422, refused
    assert field in refused.fields, refused


async def test_telling_needs_a_role_and_reading_none(company: Company) -> None:
    body = {"action": "VIEW", "resourceType": "page", "resourceId": "p"}
    refused = await company.call("POST", "audit-events", body, "viewer")
    assert refused.status == 403
    assert "publisher" in refused.body["detail"]
    assert (await company.call("GET", "audit-events", None, "viewer")).status == 200


async def test_what_is_published_straight_to_the_topic_arrives_once(company: Company) -> None:
    def event(number: int) -> AuditRecorded:
        return AuditRecorded(
            tenant=company.tenant,
            event_id=UUID(int=number),
            occurred_at=datetime.now(UTC) - timedelta(minutes=number),
            action="READ",
            event_type="PAGE_READ",
            resource_type="page",
            resource_id=str(number),
            actor_id="u-1",
        )

    events = [event(number) for number in range(1, 41)]
    await company.stack.publish(AUDIT_RECORDED, *events, *events[::-1])
    found = await audited(company, 40, "action=read")
    assert [each["resourceId"] for each in found] == [str(number) for number in range(40, 0, -1)]
    first = (await company.call("GET", "audit-events?action=READ&limit=15")).ok()
    second = (await company.call("GET", f"audit-events?action=READ&limit=25&cursor={first['nextCursor']}")).ok()
    assert (first["items"] + second["items"])[::-1] == found
    assert second["nextCursor"] is None
    since = found[30]["occurredAt"]
    assert await audited(company, 10, f"action=READ&from={since}") == found[30:]
