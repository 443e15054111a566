"""Levels are reached one after the other; rules come from a file."""

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import services.reporting.scorecards
from services.reporting.dora import Durations, Totals, report
from services.reporting.figures import MICROSECOND
from services.reporting.scorecards import Component, Scheme, scorecard
from services.reporting.windows import Window
from tests.unit.reporting.test_windows import NOON

FILE = Path(services.reporting.scorecards.__file__).with_name("scorecards.toml")
SCHEME = Scheme.model_validate(tomllib.loads(FILE.read_text()))
MONTH = Window(NOON - timedelta(days=30), NOON)


def component(owner: str | None = "team", description: str | None = "d", lifecycle: str = "production") -> Component:
    return Component(UUID(int=1), "a", "service", lifecycle, owner, description)


@pytest.mark.parametrize(
    ("one", "totals", "level"),
    [
        (component(owner=None), Totals(succeeded=9), None),
        (component(owner=""), Totals(succeeded=9), None),
        (component(description=None), Totals(succeeded=9), None),
        (component(), Totals(), "Bronze"),
        (component(), Totals(succeeded=1), "Silver"),
        (component(), Totals(succeeded=17, failed=3), "Silver"),
        (component(), Totals(succeeded=16, failed=3), "Bronze"),
        (component(), Totals(succeeded=4), "Gold"),
        (
            component(),
            Totals(succeeded=95, failed=5, recovery=Durations(1, timedelta(hours=24) // MICROSECOND)),
            "Gold",
        ),
        (
            component(),
            Totals(succeeded=95, failed=5, recovery=Durations(1, timedelta(hours=25) // MICROSECOND)),
            "Silver",
        ),
        (component(owner=None), Totals(succeeded=0, failed=9), None),
    ],
)
def test_the_level_of_a_component(one: Component, totals: Totals, level: str | None) -> None:
    assert scorecard(SCHEME, one, report(MONTH, totals)).level == level


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from([None, "", "team"]))
def test_a_level_holds_all_rules_below(succeeded: int, failed: int, owner: str | None) -> None:
    found = scorecard(SCHEME, component(owner), report(MONTH, Totals(succeeded=succeeded, failed=failed)))
    order = [level.name for level in SCHEME.levels]
    reached = order.index(found.level) + 1 if found.level else 0
    passed = {name: all(each.outcome.passed for each in found.checked if each.level == name) for name in order}
    assert all(passed[name] for name in order[:reached])
    assert reached == len(order) or not passed[order[reached]]


def test_a_rule_without_anything_to_judge_is_not_held_against() -> None:
    found = scorecard(SCHEME, component(), report(MONTH, Totals()))
    outcomes = {each.rule: (each.outcome.passed, each.outcome.actual) for each in found.checked}
    assert outcomes["failure-rate"] == outcomes["recovers-in-a-day"] == (True, None)
    assert outcomes["deployed-lately"] == (False, 0)


LEVEL: dict[str, Any] = {"name": "A", "rules": [{"id": "o", "rule": "has", "field": "owner"}]}


@pytest.mark.parametrize(
    "levels",
    [
        [],
        [{"name": "A", "rules": []}],
        [LEVEL, LEVEL],
        [{"name": "A", "rules": [{"id": "x", "rule": "has", "field": "password"}]}],
        [{"name": "A", "rules": [{"id": "x", "rule": "wishes"}]}],
        [{"name": "A", "rules": [{"id": "x", "rule": "failure_rate_at_most", "limit": 101}]}],
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(levels: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        Scheme.model_validate({"days": 30, "tiers": [], "levels": levels})


def test_every_rule_can_be_written() -> None:
    rules = [
        {"id": "a", "rule": "lifecycle_in", "values": ["production"]},
        {"id": "b", "rule": "lead_time_hours_at_most", "limit": 2},
    ]
    scheme = Scheme.model_validate({"days": 30, "tiers": ["production"], "levels": [{"name": "A", "rules": rules}]})
    slow = report(MONTH, Totals(succeeded=1, lead=Durations(1, timedelta(hours=3) // MICROSECOND)))
    quick = report(MONTH, Totals(succeeded=1, lead=Durations(1, timedelta(hours=2) // MICROSECOND)))
    assert scorecard(scheme, component(), quick).level == "A"
    assert scorecard(scheme, component(), slow).level is None
    assert scorecard(scheme, component(lifecycle="planned"), quick).level is None
