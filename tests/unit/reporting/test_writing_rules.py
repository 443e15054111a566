"""What is stored of events, which states may follow, what names and files mean."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.event_rules import Refused
from libs.common.events import AuditRecorded, DeploymentRecorded
from libs.common.sealed import MASK
from services.reporting.arrivals import audit_event_of, digest_id, event_id, state_of
from services.reporting.backstage import NotAccepted, described, lifecycle_of, owner_of
from services.reporting.domain import (
    LIFECYCLES,
    NEXT,
    STATUSES,
    Status,
    Tier,
    allowed,
    clamped,
    folded,
    parked_reason,
    renamed,
    texts,
    tier_of,
    without_secrets,
)

NOW = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
TENANT = UUID(int=7)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def told(**values: Any) -> DeploymentRecorded:
    known: dict[str, Any] = {"tenant": TENANT, "deployment_id": UUID(int=1), "status": "SUCCEEDED", "source": "ci"}
    known |= {"recorded_at": NOW, "component_ref": " Shop ", "environment_ref": "LIVE"}
    return DeploymentRecorded.model_validate(known | values)


def test_places_are_folded_and_ids_are_names_too() -> None:
    state = state_of(told(), UUID(int=9), NOW)
    assert (state.component_ref, state.environment_ref) == ("shop", "live")
    component = uuid4()
    assert state_of(told(component_id=component), UUID(int=9), NOW).component_ref == str(component)


def test_a_rollback_of_a_place_names_no_deployment() -> None:
    state = state_of(told(status="ROLLED_BACK", rolls_back_current=True), UUID(int=9), NOW)
    assert state.deployment_id is None
    with pytest.raises(Refused):
        state_of(told(rolls_back_current=True), UUID(int=9), NOW)


@pytest.mark.parametrize(("ahead", "stored"), [(-1, -1), (0, 0), (1, 0), (300, 0)])
def test_times_a_little_ahead_are_now(ahead: int, stored: int) -> None:
    at = NOW + timedelta(seconds=ahead)
    state = state_of(told(recorded_at=at, started_at=at, finished_at=at), UUID(int=9), NOW)
    assert {state.recorded_at, state.started_at, state.finished_at} == {NOW + timedelta(seconds=stored)}


@pytest.mark.parametrize("field", ["recorded_at", "started_at", "finished_at", "commit_at"])
def test_times_far_ahead_are_refused(field: str) -> None:
    with pytest.raises(Refused) as refused:
        state_of(told(**{field: NOW + timedelta(seconds=301)}), UUID(int=9), NOW)
    assert refused.value.field == field


def test_an_event_is_known_by_tenant_source_and_id() -> None:
    ids = {event_id(tenant, source, sent) for tenant in (TENANT, uuid4()) for source in "ab" for sent in "cd"}
    assert len(ids) == 8
    assert digest_id(told()) == digest_id(told())
    assert digest_id(told()) != digest_id(told(version="1"))


def test_a_digest_is_made_of_what_was_sent_not_of_when_it_came() -> None:
    ahead = told(recorded_at=NOW + timedelta(minutes=4))
    early, late = (state_of(ahead, digest_id(ahead), NOW + timedelta(minutes=each)) for each in (0, 9))
    assert early.event_id == late.event_id
    assert early.recorded_at != late.recorded_at


@given(st.sampled_from(STATUSES), st.sampled_from(STATUSES))
def test_what_may_follow(current: Status, wanted: Status) -> None:
    assert allowed(current, wanted) is (wanted == current or wanted in NEXT[current])
    assert current not in NEXT[current]
    assert not NEXT["ROLLED_BACK"]
    assert STATUSES.index(wanted) > STATUSES.index(current) or wanted not in NEXT[current]


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("production", "production"), ("EU-Prod", "production"), ("live", "production"), ("pre-prod", "staging"),
        ("staging-2", "staging"), ("uat", "staging"), ("qa_1", "testing"), ("test", "testing"), ("dev", "development"),
        ("review/42", "development"), ("product", "other"), ("moon", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_tiers_are_told_from_names(name: str, tier: Tier) -> None:
    assert tier_of(name) == tier
    assert tier in get_args(Tier)


@given(json_values)
def test_masking_and_renaming_keep_the_shape(value: Any) -> None:
    assert without_secrets(without_secrets(value)) == without_secrets(value)
    assert renamed(value, {}) == value
    names = {text: f"erased:{place}" for place, text in enumerate(sorted(texts(value)))}
    assert texts(renamed(value, names)) == set(names.values())


def test_secrets_are_masked_however_deep() -> None:
    value = {"a": [{"clientSecret": "x", "n": 1}], "Private-Key": "x", "api_key": None, "secret_key": "name"}
    assert without_secrets(value) == {
        "a": [{"clientSecret": MASK, "n": 1}], "Private-Key": MASK, "api_key": None, "secret_key": "name",
    }  # fmt: skip


def audited(**values: Any) -> AuditRecorded:
    known: dict[str, Any] = {"tenant": TENANT, "event_id": uuid4(), "occurred_at": NOW, "action": "UPDATE"}
    known |= {"event_type": "X_UPDATE", "resource_type": "x", "resource_id": "1"}
    return AuditRecorded.model_validate(known | values)


def test_a_deletion_has_no_current_resource() -> None:
    event = audited(action="DELETE", previous_resource={"a": 1}, current_resource={"a": 1})
    stored = audit_event_of(event, NOW)
    assert (stored.previous_resource, stored.current_resource) == ({"a": 1}, None)


def test_a_change_of_a_component_is_about_it() -> None:
    component = uuid4()
    assert audit_event_of(audited(resource_type="component", resource_id=str(component)), NOW).component_id == component
    assert audit_event_of(audited(resource_type="component", resource_id="shop"), NOW).component_id is None
    assert audit_event_of(audited(resource_id=str(component)), NOW).component_id is None


def test_reasons_name_what_is_unknown() -> None:
    assert parked_reason("a", None) == 'unknown component "a"'
    assert parked_reason("a", "b") == 'unknown component "a", unknown environment "b"'
    assert parked_reason(None, None)


@given(st.text())
def test_folding_is_idempotent(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@given(st.none() | st.integers(-(10**9), 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds)))
def test_nothing_lies_ahead(moment: datetime | None) -> None:
    found = clamped(moment, NOW)
    assert found is None or found <= NOW
    assert (found is None) is (moment is None)


@pytest.mark.parametrize(
    ("written", "lifecycle"),
    [
        *((each, each) for each in LIFECYCLES), ("Production", "production"), (" GA ", "production"),
        ("Beta", "experimental"), ("end of life", "deprecated"), ("END_OF_SERVICE", "decommissioned"),
        ("proposed", "planned"),
    ],
)  # fmt: skip
def test_lifecycles_of_others_are_mapped(written: str, lifecycle: str) -> None:
    assert lifecycle_of(written) == lifecycle


def test_an_unknown_lifecycle_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(NotAccepted) as refused:
        lifecycle_of("someday")
    assert all(each in str(refused.value) for each in LIFECYCLES)


@pytest.mark.parametrize(
    ("ref", "owner"),
    [
        ("team-a", "team-a"), ("group:default/team-a", "team-a"), ("group:team-a", "team-a"),
        ("default/team-a", "team-a"), ("group:eu/team-a", "eu/team-a"), ("user:jane", "user:jane"), ("", ""),
    ],
)  # fmt: skip
def test_owners_are_named_as_people_do(ref: str, owner: str) -> None:
    assert owner_of(ref) == owner


def component(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": "Component", "metadata": {"name": "a"}}
    document["spec"] = {"type": "service", "lifecycle": "production", "owner": "o"}
    return document | changes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metadata": None}, "metadata: must be a mapping"),
        ({"metadata": {}}, "metadata.name: is missing"),
        ({"metadata": {"name": ["a"]}}, "metadata.name: must be a text"),
        ({"metadata": {"name": "a" * 256}}, "metadata.name: is longer"),
        ({"metadata": {"name": "a\0"}}, "metadata.name: holds a NUL"),
        ({"metadata": {"name": "a", "annotations": []}}, "metadata.annotations: must be a mapping"),
        ({"spec": {"lifecycle": "production"}}, "spec.type: is missing"),
        ({"spec": {"type": "x"}}, "spec.lifecycle: is missing"),
        ({"kind": None}, "kind: is missing"),
    ],
)
def test_a_document_that_is_no_component_says_why(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(NotAccepted) as refused:
        described(component(**changes))
    assert says in str(refused.value)


def test_a_component_without_an_owner_is_one() -> None:
    assert described(component(spec={"type": "x", "lifecycle": "planned"})).owner == ""
