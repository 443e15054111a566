"""`POST /events` on the real broker: every mode, what is refused and how, and what stands on the topics then."""

import asyncio
import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from libs.common.envelope import Envelope
from libs.common.events import AuditRecorded, DeploymentRecorded
from libs.common.ids import audit_event_id, deployment_id
from libs.common.topics import AUDIT_RECORDED, DEPLOYMENT_RECORDED, USER_ERASED, Topic
from tests.integration.gateway_harness import Front, Reply, front
from tests.support.platform import Platform
from tests.support.processes import eventually

STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCHED = {"Content-Type": "application/cloudevents-batch+json"}
AT = "2026-03-18T15:30:00Z"


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:

        async def is_connected() -> bool:
            answer = await post(running, uuid4(), [], BATCHED)
            return answer.status == 202 and (await post(running, uuid4(), event())).status == 202

        await eventually(is_connected)
        yield running


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


def event(**changes: Any) -> dict[str, Any]:
    known = {"specversion": "1.0", "id": uuid4().hex, "source": "//ci/shop", "type": "deployment.recorded", "time": AT}
    return known | {"data": data()} | changes


def data(**changes: Any) -> dict[str, Any]:
    known = {"deploymentId": str(uuid4()), "componentRef": "shop", "environmentRef": "prod", "status": "succeeded"}
    return known | {"version": "1.2.3", "startedAt": "2026-03-18T15:20:00Z", "finishedAt": AT} | changes


def audit(**changes: Any) -> dict[str, Any]:
    return {"action": "CREATE", "resourceType": "component", "resourceId": "7", "actorId": "ada"} | changes


async def post(gateway: Front, tenant: UUID | None, body: object, headers: dict[str, str] | None = None) -> Reply:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await gateway.call(
        "POST", "/events", tenant=tenant, roles=("publisher",), data=BytesIO(sent), headers=headers or STRUCTURED
    )


async def told(gateway: Front, topic: Topic, tenant: UUID) -> list[Any]:
    """What stands on a topic of a tenant."""
    return [each for each in await gateway.events(topic) if Envelope.from_headers(each.headers).tenant == tenant]


async def deployments(gateway: Front, tenant: UUID) -> list[DeploymentRecorded]:
    found = await told(gateway, DEPLOYMENT_RECORDED, tenant)
    return [DeploymentRecorded.model_validate_json(each.value) for each in found]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents+json",
        "Application/CloudEvents+JSON; charset=UTF-8",
        'application/cloudevents+json;charset="utf-8"',
    ],
)
async def test_a_structured_event_is_published(gateway: Front, tenant: UUID, content_type: str) -> None:
    sent = event()
    answer = await post(gateway, tenant, sent, {"Content-Type": content_type})
    assert answer.status == 202, answer.text
    assert answer.body == {"results": [{"index": 0, "id": sent["id"], "status": "accepted"}]}
    (record,) = await told(gateway, DEPLOYMENT_RECORDED, tenant)
    envelope = Envelope.from_headers(record.headers)
    assert (envelope.id, envelope.source, envelope.type) == (sent["id"], "//ci/shop", "tidemark.deployment_recorded")
    assert envelope.time is not None
    assert envelope.time.isoformat() == "2026-03-18T15:30:00+00:00"
    assert record.key == b"shop:prod"
    found = DeploymentRecorded.model_validate_json(record.value)
    assert (str(found.deployment_id), found.status, found.source) == (
        sent["data"]["deploymentId"],
        "SUCCEEDED",
        "//ci/shop",
    )
    assert (found.tenant, found.recorded_at) == (tenant, envelope.time)
    assert b"deployment_id" in record.value


async def test_a_binary_event_is_published_with_its_headers_decoded(gateway: Front, tenant: UUID) -> None:
    source = "//ci/Ödipus & Co %"
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "ce-specversion": "1.0",
        "ce-id": quote("ä 1"),
        "CE-Source": quote(source),
        "ce-type": "tidemark.deployment_recorded",
        "ce-time": AT,
    }
    assert (await post(gateway, tenant, data(), headers)).status == 202
    (record,) = await told(gateway, DEPLOYMENT_RECORDED, tenant)
    envelope = Envelope.from_headers(record.headers)
    assert (envelope.id, envelope.source) == ("ä 1", source)


