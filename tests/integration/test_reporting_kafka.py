"""Reporting's consumers on the real broker: bad records alone are buried, replicas share, a kill loses nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from cli.client import Gateway
from libs.common.broker import Publisher, build_broker
from libs.common.events import AnyEvent, DeploymentRecorded
from libs.common.settings import CommonSettings
from libs.common.topics import DEPLOYMENT_RECORDED, Topic
from tests.support.messaging import Bench
from tests.support.platform import Platform
from tests.support.processes import Running, eventually, running_services

TOLD = datetime(2026, 3, 18, 10, 0, tzinfo=UTC)
SECONDS = 120.0


@pytest.fixture(scope="module")
async def running(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    logs = Path(tmp_path_factory.mktemp("logs"))
    async with running_services(platform, logs, ("reporting", "reporting-2")) as services:
        yield services


@pytest.fixture
async def tenant(running: Running) -> UUID:
    tenant = await running.new_tenant()
    async with running.client(tenant, "staff") as gateway:
        await gateway.post("/api/v1/components", {"name": "shop"})
        await gateway.post("/api/v1/environments", {"name": "live"})
    return tenant


def settings(platform: Platform) -> CommonSettings:
    return CommonSettings(kafka=platform.kafka, topic_prefix=platform.topic_prefix)


def event(tenant: UUID, number: int, status: str = "SUCCEEDED", minute: int = 0, **more: Any) -> DeploymentRecorded:
    values = {
        "deployment_id": UUID(int=number),
        "component_ref": "shop",
        "environment_ref": "live",
        "status": status,
        "recorded_at": TOLD + timedelta(minutes=minute),
        "source": "ci",
    }
    return DeploymentRecorded.model_validate({"tenant": tenant, **values, **more})


async def publish(platform: Platform, topic: Topic, events: Sequence[AnyEvent]) -> None:
    """Each under a key of its own, so that they come in any order."""
    broker = build_broker(settings(platform), "test")
    await broker.connect()
    try:
        sent: list[tuple[str, AnyEvent, dict[str, str]]] = [(str(at), each, {}) for at, each in enumerate(events)]
        await Publisher(broker, settings(platform), service="test").send_many(topic, sent)
    finally:
        await broker.stop()


async def write(platform: Platform, topic: Topic, *messages: tuple[bytes, list[tuple[str, bytes]]]) -> None:
    """Messages as a stranger may write them, into one partition."""
    producer = AIOKafkaProducer(bootstrap_servers=platform.kafka)
    await producer.start()
    try:
        for value, headers in messages:
            await producer.send_and_wait(platform.topic_prefix + topic.name, value, b"k", partition=0, headers=headers)
    finally:
        await producer.stop()


async def counted(platform: Platform, tenant: UUID) -> dict[str, int]:
    connection = await asyncpg.connect(platform.admin_url)
    try:
        rows = await connection.fetch(
            "SELECT status, count(*) FROM reporting.deployment WHERE tenant_id = $1 GROUP BY 1", tenant
        )
        return {row["status"]: row["count"] for row in rows}
    finally:
        await connection.close()


async def reaches(platform: Platform, tenant: UUID, **wanted: int) -> None:
    async def so() -> bool:
        return await counted(platform, tenant) == wanted

    await eventually(so, SECONDS)


async def test_a_bad_record_takes_none_along(platform: Platform, running: Running, tenant: UUID) -> None:
    def plain(number: int, **more: Any) -> tuple[bytes, list[tuple[str, bytes]]]:
        return event(tenant, number).model_copy(update=more).model_dump_json().encode(), []

    ahead = datetime.now(UTC) + timedelta(hours=1)
    bad = [
        plain(101, recorded_at=ahead),
        plain(102, started_at=TOLD, finished_at=TOLD - timedelta(minutes=1)),
        plain(103, version="a\0b"),
        plain(104, component_ref=None),
        (b"{", []),
        (json.dumps({"tenant": str(tenant), "status": "DONE"}).encode(), []),
    ]
    good = [plain(number) for number in range(1, 31)]
    mixed = [each for place, one in enumerate(good) for each in ([one, bad[place // 5]] if place % 5 == 0 else [one])]
    await write(platform, DEPLOYMENT_RECORDED, *mixed)
    await reaches(platform, tenant, SUCCEEDED=30)

    async def buried() -> list[Any]:
        name = platform.topic_prefix + DEPLOYMENT_RECORDED.dead_letter
        letters = await Bench(settings(platform)).read(name)
        return letters if len(letters) >= len(bad) else []

    letters = await eventually(buried, SECONDS)
    reasons = " ".join(dict(each.headers)["dl-error"].decode() for each in letters if "dl-error" in dict(each.headers))
    print(f"REPORTING_POISON good=30 stored=30 bad={len(bad)} buried={len(letters)}")
    assert len(letters) == len(bad), reasons
    assert "a\0b" not in reasons


async def test_every_form_of_a_message_is_read_and_counts_once(
    platform: Platform, running: Running, tenant: UUID
) -> None:
    body = event(tenant, 1).model_dump(mode="json")
    envelope = {"specversion": "1.0", "id": "e-1", "source": "/ci", "type": "tidemark.deployment_recorded"}
    headers = [(f"ce_{name}", value.encode()) for name, value in envelope.items()]
    structured = json.dumps({**envelope, "tenant": str(tenant), "data": body}).encode()
    as_structured = [("content-type", b"application/cloudevents+json")]
    plain = json.dumps(body).encode()
    messages = [(plain, headers), (structured, as_structured), (plain, []), (b"\0\0\0\0\7" + plain, []), (plain, [])]
    await write(platform, DEPLOYMENT_RECORDED, *messages * 3)
    await publish(platform, DEPLOYMENT_RECORDED, [event(tenant, 2)])
    await reaches(platform, tenant, SUCCEEDED=2)
    async with running.client(tenant) as gateway:
        shown = await gateway.get(f"/api/v1/deployments/{UUID(int=1)}")
    # One with an envelope in two forms, one without any in three.
    assert len(shown["states"]) == 2


async def test_replicas_share_and_a_kill_loses_and_doubles_nothing(
    platform: Platform, running: Running, tenant: UUID
) -> None:
    deployments = 600
    states = [event(tenant, n, "IN_PROGRESS", 1) for n in range(1, deployments + 1)]
    states += [event(tenant, n, "FAILED" if n % 10 == 0 else "SUCCEEDED", 2) for n in range(1, deployments + 1)]
    states += [event(tenant, n, "PENDING", 0) for n in range(1, deployments + 1)]
    sending = asyncio.create_task(publish(platform, DEPLOYMENT_RECORDED, states))
    await running.kill("reporting-2")
    await sending
    await running.restart("reporting-2")
    await publish(platform, DEPLOYMENT_RECORDED, states[: deployments // 2])
    await reaches(platform, tenant, SUCCEEDED=deployments * 9 // 10, FAILED=deployments // 10)
    async with running.client(tenant) as gateway:
        found = await pages(gateway, "/api/v1/deployments?limit=500")
    assert len({each["id"] for each in found}) == len(found) == deployments
    print(f"REPORTING_KILL events={len(states) * 7 // 6} deployments={len(found)} lost=0 double=0")


async def pages(gateway: Gateway, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await gateway.get(path + cursor)
        found += page["items"]
        if page["nextCursor"] is None:
            return found
        cursor = f"&cursor={page['nextCursor']}"


async def test_own_changes_come_back_through_the_topic(platform: Platform, running: Running, tenant: UUID) -> None:
    """Through two processes and the broker; usage speaks of them."""
    async with running.client(tenant, "staff") as gateway:
        place = {"componentRef": "shop", "environmentRef": "live"}
        made = await gateway.post("/api/v1/deployments", {**place, "status": "IN_PROGRESS"})
        await gateway.call("PATCH", f"/api/v1/deployments/{made['id']}", {"status": "SUCCEEDED"})
        await gateway.post("/api/v1/audit-events", {"action": "VIEW", "resourceType": "page", "resourceId": "1"})
        kinds = {"COMPONENT_CREATE", "ENVIRONMENT_CREATE", "DEPLOYMENT_CREATE", "DEPLOYMENT_UPDATE", "PAGE_VIEW"}

        async def told() -> list[str]:
            found = [each["eventType"] for each in (await gateway.get("/api/v1/audit-events"))["items"]]
            return found if kinds <= set(found) else []

        assert await eventually(told, SECONDS)
        usage = await gateway.get("/api/v1/analytics/usage")
    # The gateway tells of the tenant itself, too, in its own time.
    assert usage["totalAuditEvents"] >= len(kinds)
    assert [each["componentName"] for each in usage["topComponents"]] == ["shop"]


async def test_records_of_a_deleted_tenant_are_dropped(platform: Platform, running: Running) -> None:
    gone, other = await running.new_tenant(), await running.new_tenant()
    async with running.client(None, "superuser") as gateway:
        await gateway.call("DELETE", f"/tenants/{gone}")
    connection = await asyncpg.connect(platform.admin_url)

    async def noted() -> bool:
        return bool(
            await connection.fetchval(
                "SELECT true FROM reporting.tenant WHERE tenant_id = $1 AND deleted_at IS NOT NULL", gone
            )
        )

    await eventually(noted, SECONDS)
    told = [event(gone, 1), event(other, 2)]
    await write(platform, DEPLOYMENT_RECORDED, *[(each.to_json(), []) for each in told])

    async def parked() -> int:
        query = "SELECT count(*) FROM reporting.parked_deployment WHERE tenant_id = $1"
        return int(await connection.fetchval(query, other))

    await eventually(parked, SECONDS)
    for table in ("parked_deployment", "deployment_state", "deployment"):
        query = f"SELECT count(*) FROM reporting.{table} WHERE tenant_id = $1"
        assert await connection.fetchval(query, gone) == 0
    await connection.close()
