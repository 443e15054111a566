"""The reports as the specification shows them: names, shapes, numbers, CSV byte for byte."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from libs.common.auth import Principal
from tests.integration.reporting_reads import (
    NOON,
    Component,
    Deployment,
    Environment,
    Event,
    Reads,
    ago,
    reads,
)
from tests.support.platform import Platform

PATHS = ("catalog", "dora", "usage", "export?report=catalog")


@pytest.fixture(scope="module")
async def running(platform: Platform) -> AsyncIterator[Reads]:
    async with reads(platform) as one:
        yield one


async def _months_work(running: Reads) -> tuple[UUID, Component, Environment]:
    """70 successes and 6 failures in 30 days; each failure recovers after 72 minutes, each success takes 24."""
    tenant, component, environment = uuid4(), Component("user-service"), Environment("live")
    await running.add_components(tenant, component)
    await running.add_environments(tenant, environment)
    rows = []
    for day in range(6):
        failed = ago(days=day + 1)
        success = failed + timedelta(minutes=72)
        rows.append(Deployment(component.id, environment.id, "FAILED", failed))
        rows.append(
            Deployment(
                component.id,
                environment.id,
                "SUCCEEDED",
                started_at=success - timedelta(minutes=24),
                finished_at=success,
            )
        )
    rows += [
        Deployment(component.id, environment.id, "SUCCEEDED", ago(days=10, minutes=number)) for number in range(64)
    ]
    rows += [Deployment(component.id, environment.id, status, ago(days=2)) for status in ("PENDING", "IN_PROGRESS")]
    await running.add_deployments(tenant, rows)
    return tenant, component, environment


async def test_dora_has_the_documented_shape(running: Reads) -> None:
    tenant, *_ = await _months_work(running)
    assert await running.get(tenant, "dora") == {
        "periodDays": 30,
        "deploymentFrequency": {"deploymentsPerDay": 2.33, "total": 70, "periodDays": 30},
        "changeFailureRate": {"rate": 7.9, "failed": 6, "total": 76},
        "meanTimeToRecovery": {"avgHours": 1.2, "samples": 6},
        "leadTimeForChanges": {"avgHours": 0.4, "samples": 6},
    }


async def test_dora_without_data_is_zero(running: Reads) -> None:
    assert await running.get(uuid4(), "dora", days=7) == {
        "periodDays": 7,
        "deploymentFrequency": {"deploymentsPerDay": 0, "total": 0, "periodDays": 7},
        "changeFailureRate": {"rate": 0, "failed": 0, "total": 0},
        "meanTimeToRecovery": {"avgHours": 0, "samples": 0},
        "leadTimeForChanges": {"avgHours": 0, "samples": 0},
    }


async def test_the_catalog_has_the_documented_shape(running: Reads) -> None:
    tenant, legacy, blank = uuid4(), Component("legacy-api", "api", owner=None), Component("b", "library", owner=" ")
    empty = Component("a-lib", "library", "experimental", owner="")
    gone = Component("gone", "api", owner=None, deleted=True)
    await running.add_components(tenant, legacy, blank, empty, gone)
    await running.add_components(uuid4(), Component("of-others", owner=None))
    assert await running.get(tenant, "catalog") == {
        "ownershipCoverage": {"total": 3, "withOwner": 1, "withoutOwner": 2, "coveragePercent": 33.3},
        "lifecycleDistribution": [
            {"lifecycle": "production", "count": 2},
            {"lifecycle": "experimental", "count": 1},
            {"lifecycle": "planned", "count": 0},
            {"lifecycle": "deprecated", "count": 0},
            {"lifecycle": "decommissioned", "count": 0},
        ],
        "kindDistribution": [{"kind": "library", "count": 2}, {"kind": "api", "count": 1}],
        "unownedComponents": [
            {"id": str(empty.id), "name": "a-lib", "kind": "library"},
            {"id": str(legacy.id), "name": "legacy-api", "kind": "api"},
        ],
    }


async def test_an_empty_catalog_covers_nothing(running: Reads) -> None:
    found = await running.get(uuid4(), "catalog")
    assert found["ownershipCoverage"] == {"total": 0, "withOwner": 0, "withoutOwner": 0, "coveragePercent": 0}
    assert [each["count"] for each in found["lifecycleDistribution"]] == [0] * 5
    assert found["kindDistribution"] == found["unownedComponents"] == []


async def test_the_first_fifty_unowned_components_are_shown(running: Reads) -> None:
    tenant = uuid4()
    await running.add_components(tenant, *[Component(f"n{number:02}", owner=None) for number in range(60)])
    found = await running.get(tenant, "catalog")
    assert [each["name"] for each in found["unownedComponents"]] == [f"n{number:02}" for number in range(50)]
    assert found["ownershipCoverage"]["withoutOwner"] == 60


async def _activity(running: Reads) -> tuple[UUID, Component]:
    tenant, component = uuid4(), Component("user-service")
    await running.add_components(tenant, component)
    events = [Event("CREATE", component=component.id, actor="u1", username="jane") for _ in range(3)]
    events += [Event("UPDATE", ago(hours=1), component.id, "u1", "jane_old"), Event("LOGIN", actor="u2")]
    events += [Event("DELETE"), Event("CREATE", ago(days=31)), Event("CREATE", NOON + timedelta(seconds=1))]
    await running.add_events(tenant, events)
    return tenant, component


async def test_usage_has_the_documented_shape(running: Reads) -> None:
    tenant, component = await _activity(running)
    assert await running.get(tenant, "usage") == {
        "periodDays": 30,
        "totalAuditEvents": 6,
        "topComponents": [{"componentId": str(component.id), "componentName": "user-service", "accessCount": 4}],
        "activeUsers": [
            {"actorId": "u1", "actorUsername": "jane", "actionCount": 4},
            {"actorId": "u2", "actorUsername": "u2", "actionCount": 1},
        ],
        "actionBreakdown": [
            {"action": "CREATE", "count": 3},
            {"action": "UPDATE", "count": 1},
            {"action": "DELETE", "count": 1},
            {"action": "LOGIN", "count": 1},
        ],
    }


async def test_usage_without_events(running: Reads) -> None:
    assert await running.get(uuid4(), "usage", days=1) == {
        "periodDays": 1,
        "totalAuditEvents": 0,
        "topComponents": [],
        "activeUsers": [],
        "actionBreakdown": [],
    }


async def test_ties_go_by_name_and_then_by_id(running: Reads) -> None:
    tenant, twins = uuid4(), sorted((Component("b"), Component("b")), key=lambda each: each.id)
    first, gone = Component("a"), Component("B", deleted=True)
    await running.add_components(tenant, replace_name(twins[0], "c"), first, gone)
    unknown = uuid4()
    events = [Event(component=each, actor=str(each)) for each in (twins[0].id, first.id, gone.id, unknown)]
    await running.add_events(tenant, events)
    named = {str(unknown): str(unknown), str(gone.id): "B", str(first.id): "a", str(twins[0].id): "c"}
    found = await running.get(tenant, "usage")
    wanted = sorted(named, key=lambda key: (named[key], key))
    assert [each["componentId"] for each in found["topComponents"]] == wanted
    assert [each["componentName"] for each in found["topComponents"]] == [named[key] for key in wanted]
    assert [each["actorId"] for each in found["activeUsers"]] == sorted(named)


def replace_name(component: Component, name: str) -> Component:
    return Component(name, id=component.id)


async def test_only_ten_are_at_the_top(running: Reads) -> None:
    tenant = uuid4()
    components = [Component(f"n{number:02}") for number in range(12)]
    await running.add_components(tenant, *components)
    events = [
        Event(component=each.id, actor=each.name)
        for number, each in enumerate(components)
        for _ in range(2 if number == 11 else 1)
    ]
    await running.add_events(tenant, events)
    found = await running.get(tenant, "usage")
    names = ["n11", *(f"n{number:02}" for number in range(9))]
    assert [each["componentName"] for each in found["topComponents"]] == names
    assert [each["actorId"] for each in found["activeUsers"]] == names
    assert found["totalAuditEvents"] == 13


async def _csv(running: Reads, tenant: UUID, report: str, **query: object) -> str:
    answer = await running.call(tenant, "export", report=report, **query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="tidemark-{report}-2026-03-18.csv"'
    return answer.text


async def test_the_dora_csv_byte_for_byte(running: Reads) -> None:
    tenant, *_ = await _months_work(running)
    assert await _csv(running, tenant, "dora") == (
        "Metric,Value,Notes\n"
        "Deployment Frequency (deploys/day),2.33,Last 30 days\n"
        "Change Failure Rate (%),7.9,6 failed of 76 total\n"
        "Mean Time To Recovery (hours),1.2,6 samples\n"
        "Lead Time For Changes (hours),0.4,6 samples\n"
    )
    assert (await _csv(running, uuid4(), "dora", days=90)).splitlines()[1:3] == [
        "Deployment Frequency (deploys/day),0,Last 90 days",
        "Change Failure Rate (%),0,0 failed of 0 total",
    ]


async def test_the_catalog_csv_byte_for_byte(running: Reads) -> None:
    tenant = uuid4()
    components = [Component(f"s{n}", "service") for n in range(2)]
    components.append(Component("x", '=cmd|"x"', "experimental", owner=None))
    await running.add_components(tenant, *components)
    assert await _csv(running, tenant, "catalog") == (
        "Section,Metric,Value\n"
        "Ownership,Total,3\n"
        "Ownership,With Owner,2\n"
        "Ownership,Without Owner,1\n"
        "Ownership,Coverage %,66.7\n"
        "Lifecycle,production,2\n"
        "Lifecycle,experimental,1\n"
        "Lifecycle,planned,0\n"
        "Lifecycle,deprecated,0\n"
        "Lifecycle,decommissioned,0\n"
        "Kind,service,2\n"
        'Kind,"\'=cmd|""x""",1\n'
    )


