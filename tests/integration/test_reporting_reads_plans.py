"""Row-level security does not keep the reports from their indexes."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from libs.common.db import Connection
from services.reporting.store import dora, explain, usage
from services.reporting.store.dora import EVERYTHING, Scope
from services.reporting.store.explain import Page
from services.reporting.windows import Window
from tests.integration.reporting_reads import NOON, Component, Deployment, Environment, Event, Reads, ago, reads
from tests.support.platform import Platform

MONTH = Window(NOON - timedelta(days=30), NOON)
PAST = Window(NOON - timedelta(days=60), NOON - timedelta(days=30))


@pytest.fixture(scope="module")
async def running(platform: Platform) -> AsyncIterator[Reads]:
    async with reads(platform) as one:
        yield one


@pytest.fixture(scope="module")
async def tenant(running: Reads) -> UUID:
    """Two years, of which the window holds a month."""
    tenant, components, live = uuid4(), [Component(f"c{n}") for n in range(20)], Environment("live")
    await running.add_components(tenant, *components)
    await running.add_environments(tenant, live)
    deployments = [
        Deployment(components[n % 20].id, live.id, "FAILED" if n % 9 == 0 else "SUCCEEDED", ago(hours=2 * n))
        for n in range(12 * 730)
    ]
    await running.add_deployments(tenant, deployments)
    await running.add_events(
        tenant,
        [Event(occurred_at=each.moment, component=each.component, actor="u", username="ann") for each in deployments],
    )
    await running.admin.execute("VACUUM ANALYZE reporting.deployment")
    await running.admin.execute("VACUUM ANALYZE reporting.audit_event")
    return tenant


class Explaining:
    """A connection that asks for the plan of each statement before it runs it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.plans = ""

    async def fetch(self, query: str, *values: object) -> list[Any]:
        rows = await self._connection.fetch(f"EXPLAIN {query}", *values)
        self.plans += "\n".join(row[0] for row in rows) + "\n"
        return list(await self._connection.fetch(query, *values))

    async def fetchrow(self, query: str, *values: object) -> Any:
        return (await self.fetch(query, *values))[0]


@asynccontextmanager
async def explaining(running: Reads, tenant: UUID) -> AsyncIterator[tuple[Connection, Explaining]]:
    """On the request path: the login that row-level security binds."""
    async with running.database.tenant(tenant) as connection:
        explained = Explaining(connection)
        yield cast(Connection, explained), explained


async def test_a_window_of_deployments_is_read_by_its_index(running: Reads, tenant: UUID) -> None:
    async with explaining(running, tenant) as (connection, explained):
        await dora.totals(connection, tenant, MONTH, NOON, EVERYTHING, "full")
        await dora.totals(connection, tenant, PAST, NOON, EVERYTHING)
        await dora.totals_by_interval(connection, tenant, MONTH, NOON, EVERYTHING, "daily")
        await explain.rows_behind(connection, tenant, MONTH, NOON, EVERYTHING, "changeFailureRate", Page(50))
    text = explained.plans
    assert len(re.findall(r"Index Cond: .*moment >= .*moment <= ", text)) == 4, text
    assert "deployment_place" in text, text


async def test_one_components_report_reads_its_own_deployments(running: Reads, tenant: UUID) -> None:
    component: UUID = await running.admin.fetchval(
        "SELECT id FROM reporting.component WHERE tenant_id = $1 LIMIT 1", tenant
    )
    async with explaining(running, tenant) as (connection, explained):
        await dora.totals(connection, tenant, MONTH, NOON, Scope(components=(component,)))
    text = explained.plans
    assert re.search(r"Index Cond: .*component_id = ANY .*moment >= ", text), text


async def test_activity_is_read_from_the_index_alone(running: Reads, tenant: UUID) -> None:
    async with explaining(running, tenant) as (connection, explained):
        await usage.usage(connection, tenant, MONTH)
    text = explained.plans
    assert text.count("Index Only Scan using audit_event_") == 3, text
    assert "Seq Scan on audit_event" not in text, text
