"""From a vendor's webhook to a row of the reports: however often and in whatever order deliveries come."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.reporting_app import Company, Stack, new_company, reporting_stack
from tests.support import webhooks
from tests.support.platform import Platform
from tests.support.processes import eventually
from tests.support.webhooks import body_of, payload

BEGUN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)
DEPLOYMENTS = 12
SHOWN = ("status", "version", "startedAt", "finishedAt", "commitSha", "deployedBy", "environmentName", "componentName")


@pytest.fixture(scope="module")
async def stack(platform: Platform) -> AsyncIterator[Stack]:
    async with reporting_stack(platform) as running:
        yield running


def at(minutes: float) -> str:
    return (BEGUN + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Delivery:
    event: str
    id: str
    body: bytes


@dataclass(frozen=True)
class Sender:
    """A GitHub that tells one company's source."""

    company: Company
    path: str
    secret: str

    async def send(self, delivery: Delivery) -> int:
        """As often as it takes: the gateway may still look for the broker."""
        headers = webhooks.github_headers(self.secret, delivery.body, delivery.event, delivery.id)
        while True:
            async with self.company.stack.session.post(self.path, data=delivery.body, headers=headers) as answer:
                if answer.status not in (429, 503):
                    return answer.status
            await asyncio.sleep(0.1)

    async def deployments(self) -> list[dict[str, Any]]:
        found = (await self.company.call("GET", "deployments?limit=500")).ok()["items"]
        return sorted(({name: each[name] for name in SHOWN} for each in found), key=str)

    async def arrived(self, number: int) -> list[dict[str, Any]]:
        """All deployments, once one that is sent now has come through behind all others of its place."""
        last = payload(
            "github_deployment_status",
            deployment__id=1_000_000 + number,
            deployment__ref=f"last-{number}",
            deployment__created_at=at(200),
            deployment_status__updated_at=at(200 + number),
        )
        assert await self.send(Delivery("deployment_status", str(uuid4()), body_of(last))) == 202

        async def there() -> list[dict[str, Any]] | None:
            found = await self.deployments()
            return found if any(each["version"] == f"last-{number}" for each in found) else None

        found: list[dict[str, Any]] = await eventually(there, seconds=60)
        return [each for each in found if not each["version"].startswith("last-")]


async def _source(company: Company, kind: str, **more: Any) -> tuple[str, str]:
    """Address and secret of a source that knows the company's names."""
    mapping = {"components": {"*": company.component}, "environments": {"*": "live"}, **more}
    body = {"name": kind, "kind": kind, "mapping": mapping}
    made = (await company.call("POST", "/webhook-sources", body)).ok()
    return company.stack.url + made["path"], made["secret"]


async def _sender(stack: Stack) -> Sender:
    company = await new_company(stack)
    return Sender(company, *await _source(company, "github"))


def deliveries() -> list[Delivery]:
    """Each deployment as GitHub tells it: made, queued, in progress, and its end."""
    made = list[Delivery]()
    for number in range(DEPLOYMENTS):
        end = ("success", "failure", "error", "inactive")[number % 4]
        for step, state in enumerate(("", "queued", "in_progress", end)):
            told = payload(
                "github_deployment_status",
                deployment__id=number + 1,
                deployment__ref=f"v{number}",
                deployment__created_at=at(10 * number),
                # In progress and queued fall into one second: GitHub's ids of statuses order them.
                deployment_status__id=100 * number + step,
                deployment_status__state=state or "queued",
                deployment_status__updated_at=at(10 * number + (5 if step == 3 else 1)),
            )
            if not state:
                del told["deployment_status"]
            event = "deployment_status" if state else "deployment"
            made.append(Delivery(event, f"d-{number}-{step}", body_of(told)))
    return made


def expected() -> list[tuple[str, str]]:
    ends = ("SUCCEEDED", "FAILED", "FAILED", "IN_PROGRESS")
    return sorted((f"v{number}", ends[number % 4]) for number in range(DEPLOYMENTS))


