"""A person is erased, a tenant is deleted: the name stands nowhere any more, and figures stay."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from libs.common.erasure import Erasing
from libs.common.events import AuditRecorded, TenantChanged, UserErased
from libs.common.tenants import SETTLED, Tenants
from services.reporting.arrivals import audit_event_of
from services.reporting.erasing import Rewriting
from services.reporting.store import locks
from services.reporting.tenant_tables import TENANT_TABLES
from tests.integration.reporting_harness import NOON, Harness, deployed, replicas
from tests.support.platform import Platform

CANARY = 'canary.person+«O\'Neil» "the \\ one"@example.org'
PSEUDONYM = "erased:0123abcd"


@pytest.fixture(scope="module")
async def reporting(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (one,):
        yield one


def erasing(harness: Harness, page_rows: int = 3, slice_seconds: float = 60.0) -> Erasing:
    return Erasing(
        harness.database, harness.clock, harness.erased, Rewriting(harness.database, page_rows, slice_seconds)
    )


def erased(harness: Harness, tenant: UUID, name: str = CANARY, pseudonym: str = PSEUDONYM) -> UserErased:
    return UserErased(tenant=tenant, sealed_name=harness.erased.sealed(tenant, name), pseudonym=pseudonym)


async def holding(harness: Harness, text: str) -> list[str]:
    """Tables of reporting in which a text stands, however it is written there."""
    tables = await harness.admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'reporting'")
    written = (text, text.replace("\\", "\\\\").replace('"', '\\"'), text.replace("\\", "\\\\").replace('"', '\\\\"'))
    found = []
    for table in tables:
        # A row's text doubles quotes and backslashes of what it holds; hence without any of them.
        query = (
            f"SELECT EXISTS (SELECT FROM reporting.{table['tablename']} AS t"
            " WHERE strpos(translate(t::text, '\"\\', ''), translate($1, '\"\\', '')) > 0)"
        )
        if any([await harness.admin.fetchval(query, each) for each in written]):
            found.append(table["tablename"])
    return sorted(found)


def audit(tenant: UUID, number: int, actor: str | None, **more: Any) -> AuditRecorded:
    values = {
        "event_id": UUID(int=number),
        "occurred_at": NOON,
        "action": "UPDATE",
        "event_type": "X_UPDATE",
        "resource_type": "x",
        "resource_id": "1",
        "actor_id": actor,
    }
    return AuditRecorded.model_validate({"tenant": tenant, **values, **more})


async def tell(harness: Harness, *events: AuditRecorded) -> None:
    await harness.recording.take_audit([audit_event_of(each, harness.clock()) for each in events])


async def filled(harness: Harness) -> UUID:
    """A tenant with the name in every place where one can stand."""
    tenant = uuid4()
    component = await harness.named("component", tenant, "shop")
    await harness.named("environment", tenant, "live")
    await harness.admin.execute("UPDATE reporting.component SET owner = $2 WHERE id = $1", component, CANARY)
    await harness.take(
        *(deployed(tenant, n, "SUCCEEDED", n, deployed_by=CANARY if n % 2 else "bob") for n in range(1, 9)),
        deployed(tenant, 20, "SUCCEEDED", 1, component_ref="nowhere", deployed_by=CANARY),
        deployed(tenant, 21, "SUCCEEDED", 1, metadata={"by": {"list": [CANARY, "x"]}}),
    )
    await tell(
        harness,
        *(audit(tenant, n, CANARY if n % 2 else "bob", actor_username=CANARY) for n in range(1, 9)),
        audit(tenant, 20, None, previous_resource={"owner": CANARY}, current_resource={"members": [CANARY, "bob"]}),
    )
    return tenant


async def test_the_name_is_gone_and_figures_stay(reporting: Harness) -> None:
    one, other = await filled(reporting), await filled(reporting)
    counted = ["deployment", "deployment_state", "audit_event", "parked_deployment"]
    before = [await reporting.count(table, one) for table in counted]
    tables = await holding(reporting, CANARY)
    assert tables == ["audit_event", "component", "deployment", "deployment_state", "parked_deployment"]
    work = erasing(reporting)
    await work.follow(erased(reporting, one))
    assert await work.rewrite_pending() == 1
    assert [await reporting.count(table, one) for table in counted] == before
    assert {each["deployed_by"] for each in await reporting.deployments(one)} == {PSEUDONYM, "bob", None}
    assert {each["deployed_by"] for each in await reporting.deployments(other)} == {CANARY, "bob", None}, "another one"
    await work.follow(erased(reporting, other, pseudonym="erased:ffffffff"))
    assert await work.rewrite_pending() == 1
    left = await holding(reporting, CANARY)
    print(f"ERASURE tables_before={len(tables)} tables_with_name={len(left)}")
    assert left == []


async def test_later_events_of_the_person_come_under_the_pseudonym(reporting: Harness) -> None:
    tenant = await filled(reporting)
    work = erasing(reporting)
    await work.follow(erased(reporting, tenant))
    for round_ in range(2):  # before the rewriting, as well as after it
        await reporting.take(
            deployed(tenant, 1, "ROLLED_BACK", 30 + round_, deployed_by=CANARY, metadata={"by": CANARY}),
            deployed(tenant, 50 + round_, "SUCCEEDED", 2, component_ref="nowhere", deployed_by=CANARY),
        )
        await tell(reporting, audit(tenant, 40 + round_, CANARY, current_resource={"owner": CANARY}))
        await work.rewrite_pending()
        assert await holding(reporting, CANARY) == []
    await reporting.named("component", tenant, "nowhere")
    assert await reporting.recording.unpark(tenant) == 3
    assert await holding(reporting, CANARY) == []


async def test_an_interrupted_rewriting_goes_on(reporting: Harness) -> None:
    tenant = await filled(reporting)
    hasty = erasing(reporting, slice_seconds=-1.0)
    await hasty.follow(erased(reporting, tenant))
    assert await hasty.rewrite_pending() == 0
    assert await holding(reporting, CANARY) != []
    rounds = 1
    while not await hasty.rewrite_pending():
        rounds += 1
    assert rounds > 5
    assert await holding(reporting, CANARY) == []


async def test_a_deleted_tenant_leaves_nothing(reporting: Harness) -> None:
    one, other = await filled(reporting), await filled(reporting)
    tenants = Tenants(reporting.database, reporting.clock, TENANT_TABLES, CollectorRegistry(), hold=locks.hold_tenant)
    await tenants.follow([TenantChanged(tenant=one, id=one, version=2, deleted=True)])
    assert await tenants.purge() > 0
    reporting.clock.advance(SETTLED + timedelta(seconds=1))
    assert await tenants.purge() == 0
    assert [await reporting.count(table, one) for table in TENANT_TABLES] == [0] * len(TENANT_TABLES)
    assert await reporting.count("deployment", other) > 0
    assert await tenants.deleted([one, other]) == {one}
