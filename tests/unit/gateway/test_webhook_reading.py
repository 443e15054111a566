"""What senders of one's own tell, and how any payload is read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.ingress import argocd, devlake, generic, github, gitlab
from services.gateway.ingress.mapping import SourceMapping
from services.gateway.ingress.reported import Ignored, Malformed, Place, Reading, Reported, moment, value_at
from tests.support.webhooks import payload

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
NOW = NOON + timedelta(hours=1)
PLAIN = SourceMapping()


def at(minutes: float = 0, seconds: float = 0) -> datetime:
    return NOON + timedelta(minutes=minutes, seconds=seconds)


def only(reading: Reading) -> Reported:
    assert isinstance(reading, list), reading
    (one,) = reading
    return one


def reason(reading: Reading) -> str:
    assert isinstance(reading, Ignored), reading
    return reading.reason


# --- generic


def test_a_sender_of_ones_own_tells_a_deployment() -> None:
    assert only(generic.deployments(payload("generic_deployment"), PLAIN, NOW)) == Reported(
        external_id="run-4711",
        component=Place("checkout", ("checkout",)),
        environment=Place("production", ("production",)),
        status="SUCCEEDED",
        recorded_at=at(5),
        started_at=at(),
        finished_at=at(5),
        version="2.4.1",
        commit_sha="f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
        commit_at=at(-180),
        deployed_by="dana",
    )


DATADOG = {
    "data": {
        "attributes": {
            "service": "checkout",
            "env": "prod",
            "version": "v1",
            "started_at": 1773835200000000000,
            "finished_at": 1773835500000000000,
            "git": {"commit_sha": "c1", "repository_url": "https://github.com/acme/checkout"},
            "id": "4242fcdd-43b3-4a2d-8f5d-b1f9f1a2d0f1",
        },
        "states": [{"word": "Done"}],
    }
}


def test_paths_and_words_are_the_sources_own() -> None:
    base = "data.attributes"
    mapping = SourceMapping.model_validate(
        {
            "fields": {
                "id": f"{base}.id",
                "component": f"{base}.service",
                "environment": f"{base}.env",
                "status": "data.states.0.word",
                "startedAt": f"{base}.started_at",
                "finished_at": f"{base}.finished_at",
                "commitSha": f"{base}.git.commit_sha",
                "version": f"{base}.version",
            },
            "statuses": {"DONE": "SUCCEEDED"},
        }
    )
    told = only(generic.deployments(DATADOG, mapping, NOW))
    assert (told.component.ref, told.environment.ref, told.status) == ("checkout", "prod", "SUCCEEDED")
    assert (told.started_at, told.finished_at, told.commit_sha) == (at(), at(5), "c1")


@pytest.mark.parametrize(
    ("word", "statuses", "status"),
    [
        ("Rolled_Back", {}, "ROLLED_BACK"),
        ("running", {}, "IN_PROGRESS"),
        ("success", {"success": "FAILED"}, "FAILED"),
        ("ok", {}, None),
        ("success", {"Success": None}, None),
    ],
)
def test_words_of_a_status(word: str, statuses: dict[str, Any], status: str | None) -> None:
    mapping = SourceMapping(statuses=statuses)
    reading = generic.deployments(payload("generic_deployment", status=word), mapping, NOW)
    assert (only(reading).status if status else reason(reading) and None) == status


def test_without_a_time_it_is_recorded_now() -> None:
    told = only(generic.deployments({"id": 7, "status": "failed"}, PLAIN, NOW))
    assert (told.external_id, told.recorded_at, told.finished_at) == ("7", NOW, None)
    assert told.component == Place(None)
    for missing in ({"id": 7}, {"status": "failed"}):
        with pytest.raises(Malformed, match="is missing"):
            generic.deployments(missing, PLAIN, NOW)


# --- reading


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-03-18T12:00:00Z", at()),
        ("2026-03-18t12:00:00z", at()),
        ("2026-03-18 13:00:00 +0100", at()),
        ("2026-03-18 12:00:00 UTC", at()),
        ("2026-03-18T06:30:00-05:30", at()),
        ("2026-03-18T12:00:00.5Z", at(seconds=0.5)),
        ("2026-03-18T12:00:00.123456789Z", at(seconds=0.123456)),
        (1773835200, at()),
        ("1773835200", at()),
        (1773835200.25, at(seconds=0.25)),
        (1773835200000, at()),
        (1773835200000000, at()),
        (1773835200000000000, at()),
    ],
)
def test_times_as_systems_write_them(written: object, read: datetime) -> None:
    assert moment(written) == read


@pytest.mark.parametrize(
    "written",
    ["2026-03-18T12:00:00", "2026-03-18", "noon", "2026-13-18T12:00:00Z", -1, True, [], {}, float("nan"), float("inf"),
     "0001-01-01T00:00:00+14:00", "2026-03-18T12:00:00+99:99"],
)  # fmt: skip
def test_what_is_no_time(written: object) -> None:
    with pytest.raises((ValueError, OverflowError)):
        moment(written)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://ci.example.com/runs/7?token=canary#canary", "https://ci.example.com/runs/7"),
        ("https://mona:canary@ci.example.com:8443/runs/7", "https://ci.example.com:8443/runs/7"),
        ("javascript:canary", None),
        ("https://[canary", None),
        ("", None),
        (7, None),
    ],
)
def test_addresses_are_kept_without_what_may_be_secret(written: object, shown: str | None) -> None:
    told = only(
        github.deployments(
            "deployment_status", payload("github_deployment_status", deployment_status__target_url=written)
        )
    )
    assert told.metadata.get("url") == shown
    assert "canary" not in repr(told)


def test_paths_lead_through_objects_and_lists_and_end_quietly() -> None:
    content = {"a": [{"b": 1}, {"b": None}], "c": "text"}
    cases = {
        "a.0.b": 1,
        "a.1.b": None,
        "a.2.b": None,
        "a.-1.b": None,
        "a.x": None,
        "c.0": None,
        "d.e.f": None,
        "c": "text",
    }
    assert {path: value_at(content, path) for path in cases} == cases
    assert value_at(content, "a.²") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
READERS: dict[str, Callable[[dict[str, Any]], Reading]] = {
    "github_deployment_status": lambda content: github.deployments("deployment_status", content),
    "gitlab_deployment": gitlab.deployments,
    "argocd_application": lambda content: argocd.deployments(content, NOW),
    "devlake_deployment": lambda content: devlake.deployments(content, NOW),
    "generic_deployment": lambda content: generic.deployments(content, PLAIN, NOW),
}


@given(st.sampled_from(sorted(READERS)), st.data())
def test_whatever_a_payload_holds_it_is_read_ignored_or_malformed(name: str, data: st.DataObject) -> None:
    """A sender never gets an internal error, wherever in a good payload something else stands."""
    content = payload(name)
    inner: Any = content
    while True:
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not isinstance(inner[key], (dict, list)) or not inner[key] or data.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = data.draw(json_values)
    try:
        reading = READERS[name](content)
    except Malformed:
        return
    assert isinstance(reading, (list, Ignored))