async def _all(sender: Sender, stream: Sequence[Delivery]) -> None:
    statuses = [await asyncio.gather(*map(sender.send, stream[n : n + 16])) for n in range(0, len(stream), 16)]
    assert {status for some in statuses for status in some} <= {200, 202}


async def test_a_storm_a_shuffle_and_a_replay_tell_the_same(stack: Stack) -> None:
    stream = deliveries()
    in_order, shuffled = await _sender(stack), await _sender(stack)
    await _all(in_order, stream)
    mixed = stream * 5
    random.Random(7).shuffle(mixed)  # noqa: S311
    await _all(shuffled, mixed)
    first, second = await in_order.arrived(1), await shuffled.arrived(1)
    await _all(shuffled, stream)
    replayed = await shuffled.arrived(2)
    print(f"WEBHOOK_REPLAY deliveries={len(stream)} sent={len(mixed) + len(stream)} deployments={len(replayed)}")
    assert [(each["version"], each["status"]) for each in sorted(first, key=lambda one: one["version"])] == expected()
    assert first == second == replayed
    for sender in (in_order, shuffled):
        states = await stack.sql(
            "SELECT count(*) AS n FROM reporting.deployment_state WHERE tenant_id = $1 AND version LIKE 'v%'",
            sender.company.tenant,
        )
        # What is inactive tells nothing.
        assert states[0]["n"] == len(stream) - DEPLOYMENTS // 4


def _told(kind: str) -> Any:
    name = {"argocd": "argocd_application", "devlake": "devlake_deployment", "generic": "generic_deployment"}[kind]
    return payload(name)


@pytest.mark.parametrize("kind", ["argocd", "devlake", "generic"])
async def test_each_vendor_is_reported(stack: Stack, kind: str) -> None:
    company = await new_company(stack)
    url, secret = await _source(company, kind)
    body = body_of(_told(kind))

    async def taken() -> bool:
        async with stack.session.post(url, data=body, headers={"X-Tidemark-Token": secret}) as answer:
            return answer.status == 202

    await eventually(taken)
    wanted = 2 if kind == "devlake" else 1

    async def reported() -> list[dict[str, Any]] | None:
        items: list[dict[str, Any]] = (await company.call("GET", "deployments")).ok()["items"]
        return items if len(items) == wanted else None

    items = await eventually(reported)
    assert {(each["status"], each["componentName"], each["environmentName"]) for each in items} == {
        ("SUCCEEDED", "shop", "live")
    }
    assert all(each["startedAt"] == "2026-03-18T12:00:00Z" and each["finishedAt"] for each in items)


async def test_gitlab_is_reported_with_the_start_that_only_running_knows(stack: Stack) -> None:
    company = await new_company(stack)
    url, secret = await _source(company, "gitlab")

    async def send(status: str, changed: str) -> None:
        body = body_of(payload("gitlab_deployment", status=status, status_changed_at=changed))

        async def taken() -> bool:
            headers = webhooks.standard_headers(secret, body, str(uuid4()), int(time.time()))
            async with stack.session.post(url, data=body, headers=headers) as answer:
                return answer.status == 202

        await eventually(taken)

    await send("success", "2026-03-18 13:50:00 +0200")
    await send("running", "2026-03-18 13:45:00 +0200")

    async def reported() -> bool:
        items = (await company.call("GET", "deployments")).ok()["items"]
        shown = [(each["status"], each["startedAt"], each["finishedAt"]) for each in items]
        return shown == [("SUCCEEDED", "2026-03-18T11:45:00Z", "2026-03-18T11:50:00Z")]

    await eventually(reported)


async def test_a_refused_signature_is_in_the_audit(stack: Stack) -> None:
    sender = await _sender(stack)
    forged = Sender(sender.company, sender.path, "another-secret-0123456789")
    assert await forged.send(deliveries()[1]) == 401

    async def told() -> bool:
        items = (await sender.company.call("GET", "audit-events?resourceType=webhook_source")).ok()["items"]
        return "WEBHOOK_SOURCE_REJECT" in {each["eventType"] for each in items}

    await eventually(told)
