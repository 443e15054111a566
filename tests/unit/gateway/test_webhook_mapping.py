"""How a sender's names become ours, and a report an event."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from libs.common.events import DeploymentRecorded
from libs.common.ids import deployment_id
from services.gateway.ingress.mapping import SourceMapping, event_of, found_in, key_of
from services.gateway.ingress.reported import Ignored, Malformed, Place, Reported, named

TENANT = UUID(int=7)
COMPONENT = UUID(int=8)
NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
SOURCE = "/webhooks/github/1"
REPORTED = Reported("186853002/1", named("acme/checkout", "checkout"), named("Production"), "SUCCEEDED", NOW)


@pytest.mark.parametrize(
    ("names", "place", "expected"),
    [
        ({}, named("acme/checkout", "checkout"), "acme/checkout"),
        ({"checkout": "shop"}, named("acme/checkout", "checkout"), "shop"),
        ({"checkout": "shop", "acme/checkout": "till"}, named("acme/checkout", "checkout"), "till"),
        ({" ACME/Checkout ": "shop"}, named("acme/CHECKOUT"), "shop"),
        ({"review/*": "staging", "*": "other"}, named("review/feature-1"), "staging"),
        ({"review/*": "staging", "review/eu-*": "eu", "review/eu-1": "one"}, named("review/eu-1"), "one"),
        ({"review/*": "staging", "review/eu-*": "eu"}, named("review/eu-1"), "eu"),
        ({"*": "shop"}, Place(None), "shop"),
        ({"other": "shop"}, named("checkout"), "checkout"),
    ],
)
def test_the_most_exact_name_counts(names: dict[str, str | None], place: Place, expected: str) -> None:
    assert found_in(names, place, "component") == expected


def test_a_name_that_is_mapped_to_nothing_is_left_out() -> None:
    left_out = found_in({"review/*": None}, named("review/1"), "environment")
    assert isinstance(left_out, Ignored)
    assert "review/" in left_out.reason
    mapping = SourceMapping(components={"checkout": None})
    assert isinstance(event_of(TENANT, SOURCE, mapping, REPORTED, NOW), Ignored)


def test_without_any_name_it_is_malformed() -> None:
    with pytest.raises(Malformed, match="component: is missing"):
        found_in({"x": "y"}, Place(None), "component")


def _event(mapping: SourceMapping | None = None, /, **changes: Any) -> DeploymentRecorded:
    fields = {name: getattr(REPORTED, name) for name in REPORTED.__dataclass_fields__}
    event = event_of(TENANT, SOURCE, mapping or SourceMapping(), Reported(**{**fields, **changes}), NOW)
    assert isinstance(event, DeploymentRecorded)
    return event


def test_a_report_becomes_an_event_of_the_sources_tenant() -> None:
    event = _event()
    assert (event.tenant, event.source, event.recorded_at) == (TENANT, SOURCE, NOW)
    assert event.deployment_id == deployment_id(TENANT, SOURCE, "186853002/1")
    assert (event.component_ref, event.component_id) == ("acme/checkout", None)
    assert (event.environment_ref, event.environment_id) == ("Production", None)
    assert key_of(event) == "acme/checkout:Production"


def test_an_id_in_the_mapping_is_an_id() -> None:
    event = _event(SourceMapping(components={"checkout": str(COMPONENT)}))
    assert (event.component_ref, event.component_id) == (None, COMPONENT)
    assert key_of(event) == f"{COMPONENT}:Production"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recorded_at": NOW + timedelta(minutes=6)}, "recorded_at"),
        ({"started_at": NOW + timedelta(minutes=6)}, "started_at"),
        ({"finished_at": NOW + timedelta(days=1)}, "finished_at"),
        ({"started_at": NOW, "finished_at": NOW - timedelta(seconds=1)}, "finished_at"),
        ({"recorded_at": datetime(1960, 1, 1, tzinfo=UTC)}, "recorded_at"),
    ],
)
def test_times_that_cannot_be_are_malformed(changes: dict[str, datetime], field: str) -> None:
    with pytest.raises(Malformed, match=field):
        _event(**changes)


def test_a_clock_that_is_a_little_ahead_is_borne() -> None:
    assert _event(recorded_at=NOW + timedelta(minutes=5)).recorded_at == NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    "body",
    [
        {"component": {}},
        {"components": {"": "x"}},
        {"components": {"x": ""}},
        {"components": {"x": "a\nb"}},
        {"components": {str(n): "x" for n in range(1001)}},
        {"fields": {"id": "a..b"}},
        {"fields": {"id": ""}},
        {"fields": {"name": "x"}},
        {"statuses": {"x": "DONE"}},
    ],
)
def test_a_mapping_that_means_nothing_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SourceMapping.model_validate(body)


def test_fields_are_read_in_both_spellings_and_survive_being_stored() -> None:
    camel = SourceMapping.model_validate({"fields": {"startedAt": "a", "commitSha": "b"}})
    snake = SourceMapping.model_validate({"fields": {"started_at": "a", "commit_sha": "b"}})
    assert camel == snake
    assert SourceMapping.model_validate_json(camel.model_dump_json()) == camel
