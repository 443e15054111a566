"""The reports behind the gateway, of what was told through the API."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.reporting.app import build
from services.reporting.settings import Settings
from tests.integration.reporting_app import ROOT, Company, Stack, new_company, reporting_stack
from tests.integration.reporting_harness import NOON, MovedClock
from tests.support.in_process import free_ports, served
from tests.support.platform import Platform, values_of
from tests.support.processes import eventually, token

REPORTS = ("catalog", "dora", "usage", "scorecards", "dora/explain?metric=reworkRate", "export?report=dora")


@pytest.fixture(scope="module")
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(scope="module")
async def stack(platform: Platform, clock: MovedClock) -> AsyncIterator[Stack]:
    async with reporting_stack(platform, clock) as running:
        yield running


@pytest.fixture(scope="module")
async def company(stack: Stack) -> Company:
    return await new_company(stack)


def at(minutes: float) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("report", REPORTS)
async def test_who_may_read(stack: Stack, company: Company, report: str) -> None:
    url = f"{stack.url}{ROOT}/analytics/{report}"
    async with stack.session.get(url) as answer:
        assert answer.status == 401
    async with stack.session.get(url, headers={"Authorization": "Bearer nonsense"}) as answer:
        assert answer.status == 401
    for roles in ((), ("publisher",)):
        headers = {"Authorization": f"Bearer {token(company.tenant, *roles)}"}
        async with stack.session.get(url, headers=headers) as answer:
            assert answer.status == 200, await answer.text()


async def test_what_is_told_is_reported(stack: Stack) -> None:
    company = await new_company(stack)
    failed = (await company.deploy("IN_PROGRESS", startedAt=at(-200))).ok()
    change = {"status": "FAILED", "finishedAt": at(-180)}
    (await company.call("PATCH", f"deployments/{failed['id']}", change)).ok()
    success = (await company.deploy("SUCCEEDED", startedAt=at(-114), finishedAt=at(-90), commitAt=at(-150))).ok()
    report = (await company.call("GET", "analytics/dora?days=1&include=commitToProduction")).ok()
    assert report == {
        "periodDays": 1,
        "deploymentFrequency": {"deploymentsPerDay": 1, "total": 1, "periodDays": 1},
        "changeFailureRate": {"rate": 50, "failed": 1, "total": 2},
        "meanTimeToRecovery": {"avgHours": 1.5, "samples": 1},
        "leadTimeForChanges": {"avgHours": 0.4, "samples": 1},
        "commitToProduction": {"avgHours": 1, "samples": 1},
    }
    explained = (await company.call("GET", "analytics/dora/explain?metric=meanTimeToRecovery")).ok()
    (row,) = explained["items"]
    assert (row["deploymentId"], row["recoveredBy"]) == (failed["id"], success["id"])
    assert (row["componentName"], row["environmentName"], row["durationSeconds"]) == ("shop", "live", 5400)
    assert [state["status"] for state in row["states"]] == ["IN_PROGRESS", "FAILED"]


async def test_a_deleted_component_is_left_out_of_the_catalog_and_named_in_the_past(stack: Stack) -> None:
    company = await new_company(stack)
    (await company.deploy("FAILED", finishedAt=at(-60))).ok()
    (await company.call("DELETE", f"components/{company.component}")).ok()
    catalog = (await company.call("GET", "analytics/catalog")).ok()
    assert catalog["ownershipCoverage"]["total"] == 0
    explained = (await company.call("GET", "analytics/dora/explain?metric=changeFailureRate")).ok()
    assert [row["componentName"] for row in explained["items"]] == ["shop"]


async def test_a_file_keeps_its_name_behind_the_gateway(stack: Stack, company: Company) -> None:
    url = f"{stack.url}{ROOT}/analytics/export?report=catalog"
    headers = {"Authorization": f"Bearer {token(company.tenant)}"}
    async with stack.session.get(url, headers=headers) as answer:
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        wanted = f'attachment; filename="tidemark-catalog-{NOON.date().isoformat()}.csv"'
        assert answer.headers["Content-Disposition"] == wanted
        rows = list(csv.reader(io.StringIO(await answer.text())))
    assert rows[:2] == [["Section", "Metric", "Value"], ["Ownership", "Total", "1"]]


async def test_activity_of_the_system_itself_is_reported(stack: Stack) -> None:
    company = await new_company(stack)
    await company.call("PATCH", f"components/{company.component}", {"description": "the shop"})

    async def told() -> bool:
        report = (await company.call("GET", "analytics/usage")).ok()
        tops = {each["componentId"]: each["accessCount"] for each in report["topComponents"]}
        return tops.get(company.component, 0) >= 2 and bool(report["activeUsers"])

    await eventually(told)


async def test_another_tenants_ids_find_nothing(stack: Stack, company: Company) -> None:
    other = await new_company(stack)
    (await other.deploy("SUCCEEDED", finishedAt=at(-1))).ok()
    found = (await company.call("GET", f"analytics/dora?componentId={other.component}")).ok()
    assert found["deploymentFrequency"]["total"] == 0
    assert (await company.call("GET", f"analytics/dora?componentId={uuid4()}")).status == 200


async def test_gauges_are_refreshed_in_the_background(platform: Platform, stack: Stack) -> None:
    company = await new_company(stack)
    (await company.deploy("SUCCEEDED", finishedAt=at(-1))).ok()
    ports = free_ports("reporting")
    values = values_of(platform.environment("reporting", ports["reporting"])) | {"dora_gauge_pause": 0.2}
    address = f"http://127.0.0.1:{ports['reporting']}/metrics"
    labels = {"tenant": str(company.tenant), "component": "shop", "environment": "live"}

    async def shown() -> bool:
        async with session.get(address) as answer:
            families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
        samples = families["tidemark_dora_deployments"].samples
        return any(sample.labels == labels and sample.value == 1 for sample in samples)

    async with (
        served(build(Settings.model_validate(values), lambda: NOON), ports["reporting"]),
        aiohttp.ClientSession() as session,
    ):
        await eventually(shown)