async def test_of_a_batch_the_valid_are_sent_and_the_invalid_are_named(gateway: Front, tenant: UUID) -> None:
    bad = event(id="bad", data=data(status="done", finishedAt="2026-03-18T15:00:00Z"))
    batch = [event(id="1"), bad, 7, event(id="2", type="audit.recorded", data=audit()), event(id="3", source="")]
    answer = await post(gateway, tenant, batch, BATCHED)
    assert answer.status == 202, answer.text
    shown = [(each["index"], each["id"], each["status"]) for each in answer.body["results"]]
    assert shown == [
        (0, "1", "accepted"),
        (1, "bad", "rejected"),
        (2, None, "rejected"),
        (3, "2", "accepted"),
        (4, "3", "rejected"),
    ]
    fields = [[error["field"] for error in each.get("errors", ())] for each in answer.body["results"]]
    assert fields == [[], ["data.status"], ["event"], [], ["source"]]
    assert len(await told(gateway, DEPLOYMENT_RECORDED, tenant)) == 1
    assert len(await told(gateway, AUDIT_RECORDED, tenant)) == 1


async def test_an_empty_batch_is_fine_and_one_without_a_valid_event_is_not(gateway: Front, tenant: UUID) -> None:
    empty = await post(gateway, tenant, [], BATCHED)
    assert (empty.status, empty.body) == (202, {"results": []})
    none = await post(gateway, tenant, [{}, event(type="tenant.changed")], BATCHED)
    assert (none.status, none.body["code"]) == (422, "unprocessable")
    assert [each["status"] for each in none.body["results"]] == ["rejected", "rejected"]
    assert {error["field"] for error in none.body["errors"]} == {"specversion", "id", "source", "type", "data"}
    assert await told(gateway, DEPLOYMENT_RECORDED, tenant) == []


async def test_snake_case_and_the_ids_of_others_are_taken(gateway: Front, tenant: UUID) -> None:
    ours = uuid4()
    snake = {"component_ref": "shop", "environment_ref": "prod", "status": "FAILED"}
    batch = [
        event(data=snake | {"external_id": 17}),
        event(data=snake, subject="run/18"),
        event(data=snake, subject=str(ours)),
        event(data=snake | {"external_id": "19", "source": "jenkins"}),
    ]
    answer = await post(gateway, tenant, batch, BATCHED)
    assert [each["status"] for each in answer.body["results"]] == ["accepted"] * 4
    assert [each.deployment_id for each in await deployments(gateway, tenant)] == [
        deployment_id(tenant, "//ci/shop", "17"),
        deployment_id(tenant, "//ci/shop", "run/18"),
        ours,
        deployment_id(tenant, "jenkins", "19"),
    ]


async def test_an_audit_event_is_completed_from_its_envelope_and_the_token(gateway: Front, tenant: UUID) -> None:
    sent = event(type="audit.recorded", data=audit(currentResource={"name": "shop"}))
    assert (await post(gateway, tenant, sent)).status == 202
    (record,) = await told(gateway, AUDIT_RECORDED, tenant)
    found = AuditRecorded.model_validate_json(record.value)
    assert found.event_id == audit_event_id(tenant, "//ci/shop", sent["id"])
    assert (found.event_type, found.environment, found.actor_type) == ("COMPONENT_CREATE", "production", "unknown")
    assert (found.current_resource, record.key) == ({"name": "shop"}, b"7")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"data": data(tenant=str(uuid4()))}, "data.tenant"),
        ({"data": data(componentRef=None)}, "data.componentId"),
        ({"data": data(environmentRef=" ")}, "data.environmentId"),
        ({"data": data(deploymentId="17")}, "data.deploymentId"),
        ({"data": data(deploymentId=None)}, "data.deploymentId"),
        ({"data": data(finishedAt="2026-03-18T15:00:00Z")}, "data.finishedAt"),
        ({"data": data(finishedAt="2126-03-18T15:00:00Z")}, "data.finishedAt"),
        ({"data": data(startedAt="1926-03-18T15:00:00Z")}, "data.startedAt"),
        ({"data": data(startedAt="2026-03-18T15:00:00")}, "data.startedAt"),
        ({"data": data(status="broken")}, "data.status"),
        ({"data": data(sequence=-1)}, "data.sequence"),
        ({"data": data(version="a\x00b")}, "data.version"),
        ({"data": data(metadata={"a": ["\x00"]})}, "data.metadata"),
        ({"data": data(version="v" * 2000)}, "data.version"),
        ({"data": data(metadata={"v": "x" * 70_000})}, "data.metadata"),
        ({"data": data(component_ref="twice")}, "data.component_ref"),
        ({"data": [1]}, "data"),
        ({"data": None}, "data"),
        ({"time": "2126-03-18T15:00:00Z"}, "time"),
        ({"time": "yesterday"}, "time"),
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"source": "a\x00"}, "source"),
        ({"type": "tidemark.user_erased"}, "type"),
        ({"type": "com.example.other"}, "type"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"type": "audit.recorded", "data": audit(environment="staging")}, "data.environment"),
        ({"type": "audit.recorded", "data": audit(resourceId=None)}, "data.resourceId"),
    ],
)
async def test_what_is_wrong_is_named_without_its_value(
    gateway: Front, tenant: UUID, changes: dict[str, Any], field: str
) -> None:
    answer = await post(gateway, tenant, event(**changes))
    assert answer.status == 422, answer.text
    assert [error["field"] for error in answer.body["errors"]] == [field]
    assert not any(secret in answer.text for secret in ("broken", "yesterday", "1926", "2126", "xxxx", "com.example"))


