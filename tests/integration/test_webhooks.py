"""Webhooks of other systems: from the sender's request to the message at the broker."""

import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from libs.common.ids import deployment_id
from tests.integration.gateway_harness import Front, front
from tests.integration.webhook_harness import Source, connected, new_source
from tests.support import webhooks
from tests.support.platform import Platform
from tests.support.webhooks import payload


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        await connected(running)
        yield running


async def test_a_github_deployment_goes_to_the_broker(gateway: Front) -> None:
    source, delivery = await new_source(gateway, "github"), str(uuid4())
    answer = await source.github(payload("github_deployment_status"), delivery=delivery)
    assert answer.status == 202, answer.text
    ((headers, event),) = await source.events()
    uri = f"/webhooks/github/{source.id}"
    assert (headers["ce_source"], headers["ce_id"], event["source"]) == (uri, delivery, uri)
    expected = deployment_id(source.tenant, uri, "186853002/145988746")
    assert answer.body["deployments"] == [{"deployment_id": str(expected), "status": "SUCCEEDED"}]
    assert UUID(event["deployment_id"]) == expected
    assert (event["component_ref"], event["environment_ref"]) == ("acme/checkout", "production")
    assert (event["started_at"], event["finished_at"]) == ("2026-03-18T12:00:53Z", "2026-03-18T12:04:55Z")


async def test_ping_is_answered(gateway: Front) -> None:
    source = await new_source(gateway, "github")
    answer = await source.github(payload("github_ping"), "ping")
    assert (answer.status, answer.body["status"]) == (200, "ignored")
    assert await source.events() == []


async def _told(source: Source, number: int = 1) -> list[str]:
    return [event["status"] for _, event in (await source.events())[-number:]]


async def test_gitlab_signs_or_sends_a_token(gateway: Front) -> None:
    source = await new_source(gateway, "gitlab")
    assert source.secret.startswith("whsec_")
    message = str(uuid4())
    answer = await source.gitlab(payload("gitlab_deployment"), message=message)
    assert answer.status == 202, answer.text
    assert [headers["ce_id"] for headers, _ in await source.events()] == [message]
    answer = await source.token(payload("gitlab_deployment", status="failed"), "X-Gitlab-Token")
    assert answer.status == 202, answer.text
    assert await _told(source, 2) == ["SUCCEEDED", "FAILED"]


@pytest.mark.parametrize(("kind", "name"), [("argocd", "argocd_application"), ("devlake", "devlake_deployment")])
async def test_token_kinds(gateway: Front, kind: str, name: str) -> None:
    source = await new_source(gateway, kind)
    assert (await source.token(payload(name))).status == 202
    assert set(await _told(source, 2)) == {"SUCCEEDED"}
    bearer = {"Authorization": f"Bearer {source.secret}"}
    assert (await source.post(webhooks.body_of(payload(name)), bearer)).status == 202
    ids = [headers["ce_id"] for headers, _ in await source.events()]
    assert len(set(ids)) * 2 == len(ids)


async def test_generic_is_mapped_and_signed(gateway: Front) -> None:
    component = str(uuid4())
    mapping = {
        "components": {"*": component},
        "environments": {"live": "production"},
        "fields": {"id": "run.id", "environment": "run.target", "status": "run.state", "finishedAt": "run.at"},
        "statuses": {"green": "SUCCEEDED", "skipped": None},
    }
    source = await new_source(gateway, "generic", mapping=mapping, signed_only=True)
    run = {"run": {"id": 7, "target": "LIVE", "state": "Green", "at": 1773835500000}}
    body = webhooks.body_of(run)
    answer = await source.post(body, webhooks.own_headers(source.secret, body, int(time.time())))
    assert answer.status == 202, answer.text
    ((_, event),) = await source.events()
    assert (event["component_id"], event["environment_ref"]) == (component, "production")
    assert event["finished_at"] == "2026-03-18T12:05:00Z"
    skipped = webhooks.body_of({"run": run["run"] | {"state": "skipped"}})
    answer = await source.post(skipped, webhooks.own_headers(source.secret, skipped, int(time.time())))
    assert (answer.status, answer.body["status"]) == (200, "ignored")
    assert (await source.token(run)).status == 401
