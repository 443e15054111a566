"""From `POST /events` to the reports: a storm of duplicates in any order gives the numbers of the orderly stream."""

import json
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.reporting_app import Company, Stack, new_company, reporting_stack
from tests.support.platform import Platform
from tests.support.processes import eventually

BEGUN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)
BATCHED = {"Content-Type": "application/cloudevents-batch+json"}
SHOWN = ("status", "version", "startedAt", "finishedAt", "componentName", "environmentName")
Event = dict[str, Any]


@pytest.fixture(scope="module")
async def stack(platform: Platform) -> AsyncIterator[Stack]:
    async with reporting_stack(platform) as running:
        yield running


def at(minutes: int) -> str:
    return (BEGUN + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def event(id: str, kind: str, data: Event, minutes: int) -> Event:
    return {"specversion": "1.0", "id": id, "source": "//ci", "type": kind, "time": at(minutes), "data": data}


def run(number: int, status: str, minutes: int, **more: Any) -> Event:
    data = {"externalId": str(number), "componentRef": "Shop", "environmentRef": "live", "status": status, **more}
    return event(f"{number}-{status}", "deployment.recorded", {**data, "version": f"v{number}"}, minutes)


def cdevent(id: str, predicate: str, minutes: int) -> Event:
    kind = f"dev.cdevents.service.{predicate}.0.3.0"
    context = {"version": "0.5.0", "id": id, "source": "//ci", "type": kind, "timestamp": at(minutes)}
    content = {"environment": {"id": "live"}, "artifactId": f"pkg:oci/shop@{id}"}
    return event(id, kind, {"context": context, "subject": {"id": "Shop", "content": content}}, minutes)


def stream() -> list[Event]:
    """Twelve runs, each begun and ended, then a deployment by CDEvents that is rolled back."""
    told = []
    for number in range(12):
        status = ("succeeded", "failed", "SUCCEEDED")[number % 3]
        begin, end = 10 * number, 10 * number + 5
        told.append(run(number, "in_progress", begin, startedAt=at(begin)))
        told.append(run(number, status, end, startedAt=at(begin), finishedAt=at(end)))
    return [*told, cdevent("c1", "deployed", 130), cdevent("c2", "rolledback", 140)]


async def post(company: Company, events: Sequence[Event]) -> None:
    """As often as it takes: the gateway may still look for the broker."""

    async def taken() -> bool:
        answer = await company.call("POST", "/events", json.dumps(events), "publisher", headers=BATCHED)
        assert answer.status in (202, 429, 503), answer
        if answer.status == 202:
            assert {each["status"] for each in answer.body["results"]} == {"accepted"}
        return answer.status == 202

    await eventually(taken)


async def reported(company: Company) -> tuple[list[Event], Any]:
    """Deployments and figures, once what is sent now has come through behind all others of its place."""
    await post(company, [run(1_000, "PENDING", 200)])

    async def there() -> list[Event] | None:
        found = (await company.call("GET", "deployments?limit=500")).ok()["items"]
        return found if any(each["version"] == "v1000" for each in found) else None

    found: list[Event] = await eventually(there)
    shown = sorted(({name: each[name] for name in SHOWN} for each in found), key=str)
    return shown, (await company.call("GET", "analytics/dora?days=1")).ok()


async def test_duplicates_and_disorder_change_nothing(stack: Stack) -> None:
    orderly, stormy = await new_company(stack), await new_company(stack)
    for each in stream():
        await post(orderly, [each])
    storm = stream() * 4
    random.Random(7).shuffle(storm)  # noqa: S311 (the order of a test)
    for first in range(0, len(storm), 9):
        await post(stormy, storm[first : first + 9])
    (one, figures), (other, theirs) = await reported(orderly), await reported(stormy)
    print(f"INGRESS_STORM events={len(stream())} sent={len(storm)} deployments={len(one)}")
    assert one == other
    assert [each["status"] for each in one].count("ROLLED_BACK") == 1
    assert len(one) == 14
    assert _counted(figures) == _counted(theirs)
    assert figures["deploymentFrequency"]["total"] == 8


def _counted(figures: Any) -> Any:
    """Without the moments at which they were asked for."""
    if isinstance(figures, dict):
        return {name: _counted(each) for name, each in figures.items() if name not in ("from", "to", "generatedAt")}
    return [_counted(each) for each in figures] if isinstance(figures, list) else figures
