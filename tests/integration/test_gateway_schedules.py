"""A connector's schedule at the gateway: written, refused, told to all services."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common.topics import CONNECTOR_CHANGED
from tests.integration.gateway_harness import Front, connector, front
from tests.support.platform import Platform

NIGHTLY = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
HOURLY = {"cron": "0 * * * *", "timezone": "UTC"}


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        yield running


async def test_a_schedule_is_set_kept_changed_and_taken_away(gateway: Front) -> None:
    tenant = await gateway.new_tenant()
    made = (await gateway.call("POST", "/connectors", tenant=tenant, json=connector() | {"schedule": NIGHTLY})).body
    path = f"/connectors/{made['id']}"
    assert (made["schedule"], made["version"]) == (NIGHTLY, 1)

    async def change(method: str, body: dict[str, Any]) -> tuple[Any, int]:
        shown = (await gateway.call(method, path, tenant=tenant, json=body)).body
        assert shown == (await gateway.call("GET", path, tenant=tenant)).body
        return shown["schedule"], shown["version"]

    assert await change("PATCH", {"name": "Other"}) == (NIGHTLY, 2)
    assert await change("PATCH", {"schedule": NIGHTLY}) == (NIGHTLY, 2)
    assert await change("PATCH", {"schedule": {"cron": " 0 * * * * "}}) == (HOURLY, 3)
    assert await change("PATCH", {"schedule": None}) == (None, 4)
    assert await change("PUT", connector("Other") | {"schedule": NIGHTLY}) == (NIGHTLY, 5)
    assert await change("PUT", connector("Other")) == (None, 6)
    assert await change("PATCH", {"schedule": HOURLY}) == (HOURLY, 7)
    assert (await gateway.call("DELETE", path, tenant=tenant)).status == 204

    told = [json.loads(r.value) for r in await gateway.events(CONNECTOR_CHANGED) if r.key.decode() == made["id"]]
    assert [event["schedule"] for event in told] == [NIGHTLY, NIGHTLY, HOURLY, None, NIGHTLY, None, HOURLY, None]


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"cron": "61 * * * *"}, "bad minute"),
        ({"cron": "0 0 30 2 *"}, "bad day-of-month"),
        ({"cron": "@daily"}, "five fields"),
        ({"cron": "0 0 * * *", "timezone": "Mars/Olympus"}, "time zone"),
        ({"cron": "0 0 * * *", "timezone": "../../etc/passwd"}, "time zone"),
        ({"cron": "0 0 * * *", "seconds": 1}, "schedule.seconds"),
        ({}, "schedule.cron"),
        ("0 0 * * *", "schedule"),
        ({"cron": "* " * 5_000}, "schedule.cron"),
    ],
)
async def test_what_is_no_schedule_is_refused(gateway: Front, schedule: object, said: str) -> None:
    tenant = await gateway.new_tenant()
    refused = await gateway.call("POST", "/connectors", tenant=tenant, json=connector() | {"schedule": schedule})
    assert refused.status == 422
    assert said in refused.text
    assert (await gateway.call("GET", "/connectors", tenant=tenant)).body["items"] == []
