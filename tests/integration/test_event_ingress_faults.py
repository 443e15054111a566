"""kill -9 of the broker while events are posted, a broker that comes later, one that is away under load."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka.admin import NewTopic

from deploy.local.infrastructure import Infrastructure, remove_state
from deploy.local.kafka import KafkaNode
from deploy.setup.topics import create_topics
from libs.common.broker import physical_name
from libs.common.envelope import Envelope
from libs.common.settings import CommonSettings
from libs.common.topics import DEPLOYMENT_RECORDED
from tests.integration.gateway_harness import Front, Reply, front
from tests.support.messaging import Bench, until
from tests.support.platform import Platform
from tests.support.processes import eventually

BATCHED = {"Content-Type": "application/cloudevents-batch+json"}
TENANT = uuid4()


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaNode]:
    """A broker of the module's own, which may be killed."""
    state: Path = tmp_path_factory.mktemp("broker")
    try:
        async with Infrastructure.on_free_ports(state, only=("kafka",)) as running:
            yield running.kafka
    finally:
        remove_state(state)


@pytest.fixture
async def settings(node: KafkaNode) -> CommonSettings:
    """A prefix of the test's own, under which the topic is empty."""
    fresh = CommonSettings(kafka=node.bootstrap_servers, topic_prefix=f"t{uuid4().hex[:8]}.")
    await create_topics(fresh.kafka, [NewTopic(physical_name(fresh, DEPLOYMENT_RECORDED.name), 2, 1)])
    return fresh


def places(settings: CommonSettings, **more: Any) -> dict[str, Any]:
    return {"kafka": settings.kafka, "topic_prefix": settings.topic_prefix, **more}


def event(number: int) -> dict[str, Any]:
    place = {"componentRef": f"shop-{number % 7}", "environmentRef": "prod"}
    data = {"deploymentId": str(UUID(int=number)), "status": "SUCCEEDED", **place}
    return {"specversion": "1.0", "id": str(number), "source": "//ci", "type": "deployment.recorded", "data": data}


async def post(gateway: Front, numbers: range) -> Reply:
    body = json.dumps([event(number) for number in numbers]).encode()
    return await gateway.call("POST", "/events", tenant=TENANT, roles=("publisher",), data=body, headers=BATCHED)


@asynccontextmanager
async def away(node: KafkaNode) -> AsyncIterator[None]:
    await node.kill()
    try:
        yield
    finally:
        await node.start()


async def connected(gateway: Front) -> None:
    async def takes() -> bool:
        return (await post(gateway, range(1))).status == 202

    await eventually(takes)


async def stored(settings: CommonSettings) -> Counter[int]:
    records = await Bench(settings).read(physical_name(settings, DEPLOYMENT_RECORDED.name))
    return Counter(int(Envelope.from_headers(record.headers).id) for record in records)


async def test_what_was_answered_202_is_never_lost(
    platform: Platform, settings: CommonSettings, node: KafkaNode
) -> None:
    acknowledged: list[int] = []
    statuses: Counter[int] = Counter()
    stop, numbers = asyncio.Event(), count(1)

    async def feed(size: int) -> None:
        while not stop.is_set():
            sent = [next(numbers) for _ in range(size)]
            answer = await post(gateway, range(sent[0], sent[-1] + 1))
            statuses[answer.status] += 1
            if answer.status == 202:
                acknowledged.extend(sent)
            else:
                assert int(answer.headers["Retry-After"]) >= 1
                await asyncio.sleep(0.05)

    async def grown(more: int) -> None:
        before = len(acknowledged)
        await until(lambda: len(acknowledged) > before + more)

    async def outage() -> None:
        refused = statuses[503]
        async with away(node):
            await until(lambda: statuses[503] > refused)

    async with front(platform, **places(settings, ingress_acknowledge_seconds=2)) as gateway:
        await connected(gateway)
        feeding = [asyncio.create_task(feed(size)) for size in (1, 1, 10, 50)]
        outages = []
        for _ in range(2):
            await grown(300)
            killed = time.monotonic()
            await outage()
            await grown(100)
            outages.append(time.monotonic() - killed)
        stop.set()
        await asyncio.gather(*feeding)
    found = await stored(settings)
    lost = len(set(acknowledged) - set(found))
    twice = sum(each - 1 for each in found.values())
    print(
        f"INGRESS_BROKER_KILL kills=2 acked={len(acknowledged)} lost={lost} twice={twice}"
        f" refused={statuses[503] + statuses[429]} outage_s={max(outages):.1f}"
    )
    assert lost == 0
    assert set(statuses) <= {202, 429, 503}


async def test_the_gateway_serves_before_the_broker_is_there(
    platform: Platform, settings: CommonSettings, node: KafkaNode
) -> None:
    async with AsyncExitStack() as stack:
        async with away(node):
            gateway = await stack.enter_async_context(front(platform, **places(settings)))
            refused = await post(gateway, range(1, 3))
            assert (refused.status, refused.headers["Retry-After"], refused.body["code"]) == (503, "1", "unavailable")
            async with gateway.session.get(gateway.url + "/readyz") as ready:
                assert ready.status == 200
        await connected(gateway)
    assert set(await stored(settings)) == {0}


async def test_more_than_can_wait_is_refused(platform: Platform, settings: CommonSettings, node: KafkaNode) -> None:
    async with front(platform, **places(settings, ingress_max_in_flight=25, ingress_acknowledge_seconds=30)) as gateway:
        await connected(gateway)
        async with away(node):
            posts = [asyncio.create_task(post(gateway, range(1 + 10 * each, 11 + 10 * each))) for each in range(5)]
            await until(lambda: sum(each.done() for each in posts) >= 3)
            refused = [each.result() for each in posts if each.done()]
        answers = await asyncio.gather(*posts)
        await connected(gateway)
    assert {(each.status, each.headers["Retry-After"], each.body["code"]) for each in refused} == {
        (429, "1", "too_many_requests")
    }
    assert Counter(each.status for each in answers)[429] == 3
    assert {each.status for each in answers} <= {202, 429, 503}