async def test_the_usage_csv_byte_for_byte(running: Reads) -> None:
    tenant, _ = await _activity(running)
    assert await _csv(running, tenant, "usage") == (
        "Section,Name,Count\n"
        "Active Users,jane,4\n"
        "Active Users,u2,1\n"
        "Top Components,user-service,4\n"
        "Action Breakdown,CREATE,3\n"
        "Action Breakdown,UPDATE,1\n"
        "Action Breakdown,DELETE,1\n"
        "Action Breakdown,LOGIN,1\n"
    )


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_token_401(running: Reads, path: str) -> None:
    answer = await running.call(None, path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("path", PATHS)
async def test_any_token_of_a_tenant_reads(running: Reads, path: str) -> None:
    for actor_type in ("user", "api_key", "service"):
        headers = running.platform.bearer(uuid4(), actor_type=actor_type)
        answer = await running.client.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
    nobody = Principal(tenant=None, subject="root", roles=frozenset({"superuser"}))
    headers = {"Authorization": f"Bearer {running.platform.signer.mint(nobody)}"}
    answer = await running.client.get(path, headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("dora", {"days": 0}),
        ("dora", {"days": 3651}),
        ("dora", {"days": "soon"}),
        ("dora", {"days": 1.5}),
        ("dora", {"componentId": "user-service"}),
        ("dora", {"environmentId": "1"}),
        ("dora", {"environmentTier": "live"}),
        ("dora", {"interval": "hourly"}),
        ("dora", {"include": "everything"}),
        ("dora", {"days": 3, "from": "2026-03-01T00:00:00Z"}),
        ("dora", {"from": "2026-03-01T00:00:00"}),
        ("dora", {"from": "2026-03-19T00:00:00Z"}),
        ("dora", {"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}),
        ("dora", {"from": "2016-03-01T00:00:00Z"}),
        ("dora", {"to": "0001-01-01T00:00:00Z"}),
        ("dora", {"to": "0001-01-01T00:00:00+14:00"}),
        ("dora", {"from": "0001-01-01T00:00:00+14:00"}),
        ("dora", {"from": "9999-12-31T23:59:59-14:00"}),
        ("dora", {"to": "9999-12-31T23:59:59-14:00"}),
        ("dora", {"from": "0005-01-01T00:00:00Z", "to": "0006-01-01T00:00:00Z", "include": "previous"}),
        ("dora", {"owner": "a\0"}),
        ("dora/explain", {"metric": "reworkRate", "cursor": "W10"}),
        ("usage", {"days": 0}),
        ("usage", {"days": 3651}),
        ("export", {}),
        ("export", {"report": "secrets"}),
        ("export", {"report": "dora", "days": -1}),
    ],
)
async def test_what_does_not_fit_is_422(running: Reads, path: str, query: dict[str, object]) -> None:
    answer = await running.call(uuid4(), path, **query)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in ("validation", "unprocessable")


async def test_a_file_of_an_explicit_window_names_it(running: Reads) -> None:
    tenant, component, environment = await _months_work(running)
    window = (("from", "2026-03-16T12:00:00Z"), ("to", "9999-12-31T23:59:59+01:00"))
    parameters = [("report", "dora"), *window, ("componentId", component.id), ("environmentId", environment.id)]
    answer = await running.call(tenant, "export", *parameters)
    assert answer.text.splitlines()[1:4] == [
        "Deployment Frequency (deploys/day),1,2026-03-16T12:00:00Z to 2026-03-18T12:00:00Z",
        "Change Failure Rate (%),50,2 failed of 4 total",
        "Mean Time To Recovery (hours),1.2,2 samples",
    ]


@pytest.mark.parametrize("days", [1, 3650])
async def test_the_longest_and_the_shortest_window(running: Reads, days: int) -> None:
    assert (await running.get(uuid4(), "dora", days=days))["periodDays"] == days
    assert (await running.get(uuid4(), "usage", days=days))["periodDays"] == days
