"""The aggregator on real topics: a job from its first record to its outcome, poison included, two replicas at once."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from libs.common.broker import Publisher, build_broker
from libs.common.events import BiQueryScraped, ConnectorChanged, SyncCompleted, UsageRecompute
from libs.common.settings import CommonSettings
from libs.common.topics import BI_QUERY_SCRAPED, BI_QUERY_STORED, CONNECTOR_CHANGED, USAGE_RECOMPUTE
from tests.integration.aggregator_app import RunningApp, running_app
from tests.integration.aggregator_harness import MovedClock, Source
from tests.support.platform import Platform
from tests.support.processes import eventually


@pytest.fixture(scope="module")
async def apps(platform: Platform) -> AsyncIterator[list[RunningApp]]:
    clock = MovedClock()
    async with running_app(platform, clock) as one, running_app(platform, clock) as two:
        yield [one, two]


@pytest.fixture
def app(apps: list[RunningApp]) -> RunningApp:
    return apps[0]


@asynccontextmanager
async def publishing(platform: Platform) -> AsyncIterator[Publisher]:
    settings = CommonSettings(kafka=platform.kafka, topic_prefix=platform.topic_prefix)
    broker = build_broker(settings, "test")
    await broker.connect()
    try:
        yield Publisher(broker, settings, service="test")
    finally:
        await broker.stop()


def _key(source: Source) -> str:
    return f"{source.tenant}:{source.connector}"


def _place(source: Source, job_seq: int) -> dict[str, str]:
    return {"jobid": str(source.job), "syncseq": str(source.sync_seq), "jobseq": str(job_seq)}


async def _publish(platform: Platform, source: Source, *events: BiQueryScraped | SyncCompleted) -> None:
    async with publishing(platform) as publisher:
        await publisher.send_many(
            BI_QUERY_SCRAPED,
            [
                (_key(source), event, _place(source, event.job_seq or 0) if isinstance(event, BiQueryScraped) else {})
                for event in events
            ],
        )


async def _publish_poison(platform: Platform, source: Source, job_seq: int, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=platform.kafka)
    await producer.start()
    headers = {"ce_specversion": "1.0", "ce_tenant": str(source.tenant)}
    headers |= {f"ce_{name}": text for name, text in _place(source, job_seq).items()}
    try:
        topic = platform.topic_prefix + BI_QUERY_SCRAPED.name
        encoded = [(name, text.encode()) for name, text in headers.items()]
        await producer.send_and_wait(topic, value, _key(source).encode(), headers=encoded)
    finally:
        await producer.stop()


async def _outcome(platform: Platform, job: UUID) -> dict[str, Any]:
    """The first `bi_query.stored` of a job."""
    topic = platform.topic_prefix + BI_QUERY_STORED.name
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=platform.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(120):
            async for message in consumer:
                if message.key == str(job).encode():
                    outcome: dict[str, Any] = json.loads(message.value)
                    return outcome
    finally:
        await consumer.stop()
    raise AssertionError("the topic ended")


async def _usage(app: RunningApp, tenant: UUID) -> dict[str, Any]:
    return {row["product_name"]: row for row in (await app.get(tenant, "/spaces/shop/usage"))["items"]}


async def _settled(app: RunningApp, tenant: UUID, product: str, count: int) -> dict[str, Any]:
    """Statistics of a product once they have been refreshed to this count; the pause between refreshes must pass."""

    async def there() -> dict[str, Any] | None:
        app.clock.advance(timedelta(seconds=1))
        row: dict[str, Any] = (await _usage(app, tenant))[product]
        return row if row["query_count_30d"] == count else None

    row: dict[str, Any] = await eventually(there)
    return row


async def _shop(app: RunningApp, tenant: UUID) -> None:
    await app.post(tenant, "/spaces", {"name": "Shop"})
    await app.post(tenant, "/spaces/shop/products", {"name": "Orders", "tables": [{"name": "public.orders"}]})


async def test_a_job_with_poison_ends_with_exact_figures(app: RunningApp, platform: Platform) -> None:
    source = Source()
    await _shop(app, source.tenant)
    records = [source.record(f"r{number}", number, executed_by=f"u{number % 3}") for number in range(1, 301)]
    await _publish(platform, source, *records[:100])
    await _publish_poison(platform, source, 301, b"{ no json: 'secret' ")
    await _publish_poison(platform, source, 302, b'{"kind": "bi_query", "executed_at": "yesterday"}')
    await _publish(platform, source, *records[100:], *records[50:80], source.closing(302))
    outcome = await _outcome(platform, source.job)
    figures = {name: outcome[name] for name in ("state", "received", "upserted", "rejected", "retired")}
    assert figures == {"state": "completed", "received": 302, "upserted": 300, "rejected": 2, "retired": 0}
    row = await _settled(app, source.tenant, "Orders", 300)
    assert row["unique_users_30d"] == 3
    print(f"poison: 332 messages, 2 of them unreadable: {figures}; the product counts {row['query_count_30d']}")


async def test_two_replicas_share_connectors_with_exact_figures(apps: list[RunningApp], platform: Platform) -> None:
    tenant = uuid4()
    sources = [Source(tenant) for _ in range(4)]
    await _shop(apps[0], tenant)
    dice = random.Random(3)  # noqa: S311 (a reproducible shuffle)
    for source in sources:
        records = [source.record(f"r{number}", number) for number in range(1, 251)]
        resent = records + dice.sample(records, 100)
        dice.shuffle(resent)
        await _publish(platform, source, source.closing(250), *resent)
    outcomes = [await _outcome(platform, source.job) for source in sources]
    assert [outcome["upserted"] for outcome in outcomes] == [250] * 4
    await _settled(apps[1], tenant, "Orders", 1000)
    print(f"two replicas on Kafka: {4 * 350} records of 4 connectors, upserted {[o['upserted'] for o in outcomes]}")


async def test_connectors_and_wishes_are_followed(app: RunningApp, platform: Platform) -> None:
    source = Source()
    await _shop(app, source.tenant)
    await _publish(platform, source, source.record("a", 1), source.closing(1))
    await _outcome(platform, source.job)
    await _settled(app, source.tenant, "Orders", 1)
    async with publishing(platform) as publisher:
        changed = ConnectorChanged(
            tenant=source.tenant, id=source.connector, version=2, type="postgres", counts_executions=False
        )
        await publisher.send(CONNECTOR_CHANGED, changed, key=str(source.connector))
        await publisher.send(
            USAGE_RECOMPUTE, UsageRecompute(tenant=source.tenant, connector_id=source.connector), key=_key(source)
        )
    await _settled(app, source.tenant, "Orders", 0)
