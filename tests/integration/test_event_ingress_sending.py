"""What is sent from outside: acknowledged, or refused in a way that tells when to come again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from libs.common.clock import shifted_clock
from libs.common.envelope import Envelope
from libs.common.errors import TooLarge, TooManyRequests, Unavailable
from libs.common.events import AuditRecorded, DeploymentRecorded
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.topics import AUDIT_RECORDED, DEPLOYMENT_RECORDED
from services.gateway.ingress.sending import Attributed, Sending
from services.gateway.settings import Settings
from tests.support.messaging import Bench, fresh_bench
from tests.support.processes import eventually
from tests.support.servers import Servers

AT = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
TENANT = UUID(int=7)


@pytest.fixture
async def bench(servers: Servers) -> Bench:
    return await fresh_bench(servers.kafka, topic=DEPLOYMENT_RECORDED)


def settings(bench: Bench, **changes: Any) -> Settings:
    known = {"kafka": bench.settings.kafka, "topic_prefix": bench.settings.topic_prefix}
    return Settings.model_construct(**known | changes)


@asynccontextmanager
async def sending(values: Settings, registry: CollectorRegistry | None = None) -> AsyncIterator[Sending]:
    running = Sending(values, MessagingMetrics(registry or CollectorRegistry()), shifted_clock())
    running.start()
    try:
        yield running
    finally:
        await running.stop()


def deployment(number: int, **changes: Any) -> DeploymentRecorded:
    known = {"tenant": TENANT, "deployment_id": UUID(int=number), "status": "SUCCEEDED", "recorded_at": AT}
    return DeploymentRecorded(**known | {"source": "ci"} | changes)


async def connected(running: Sending) -> None:
    async def is_connected() -> bool:
        return running._publisher is not None

    await eventually(is_connected)


async def test_what_is_sent_is_at_the_broker_with_the_attributes_of_its_sender(bench: Bench) -> None:
    registry = CollectorRegistry()
    attributes = {"id": "delivery-1", "time": "2026-03-18T15:30:00Z", "origin": "webhook"}
    async with sending(settings(bench), registry) as running:
        await connected(running)
        events = [("shop:prod", deployment(1), attributes), ("shop:prod", deployment(2), {"source": "//other"})]
        await running.send(DEPLOYMENT_RECORDED, events, source="//github/acme/shop")
    first, second = await bench.read(bench.name)
    told = Envelope.from_headers(first.headers)
    assert (told.id, told.source, told.time, told.tenant) == ("delivery-1", "//github/acme/shop", AT, TENANT)
    assert (told.type, told.extensions, first.key) == (
        "tidemark.deployment_recorded",
        {"origin": "webhook"},
        b"shop:prod",
    )
    assert Envelope.from_headers(second.headers).source == "//other"
    assert len({name for name, _ in second.headers}) == len(second.headers)
    assert DeploymentRecorded.model_validate_json(first.value) == deployment(1)
    assert registry.get_sample_value("tidemark_records_published_total", {"topic": DEPLOYMENT_RECORDED.name}) == 2


async def test_an_event_keeps_its_own_id(servers: Servers) -> None:
    bench = await fresh_bench(servers.kafka, topic=AUDIT_RECORDED)
    event = AuditRecorded(
        tenant=TENANT,
        event_id=uuid4(),
        occurred_at=AT,
        action="CREATE",
        event_type="CONNECTOR_CREATE",
        resource_type="connector",
        resource_id="1",
    )
    async with sending(settings(bench)) as running:
        await connected(running)
        await running.send(AUDIT_RECORDED, [("1", event, {})], source="//ci")
    (found,) = await bench.read(bench.name)
    assert Envelope.from_headers(found.headers).id == str(event.event_id)


async def test_without_a_broker_it_is_refused_at_once(bench: Bench) -> None:
    away = Settings.model_construct(kafka="127.0.0.1:1", topic_prefix=bench.settings.topic_prefix)
    async with sending(away) as running:
        with pytest.raises(Unavailable) as caught:
            await running.send(DEPLOYMENT_RECORDED, [("k", deployment(1), {})], source="//ci")
    assert caught.value.headers == {"Retry-After": "1"}


async def test_more_than_the_bound_is_refused_and_room_comes_back(bench: Bench) -> None:
    async with sending(settings(bench, ingress_max_in_flight=150)) as running:
        await connected(running)
        many: list[Attributed] = [("k", deployment(number), {}) for number in range(100)]
        both = await asyncio.gather(
            *(running.send(DEPLOYMENT_RECORDED, many, source="//ci") for _ in range(2)), return_exceptions=True
        )
        assert [type(each) for each in both] == [type(None), TooManyRequests]
        await running.send(DEPLOYMENT_RECORDED, many, source="//ci")
        # Alone, even what is larger than the bound gets through.
        await running.send(DEPLOYMENT_RECORDED, [*many, *many], source="//ci")
    assert len(await bench.read(bench.name)) == 400


async def test_an_event_too_large_for_the_broker_does_not_take_others_along(bench: Bench) -> None:
    async with sending(settings(bench)) as running:
        await connected(running)
        large = deployment(1, version="x" * 1_100_000)
        with pytest.raises(TooLarge):
            await running.send(DEPLOYMENT_RECORDED, [("k", large, {}), ("k", deployment(2), {})], source="//ci")
    assert len(await bench.read(bench.name)) == 1