async def test_what_may_be_too_deep_or_too_large_for_us_is_no_failure_of_ours(gateway: Front, tenant: UUID) -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"a": deep}
    assert (await post(gateway, tenant, event(data=data(metadata=deep)))).status == 422
    assert (await post(gateway, tenant, event(data=data(metadata={"n": 10**40})))).status == 422
    assert (await post(gateway, tenant, b"[" * 100_000)).status == 422
    assert (await post(gateway, tenant, b"[" * 100_000, BATCHED)).status == 422
    assert (await post(gateway, tenant, b"{}", BATCHED)).status == 422
    assert (await post(gateway, tenant, b"\xff")).status == 422


async def test_sizes_are_capped(gateway: Front, tenant: UUID) -> None:
    padded = event(data=data(metadata={"v": "x" * 300_000}))
    assert (await post(gateway, tenant, padded)).status == 413
    batch = await post(gateway, tenant, [event(), padded], BATCHED)
    assert [each["status"] for each in batch.body["results"]] == ["accepted", "rejected"]
    assert (await post(gateway, tenant, [event()] * 1001, BATCHED)).status == 413
    huge = await post(gateway, tenant, b"[" + b" " * 2_000_000 + b"]", BATCHED)
    assert (huge.status, huge.body["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain", "ce-specversion": "1.0"},
        {"Content-Type": "application/cloudevents+xml"},
        {"Content-Type": "application/cloudevents+avro", "ce-specversion": "1.0"},
        {"Content-Type": "application/cloudevents+json; charset=utf-16"},
        {"Content-Type": "application/cloudevents+json", "Content-Encoding": "br"},
    ],
)
async def test_other_forms_are_refused_with_those_that_are_taken(
    gateway: Front, tenant: UUID, headers: dict[str, str]
) -> None:
    answer = await post(gateway, tenant, event(), headers)
    assert (answer.status, answer.body["code"]) == (415, "unsupported_media")
    assert "application/cloudevents-batch+json" in answer.headers["Accept-Post"]


async def test_who_may_publish(gateway: Front, tenant: UUID) -> None:
    body = json.dumps(event()).encode()
    statuses = {}
    for roles in ((), ("viewer",), ("publisher",), ("staff",), ("superuser",)):
        answer = await gateway.call("POST", "/events", tenant=tenant, roles=roles, data=body, headers=STRUCTURED)
        statuses[roles] = answer.status
        assert answer.status == 202 or "publisher, staff, superuser" in answer.body["detail"]
    assert statuses == {(): 403, ("viewer",): 403, ("publisher",): 202, ("staff",): 202, ("superuser",): 202}
    assert (await post(gateway, None, event())).status == 403
    async with gateway.session.post(gateway.url + "/events", data=body, headers=STRUCTURED) as answer_without:
        assert answer_without.status == 401


