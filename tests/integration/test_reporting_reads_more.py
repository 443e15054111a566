"""What the reports offer beyond the specification: bands, states behind a figure, scorecards, gauges."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from libs.common.paging import encode_cursor
from services.reporting.metrics import DoraGauges
from services.reporting.settings import Settings
from tests.integration.reporting_reads import NOON, Component, Deployment, Environment, Reads, ago, reads
from tests.support.platform import Platform


@pytest.fixture(scope="module")
async def running(platform: Platform) -> AsyncIterator[Reads]:
    async with reads(platform) as one:
        yield one


LIVE = Environment("live")


async def _with(running: Reads, *deployments: Deployment, components: tuple[Component, ...] = ()) -> UUID:
    tenant = uuid4()
    await running.add_components(tenant, *components)
    await running.add_environments(tenant, LIVE)
    await running.add_deployments(tenant, deployments)
    return tenant


async def test_bands_name_their_edition_and_thresholds(running: Reads) -> None:
    component = Component("a")
    tenant = await _with(
        running,
        *(Deployment(component.id, LIVE.id, "SUCCEEDED", ago(days=n + 1), commit_at=ago(days=n + 3)) for n in range(8)),
        Deployment(component.id, LIVE.id, "ROLLED_BACK", ago(days=2)),
        components=(component,),
    )
    found = (await running.get(tenant, "dora", ("include", "bands")))["performance"]
    assert found == {
        "edition": "2023",
        "deploymentFrequency": {
            "band": "high",
            "score": 6,
            "unit": "deployments per day",
            "thresholds": {"elite": "> 1", "high": ">= 0.1429", "medium": ">= 0.0333"},
            "missing": None,
        },
        "changeFailureRate": {
            "band": "medium",
            "score": 8.9,
            "unit": "percent",
            "thresholds": {"elite": "<= 5", "high": "<= 10", "medium": "<= 15"},
            "missing": None,
        },
        "meanTimeToRecovery": {
            "band": None,
            "score": None,
            "unit": "hours",
            "thresholds": {"elite": "< 1", "high": "< 24", "medium": "< 168"},
            "missing": "a failure and a later success in the same place",
        },
        "leadTimeForChanges": {
            "band": "high",
            "score": 6,
            "unit": "hours",
            "thresholds": {"elite": "< 24", "high": "< 168", "medium": "< 720"},
            "missing": None,
        },
    }


async def test_the_edition_is_a_setting(platform: Platform) -> None:
    async with reads(platform, dora_edition="2021") as other:
        found = (await other.get(uuid4(), "dora", ("include", "bands")))["performance"]
    assert found["edition"] == "2021"
    assert found["changeFailureRate"]["thresholds"] == {"elite": "<= 15", "high": "<= 20", "medium": "<= 30"}
    assert found["changeFailureRate"]["band"] is None


async def test_the_change_is_the_difference_of_shown_figures(running: Reads) -> None:
    component = Component("a")
    tenant = await _with(
        running,
        *(Deployment(component.id, LIVE.id, "SUCCEEDED", ago(days=1, hours=n)) for n in range(7)),
        *(Deployment(component.id, LIVE.id, "SUCCEEDED", ago(days=10, hours=n)) for n in range(2)),
        Deployment(component.id, LIVE.id, "FAILED", ago(days=10)),
        components=(component,),
    )
    found = await running.get(tenant, "dora", ("include", "previous"), days=7)
    assert (found["previous"]["from"], found["previous"]["to"]) == ("2026-03-04T12:00:00Z", "2026-03-11T12:00:00Z")
    assert found["previous"]["change"] == {
        "deploymentsPerDay": 0.71,
        "changeFailureRate": -33.3,
        "meanTimeToRecoveryHours": None,
        "leadTimeForChangesHours": None,
    }


async def test_earlier_states_are_shown_in_order(running: Reads) -> None:
    deployment = Deployment(uuid4(), LIVE.id, "FAILED", ago(hours=1), ago(hours=2), ago(hours=1), version="1.2")
    tenant = await _with(running, deployment)
    await running.add_state(tenant, deployment, 2, finished_at=None, status="IN_PROGRESS", recorded_at=ago(hours=2))
    await running.add_state(tenant, deployment, 3)
    await running.add_state(
        tenant, deployment, 1, started_at=None, finished_at=None, status="PENDING", recorded_at=ago(hours=2)
    )
    found = await running.get(tenant, "dora/explain", metric="meanTimeToRecovery")
    assert found["figure"] == {"avgHours": 0, "samples": 0}
    (row,) = found["items"]
    assert (row["counted"], row["missing"]) == (False, "no later success in the same place")
    assert (row["status"], row["version"], row["componentName"], row["environmentName"]) == (
        "FAILED",
        "1.2",
        None,
        "live",
    )
    assert [state["status"] for state in row["states"]] == ["PENDING", "IN_PROGRESS", "FAILED"]
    assert row["states"][1]["startedAt"] == "2026-03-18T10:00:00Z"
    assert row["states"][2]["finishedAt"] == "2026-03-18T11:00:00Z"


async def test_a_listing_keeps_its_window(running: Reads) -> None:
    component = Component("a")
    tenant = await _with(running, *(Deployment(component.id, LIVE.id, "SUCCEEDED", ago(hours=n)) for n in range(3)))
    first = await running.get(tenant, "dora/explain", metric="deploymentFrequency", days=1, limit=2)
    await running.add_deployments(tenant, [Deployment(component.id, LIVE.id, "SUCCEEDED", NOON + timedelta(hours=1))])
    running.now = NOON + timedelta(hours=23)
    try:
        second = await running.get(
            tenant, "dora/explain", metric="deploymentFrequency", days=1, limit=2, cursor=first["nextCursor"]
        )
        assert (second["from"], second["to"]) == (first["from"], first["to"])
        assert second["figure"] == first["figure"]
        assert [row["moment"] for row in second["items"]] == ["2026-03-18T10:00:00Z"]
        assert second["nextCursor"] is None
    finally:
        running.now = NOON


@pytest.mark.parametrize(
    "query", [{}, {"metric": "speed"}, {"metric": "reworkRate", "cursor": "x"}, {"metric": "reworkRate", "limit": 501}]
)
async def test_explain_refuses_what_it_does_not_know(running: Reads, query: dict[str, object]) -> None:
    assert (await running.call(uuid4(), "dora/explain", **query)).status_code == 422


@pytest.mark.parametrize(
    "position",
    [
        (NOON, ago(days=1), NOON, ago(days=1)),
        (NOON, NOON, NOON, NOON, UUID(int=1)),
        (*["2026-03-18T12:00:00"] * 4, UUID(int=1)),
        (NOON, ago(days=1), NOON, 5, UUID(int=1)),
    ],
)
async def test_a_forged_cursor_is_refused(running: Reads, position: tuple[object, ...]) -> None:
    answer = await running.call(uuid4(), "dora/explain", metric="reworkRate", cursor=encode_cursor(*position))
    assert answer.status_code == 422, answer.text


async def test_scorecards_order_levels_and_name_what_is_missing(running: Reads) -> None:
    gold = Component("gold", description="d")
    silver = Component("silver", description="d")
    bronze = Component("bronze", description="d")
    none = Component("none", owner=None, description="d")
    weekly = [Deployment(gold.id, LIVE.id, "SUCCEEDED", ago(days=7 * n)) for n in range(4)]
    failing = [Deployment(bronze.id, LIVE.id, status, ago(days=1)) for status in ("SUCCEEDED", "FAILED")]
    once = [Deployment(each.id, LIVE.id, "SUCCEEDED", ago(days=2)) for each in (silver, none)]
    tenant = await _with(running, *weekly, *failing, *once, components=(gold, silver, bronze, none))
    pages: list[dict[str, Any]] = []
    cursor: list[tuple[str, object]] = []
    while not pages or pages[-1]["nextCursor"]:
        pages.append(await running.get(tenant, "scorecards", *cursor, limit=3))
        cursor = [("cursor", pages[-1]["nextCursor"])]
    cards = [card for page in pages for card in page["items"]]
    assert [(card["componentName"], card["level"]) for card in cards] == [
        ("bronze", "Bronze"),
        ("gold", "Gold"),
        ("none", None),
        ("silver", "Silver"),
    ]
    missed = {card["componentName"]: [rule["id"] for rule in card["rules"] if not rule["passed"]] for card in cards}
    assert missed == {
        "bronze": ["failure-rate", "deployed-weekly", "few-failures"],
        "gold": [],
        "none": ["has-owner", "deployed-weekly"],
        "silver": ["deployed-weekly"],
    }
    for page in pages:
        assert [(each["name"], each["components"]) for each in page["levels"]] == [
            ("Bronze", 1),
            ("Silver", 1),
            ("Gold", 1),
        ]
        assert (page["below"], page["periodDays"]) == (1, 30)


async def test_the_rules_are_data(platform: Platform, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        'days = 7\ntiers = ["staging"]\n[[levels]]\nname = "Known"\n'
        'rules = [{id = "life", rule = "lifecycle_in", values = ["planned"]}]\n'
    )
    async with reads(platform, scorecards_file=rules) as other:
        planned, other_one = Component("a", lifecycle="planned"), Component("b")
        tenant = await _with(other, components=(planned, other_one))
        found = await other.get(tenant, "scorecards")
        assert [(card["componentName"], card["level"]) for card in found["items"]] == [("a", "Known"), ("b", None)]


async def test_gauges_show_the_figures_of_the_report(running: Reads, platform: Platform) -> None:
    await running.forget()
    component, gone = Component("a"), Component("gone", deleted=True)
    tenant = await _with(
        running,
        Deployment(component.id, LIVE.id, "FAILED", ago(days=2)),
        Deployment(component.id, LIVE.id, "SUCCEEDED", ago(days=1), ago(days=1, minutes=30), ago(days=1)),
        Deployment(gone.id, LIVE.id, "SUCCEEDED", ago(days=1)),
        components=(component, gone),
    )
    quiet = Component("quiet")
    another = await _with(running, Deployment(quiet.id, LIVE.id, "ROLLED_BACK", ago(days=1)), components=(quiet,))
    registry = CollectorRegistry()
    gauges = DoraGauges(running.database, lambda: NOON, _settings(platform), registry)
    await gauges.refresh()
    report = await running.get(tenant, "dora", componentId=component.id)

    def value(name: str, of: UUID, component: str) -> float | None:
        labels = {"tenant": str(of), "component": component, "environment": "live"}
        return registry.get_sample_value(f"tidemark_dora_{name}", labels)

    assert value("deployments_per_day", tenant, "a") == report["deploymentFrequency"]["deploymentsPerDay"]
    assert value("deployments", tenant, "a") == report["changeFailureRate"]["total"]
    assert value("change_failure_percent", tenant, "a") == report["changeFailureRate"]["rate"] == 50
    assert value("recovery_hours", tenant, "a") == report["meanTimeToRecovery"]["avgHours"] == 24
    assert value("lead_time_hours", tenant, "a") == report["leadTimeForChanges"]["avgHours"] == 0.5
    assert value("change_failure_percent", another, "quiet") == 100
    assert value("recovery_hours", another, "quiet") is None
    assert value("deployments", tenant, "gone") is None
    assert registry.get_sample_value("tidemark_dora_places_left_out") == 0


async def test_the_number_of_gauges_is_bounded_and_fair(running: Reads, platform: Platform) -> None:
    await running.forget()
    busy = [Component(f"busy{n}") for n in range(4)]
    deployments = [
        Deployment(each.id, LIVE.id, "SUCCEEDED", ago(hours=hour + 1))
        for number, each in enumerate(busy)
        for hour in range(number + 1)
    ]
    big = await _with(running, *deployments, components=tuple(busy))
    calm = Component("calm")
    small = await _with(running, Deployment(calm.id, LIVE.id, "SUCCEEDED", ago(days=1)), components=(calm,))
    registry = CollectorRegistry()
    await DoraGauges(running.database, lambda: NOON, _settings(platform, dora_gauge_places=4), registry).refresh()
    (family,) = [each for each in registry.collect() if each.name == "tidemark_dora_deployments"]
    shown = {(sample.labels["tenant"], sample.labels["component"]): sample.value for sample in family.samples}
    assert shown == {(str(big), "busy3"): 4, (str(big), "busy2"): 3, (str(small), "calm"): 1}
    assert registry.get_sample_value("tidemark_dora_places_left_out") == 2


def _settings(platform: Platform, **more: object) -> Settings:
    return Settings.model_validate(platform.settings_values("reporting", **more))


async def test_a_clock_that_says_year_two_breaks_nothing(running: Reads) -> None:
    """The sum of these lead times is more than an interval of the database holds."""
    long_ago = datetime(2, 1, 1, tzinfo=UTC)
    component = Component("a")
    tenant = await _with(
        running, *(Deployment(component.id, LIVE.id, "SUCCEEDED", NOON, long_ago, NOON) for _ in range(3000))
    )
    found = await running.get(tenant, "dora", ("include", "percentiles"))
    hours = (NOON - long_ago) // timedelta(hours=1)
    assert found["leadTimeForChanges"]["samples"] == 3000
    assert found["leadTimeForChanges"]["avgHours"] == found["leadTimeForChanges"]["p95Hours"] == hours
