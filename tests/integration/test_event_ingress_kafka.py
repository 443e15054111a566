"""Published straight to Kafka, in every form that is out there; what nobody can read is a dead letter."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from libs.common.broker import build_broker
from libs.common.consume import Consumers, DeadLetter, DeadLetterLimits, Record
from libs.common.events import AuditRecorded, DeploymentRecorded, OpenEvent
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.topics import AUDIT_RECORDED, DEPLOYMENT_RECORDED, Topic
from tests.support.messaging import Bench, fresh_bench, until
from tests.support.servers import Servers

TENANT = uuid4()
AT = "2026-03-18T15:30:00Z"
# As a serialiser for a schema registry writes it: a byte 0 and the schema's id.
FRAME = b"\0\0\0\0\x2a"
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]
BINARY = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"7"),
    ("ce_source", b"//ci"),
    ("ce_type", b"tidemark.deployment_recorded"),
    ("ce_tenant", str(TENANT).encode()),
    ("content-type", b"application/json"),
]
MODELS: dict[Topic, type[OpenEvent]] = {DEPLOYMENT_RECORDED: DeploymentRecorded, AUDIT_RECORDED: AuditRecorded}
FIELDS: dict[Topic, tuple[dict[str, Any], dict[str, Any]]] = {
    DEPLOYMENT_RECORDED: (
        {"deployment_id": str(UUID(int=7)), "component_ref": "shop", "status": "SUCCEEDED", "recorded_at": AT},
        {"deploymentId": str(UUID(int=7)), "componentRef": "shop", "status": "succeeded", "recordedAt": AT},
    ),
    AUDIT_RECORDED: (
        {"event_id": str(UUID(int=7)), "occurred_at": AT, "event_type": "SHOP_CREATE", "resource_type": "shop"},
        {"eventId": str(UUID(int=7)), "occurredAt": AT, "eventType": "SHOP_CREATE", "resourceType": "shop"},
    ),
}
MORE = {
    DEPLOYMENT_RECORDED: {"source": "ci"},
    AUDIT_RECORDED: {"action": "CREATE", "resource_id": "1", "resourceId": "1"},
}


@pytest.fixture(params=MODELS, ids=lambda topic: topic.name)
async def bench(request: pytest.FixtureRequest, servers: Servers) -> Bench:
    return await fresh_bench(servers.kafka, topic=request.param)


def consumers(bench: Bench, taken: list[Record[Any]], buried: list[DeadLetter]) -> Consumers:
    async def bury(letter: DeadLetter) -> None:
        buried.append(letter)

    async def handler(batch: Sequence[Record[Any]]) -> None:
        taken.extend(batch)

    broker, metrics = build_broker(bench.settings, "worker"), MessagingMetrics(CollectorRegistry())
    limits = DeadLetterLimits(max_run=1_000, max_share=1.0)
    running = Consumers("worker", broker, bench.settings, metrics, limits=limits)
    running.subscribe(bench.topic, MODELS[bench.topic], handler, on_dead_letter=bury)
    return running


def structured(data: object, **more: object) -> bytes:
    event = {"specversion": "1.0", "id": "7", "source": "//ci", "type": "t", "time": AT, "tenant": str(TENANT)}
    return json.dumps({**event, **more, "data": data}).encode()


async def test_every_form_is_read_and_poison_is_a_dead_letter(bench: Bench) -> None:
    good = 0
    for fields in FIELDS[bench.topic]:
        body = fields | MORE[bench.topic]
        for frame in (b"", FRAME):
            await bench.write(frame + json.dumps(body).encode(), headers=BINARY)
            await bench.write(frame + structured(body), headers=STRUCTURED)
            await bench.write(frame + json.dumps(body | {"tenant": str(TENANT)}).encode())
            good += 3
    poison: list[bytes] = [
        b"\0",
        FRAME,
        FRAME + b"\x02\x06avro",
        b"\0\0" + FRAME + b"{}",
        FRAME + b'{"tenant": 1}',
        b"{",
        b"[]",
        b"",
        b"\xff\xfe",
        json.dumps(FIELDS[bench.topic][0]).encode(),  # names no tenant
    ]
    await bench.write(*poison)
    await bench.write(FRAME + structured([1]), headers=STRUCTURED)
    await bench.write(b"[" + structured({}) + b"]", headers=[("content-type", b"application/cloudevents-batch+json")])
    await bench.write(b"<xml/>", headers=[("content-type", b"application/cloudevents+xml")])
    bad = len(poison) + 3
    await bench.write(None)  # a tombstone, which says nothing
    taken, buried = list[Record[Any]](), list[DeadLetter]()
    running = consumers(bench, taken, buried)
    await running.start()
    try:
        await until(lambda: (len(taken), len(buried)) == (good, bad))
        assert running.ready() is None
    finally:
        await running.stop()
    dead = await bench.read(bench.dead_letters)
    print(f"INGRESS_KAFKA topic={bench.topic.name} forms={good} dead={len(dead)}")
    assert len({record.event.to_json() for record in taken}) == 1
    assert {record.event.tenant for record in taken} == {TENANT}
    assert Counter(record.envelope.id == "7" for record in taken) == {True: good * 2 // 3, False: good // 3}
    assert len(dead) == bad
    assert {dict(each.headers)["dl-kind"] for each in dead} == {b"invalid"}
    assert sorted(each.value or b"" for each in dead)[-1] == b"\xff\xfe"  # as it came
