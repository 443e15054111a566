"""What is published of an event: quickly or slowly the same, and within what reporting takes."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from libs.common.errors import Forbidden
from libs.common.events import AuditRecorded, DeploymentRecorded
from libs.common.topics import ALL_TOPICS
from services.gateway.ingress import quick
from services.gateway.ingress.cdevents import version_of
from services.gateway.ingress.cloudevents import CloudEvent, Invalid
from services.gateway.ingress.reading import Reading, Sender, admitted, read
from services.gateway.ingress.reported import Ignored
from services.reporting.arrivals import audit_event_of, state_of
from tests.support.examples import examples

NOW = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
SENDER = Sender(UUID(int=7), "production", frozenset({"publisher"}))
KNOWN = UUID("11111111-1111-4111-8111-111111111111")
times = st.sampled_from(
    [
        *("2026-03-18T15:00:00Z", "2026-03-18T15:20:00+00:00", "2026-03-18T17:34:59+02:00", "2026-03-18T15:36:00Z"),
        *("1969-12-31T23:59:59Z", "2026-03-18", "2026-03-18T15:00:00", "0001-01-01T00:00:00+14:00", None, 5),
    ]
)
texts = st.sampled_from(["shop", " ", "", "a\0b", "x" * 1024, "x" * 1025, "ö", None, 7])
PLAIN = {"status": "failed", "deploymentId": str(KNOWN), "componentRef": "shop", "environmentRef": "prod"}
EXTERNAL = {"status": "failed", "externalId": "7", "componentRef": "shop", "environmentRef": "prod"}
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "status": st.sampled_from(["SUCCEEDED", "Rolled_Back", "done", None]),
    "deploymentId": st.sampled_from([KNOWN.hex, "17", None]),
    "externalId": st.sampled_from(["run/1", 17, "", None]),
    "componentId": st.sampled_from([str(KNOWN), "x", None]),
    "componentRef": texts,
    "environmentRef": texts,
    "environment_ref": texts,
    "version": texts,
    "source": texts,
    "startedAt": times,
    "finishedAt": times,
    "recordedAt": times,
    "commitAt": times,
    "sequence": st.sampled_from([0, 3, 2**53, 2**53 + 1, -1, "4", 1.5, True]),
    "isRework": st.sampled_from([True, False, "true", None]),
    "rollsBackCurrent": st.booleans(),
    "metadata": st.sampled_from([{}, {"a": [1, {"b": "ö"}]}, {"n": 2**70}, {"a": "\0"}, {"x": "y" * 70_000}, []]),
    "tenant": st.sampled_from([str(SENDER.tenant), str(KNOWN), 1]),
    "other": st.just(1),
}
CHANGES = st.one_of(*(st.tuples(st.just(name), values) for name, values in FIELDS.items()))
DATA = st.builds(
    lambda base, changes: base | dict(changes), st.sampled_from([PLAIN, EXTERNAL]), st.lists(CHANGES, max_size=4)
)


def event(data: dict[str, Any], kind: str = "deployment.recorded") -> CloudEvent:
    return CloudEvent(id="1", source="//ci", type=kind, data=data, time=NOW)


def slowly(event: CloudEvent, monkeypatch: pytest.MonkeyPatch) -> Reading | None:
    with monkeypatch.context() as patched:
        patched.setattr(quick, "deployment", lambda *_: None)
        return taken(event)


def taken(event: CloudEvent) -> Reading | None:
    try:
        return cast(Reading, read(event, SENDER, NOW))
    except Invalid:
        return None


@settings(max_examples=examples(500))
@given(DATA)
@example(PLAIN)
@example(EXTERNAL)
@example(EXTERNAL | {"source": "jenkins"})
@example(PLAIN | {"source": ""})
@example(PLAIN | {"startedAt": "2026-03-18T15:00:00Z", "finishedAt": "2026-03-18T15:20:00Z", "metadata": {"a": 1}})
def test_the_quick_way_and_the_slow_one_agree(data: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        one, other = taken(event(data)), slowly(event(data), monkeypatch)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.key == other.key
        first, second = (DeploymentRecorded.model_validate_json(each.value) for each in (one, other))
        assert first == second
        assert first.tenant == SENDER.tenant
        state_of(first, KNOWN, NOW)  # what is answered 202 is no dead letter


def test_the_usual_event_goes_the_quick_way() -> None:
    full = {
        "externalId": "7",
        "version": "1",
        "startedAt": "2026-03-18T15:00:00Z",
        "finishedAt": "2026-03-18T15:20:00Z",
    }
    for data in (PLAIN, {**PLAIN, **full, "deploymentId": str(KNOWN)}):
        assert quick.deployment(CloudEvent(id="1", source="s", type="t", data=data), SENDER.tenant, NOW) is not None


@given(
    st.fixed_dictionaries(
        {"action": st.sampled_from(["CREATE", "DELETE", "\0", 1]), "resourceType": texts, "resourceId": texts},
        optional={
            "eventId": st.sampled_from([str(KNOWN), "x"]),
            "occurredAt": times,
            "environment": st.sampled_from(["production", "staging"]),
            "actorId": texts,
            "actorType": st.sampled_from(["user", "robot"]),
            "currentResource": st.sampled_from([{"name": "a"}, {"a": "\0"}, None, "x"]),
            "previous_resource": st.just({"name": "b"}),
        },
    )
)
def test_whatever_audit_event_is_taken_is_one_that_reporting_takes(data: dict[str, Any]) -> None:
    found = taken(event(data, "audit.recorded"))
    if found is not None:
        told = AuditRecorded.model_validate_json(found.value)
        assert (told.tenant, told.environment) == (SENDER.tenant, "production")
        audit_event_of(told, NOW)


@pytest.mark.parametrize("way", [topic.name for topic in ALL_TOPICS])
def test_only_topics_of_the_table_are_published_to(way: str) -> None:
    (topic,) = [each for each in ALL_TOPICS if each.name == way]
    for kind in (topic.name, "tidemark." + topic.name.replace(".", "_")):
        try:
            read(event({}, kind), SENDER, NOW)
        except Invalid as invalid:
            refused = [each.field for each in invalid.problems] == ["type"]
            assert refused != topic.outside.admits("events", SENDER.roles)


def test_roles_are_those_of_the_table() -> None:
    admitted(frozenset({"publisher"}))
    with pytest.raises(Forbidden, match="publisher, staff, superuser"):
        admitted(frozenset({"viewer"}))


CONTEXT = {"version": "0.5.0", "id": "1", "source": "//ci", "timestamp": "2026-03-18T15:20:00Z"}
PLACE = {"environment": {"id": "prod", "source": "//x"}, "artifactId": "pkg:oci/shop@1.2.3"}


def cdevent(kind: str, content: Any, version: str = "0.3.0", **more: Any) -> CloudEvent:
    name = f"dev.cdevents.{kind}" + (f".{version}" if version else "")
    data = {"context": {**CONTEXT, "type": name}, "subject": {"id": "shop", "content": content}, **more}
    return event(data, name)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.0-draft", "9.9.9", ""])
def test_a_cdevent_is_known_by_its_type_without_the_version(version: str) -> None:
    found = taken(cdevent("service.deployed", PLACE, version))
    assert found is not None
    told = DeploymentRecorded.model_validate_json(found.value)
    assert (told.status, told.version, told.environment_ref, found.key) == ("SUCCEEDED", "1.2.3", "prod", "shop:prod")
    assert told.finished_at == told.recorded_at == NOW - timedelta(minutes=10)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "data.subject.content"),
        ({**PLACE, "environment": "prod"}, "data.subject.content.environment"),
        ({**PLACE, "environment": {}}, "data.subject.content.environment"),
        ({**PLACE, "environment": {"id": ""}}, "data.subject.content.environment.id"),
        ({**PLACE, "artifactId": 7}, "data.subject.content.artifactId"),
        ([], "data.subject.content"),
    ],
)
def test_a_cdevent_of_another_shape_is_refused(content: Any, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(cdevent("service.upgraded", content), SENDER, NOW)
    assert [each.field for each in caught.value.problems] == [field]


@pytest.mark.parametrize("change", ["type", "timestamp"])
def test_the_context_of_a_cdevent_agrees_with_its_envelope(change: str) -> None:
    sent = cdevent("service.deployed", PLACE)
    sent.data["context"][change] = "dev.cdevents.service.removed.0.3.0"
    with pytest.raises(Invalid, match=f"data.context.{change}"):
        read(sent, SENDER, NOW)


@pytest.mark.parametrize(
    ("outcome", "custom", "status"),
    [
        ("success", {"environment": "prod"}, "SUCCEEDED"),
        ("failure", {"environment": {"id": "prod"}}, "FAILED"),
        ("ERROR", {"environment": "prod", "service": "shop"}, "FAILED"),
        ("cancel", {"environment": "prod"}, None),
        ("success", {}, None),
        ("failure", "text", None),
        ("failure", {"environment": 7}, None),
    ],
)
def test_a_run_that_names_its_environment_is_a_deployment(outcome: str, custom: Any, status: str | None) -> None:
    content = {"pipelineName": "release", "outcome": outcome}
    found = read(cdevent("pipelinerun.finished", content, customData=custom), SENDER, NOW)
    if status is None:
        assert isinstance(found, Ignored)
    else:
        assert isinstance(found, Reading)
        assert DeploymentRecorded.model_validate_json(found.value).status == status


def test_a_rollback_names_the_place_and_not_the_version_that_is_undone() -> None:
    found = taken(cdevent("service.rolledback", PLACE))
    assert found is not None
    told = DeploymentRecorded.model_validate_json(found.value)
    assert (told.status, told.rolls_back_current, told.version, told.finished_at) == ("ROLLED_BACK", True, None, None)


@pytest.mark.parametrize(
    ("artifact", "version"),
    [
        ("pkg:oci/shop@sha256%3Aabc?repository_url=x/y@z", "sha256:abc"),
        ("pkg:npm/%40acme/shop@1.0.0#sub@path", "1.0.0"),
        ("pkg:golang/acme.com/shop", None),
        ("shop", None),
        ("@1", None),
    ],
)
def test_the_version_of_a_package_url(artifact: str, version: str | None) -> None:
    assert version_of(artifact) == version