async def test_the_handshake_of_webhooks(gateway: Front) -> None:
    headers = {"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"}
    async with gateway.session.options(gateway.url + "/events", headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["WebHook-Allowed-Origin"] == "eventemitter.example.com"
        assert answer.headers["WebHook-Allowed-Rate"] == "*"
        assert "POST" in answer.headers["Allow"]
    async with gateway.session.options(gateway.url + "/events") as answer:
        assert "WebHook-Allowed-Origin" not in answer.headers


async def test_nothing_redirects(gateway: Front, tenant: UUID) -> None:
    answer = await gateway.call(
        "POST",
        "/events/",
        tenant=tenant,
        roles=("publisher",),
        json=event(),
        headers=STRUCTURED,
        allow_redirects=False,
    )
    assert answer.status == 202


async def test_what_events_look_like_is_served(gateway: Front) -> None:
    async with gateway.session.get(gateway.url + "/events/schemas/") as answer:
        items = (await answer.json())["items"]
    assert {"deployment_recorded", "deployment_recorded_camel", "audit_recorded"} <= {each["name"] for each in items}
    for each in items:
        async with gateway.session.get(gateway.url + each["path"]) as answer:
            assert answer.status == 200
            assert json.loads(await answer.text())["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    async with gateway.session.get(gateway.url + "/events/asyncapi.json") as answer:
        described = await answer.json()
    assert (described["asyncapi"], described["channels"][DEPLOYMENT_RECORDED.name]["x-outside"]["roles"]) == (
        "3.0.0",
        ["publisher", "staff", "superuser"],
    )
    assert "x-outside" not in described["channels"][USER_ERASED.name]
    async with gateway.session.get(gateway.url + "/events/schemas", allow_redirects=False) as answer:
        assert answer.status == 200
    async with gateway.session.get(gateway.url + "/events/schemas/nothing.json") as answer:
        assert answer.status == 404
    async with gateway.session.get(gateway.url + "/openapi.json") as answer:
        operation = (await answer.json())["paths"]["/events"]["post"]
    assert set(operation["requestBody"]["content"]) >= {"application/cloudevents-batch+json"}
    assert {"202", "413", "415", "429", "503"} <= set(operation["responses"])


def cdevent(kind: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
    """As a sender of CDEvents 0.4 or 0.5 writes it."""
    known = event(type=f"dev.cdevents.{kind}.0.3.0", datacontenttype="application/cdevents+json")
    context = {"version": "0.5.0", "id": known["id"], "source": known["source"], "type": known["type"], "timestamp": AT}
    subject = {"id": "service/shop", "source": known["source"], "content": content}
    return known | {"data": {"context": context, "subject": subject, **more}}


async def test_cdevents_tell_of_deployments(gateway: Front, tenant: UUID) -> None:
    place = {"environment": {"id": "prod"}, "artifactId": "pkg:oci/shop@sha256%3Aabc?repository_url=x"}
    run = {"pipelineName": "release", "outcome": "failure"}
    batch = [
        cdevent("service.deployed", place),
        cdevent("service.upgraded", place),
        cdevent("service.rolledback", place),
        cdevent(
            "pipelinerun.finished", run, customData={"environment": {"id": "prod"}, "service": {"id": "service/shop"}}
        ),
        cdevent("pipelinerun.finished", run),
        cdevent("incident.detected", {"description": "d"}),
        cdevent("service.deployed", {"environment": {"id": "prod"}}),
    ]
    answer = await post(gateway, tenant, batch, BATCHED)
    shown = [each["status"] for each in answer.body["results"]]
    assert shown == ["accepted"] * 4 + ["ignored"] * 2 + ["rejected"]
    assert answer.body["results"][-1]["errors"] == [
        {"field": "data.subject.content", "message": "must have artifactId"}
    ]
    found = await deployments(gateway, tenant)
    assert [(each.status, each.version, each.component_ref, each.rolls_back_current) for each in found] == [
        ("SUCCEEDED", "sha256:abc", "service/shop", False),
        ("SUCCEEDED", "sha256:abc", "service/shop", False),
        ("ROLLED_BACK", None, "service/shop", True),
        ("FAILED", None, "service/shop", False),
    ]
    assert found[0].deployment_id == deployment_id(tenant, "//ci/shop", batch[0]["id"])


async def test_the_same_event_again_has_the_same_id_and_source(gateway: Front, tenant: UUID) -> None:
    sent = event()
    answers = await asyncio.gather(*(post(gateway, tenant, sent) for _ in range(5)))
    assert {each.status for each in answers} == {202}
    records = await told(gateway, DEPLOYMENT_RECORDED, tenant)
    named = {(each.id, each.source) for each in (Envelope.from_headers(record.headers) for record in records)}
    assert (len(records), named) == (5, {(sent["id"], sent["source"])})


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_TRACE = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_trace_goes_along(gateway: Front, tenant: UUID) -> None:
    headers = BATCHED | {"traceparent": TRACE}
    assert (await post(gateway, tenant, [event(), event(traceparent=OTHER_TRACE)], headers)).status == 202
    records = await told(gateway, DEPLOYMENT_RECORDED, tenant)
    traces = [Envelope.from_headers(record.headers).traceparent for record in records]
    assert traces[0] is not None
    assert traces[0].split("-")[1] == TRACE.split("-")[1]
    assert traces[1] == OTHER_TRACE
    spans = {
        span.name
        for span in gateway.spans.get_finished_spans()
        if span.context and span.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    }
    assert {"POST /events", f"{DEPLOYMENT_RECORDED.name} publish"} <= spans


async def test_an_api_key_publishes_and_the_request_is_counted(gateway: Front) -> None:
    tenant = await gateway.new_tenant()
    body = {"name": "CI", "roles": ["publisher"]}
    made = await gateway.call("POST", "/api-keys", tenant=tenant, json=body)
    assert made.status == 201, made.text
    sent = json.dumps(event()).encode()
    answer = await gateway.call("POST", "/events", tenant=None, bearer=made.body["key"], data=sent, headers=STRUCTURED)
    assert answer.status == 202, answer.text
    assert len(await deployments(gateway, tenant)) == 1
    async with gateway.session.get(gateway.url + "/metrics") as metrics:
        text = await metrics.text()
    assert 'tidemark_http_request_seconds_count{method="POST",route="/events",status="202"}' in text
    assert f'tidemark_records_published_total{{topic="{DEPLOYMENT_RECORDED.name}"}}' in text
    assert 'tidemark_events_received_total{outcome="accepted"}' in text
