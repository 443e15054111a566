"""Deletions through real processes: a person, a connector, a tenant; others keep what they have."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from cli.client import Gateway, GatewayError
from libs.common.broker import Publisher, build_broker
from libs.common.events import AnyEvent, BiQueryScraped, ConnectorChanged, ConnectorRef, TableRef
from libs.common.ids import bi_query_id
from libs.common.settings import CommonSettings
from libs.common.topics import ALL_TOPICS, BI_QUERY_SCRAPED, CONNECTOR_CHANGED, Topic
from tests.support.csvlog import logged
from tests.support.messaging import Bench
from tests.support.mining import Warehouse, administrator, fresh_warehouse
from tests.support.platform import Platform
from tests.support.processes import Running, eventually, running_services
from tests.support.servers import Servers

STATEMENTS = 5
CANARY = "canary.person@example.org"
# Rows that a refresh in the background makes or removes in its own time: no one's work depends on them.
OF_A_MOMENT = {"aggregator.usage_mark", "aggregator.usage_refresh"}
# What stays of a deleted tenant: a marker in each service.
MARKERS = {"gateway.tenant", "aggregator.tenant", "log_miner.tenant"}


@pytest.fixture(scope="module")
async def warehouse(servers: Servers) -> AsyncIterator[Warehouse]:
    async with fresh_warehouse(servers.warehouse) as fresh:
        async with administrator(fresh.url) as admin:
            await admin.execute("CREATE TABLE orders (id int); GRANT SELECT ON orders TO PUBLIC")
        yield fresh


@pytest.fixture(scope="module")
async def running(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    logs = Path(tmp_path_factory.mktemp("logs"))
    async with running_services(platform, logs, ("log_miner", "aggregator", "aggregator-2")) as services:
        yield services


@dataclass(frozen=True)
class Place:
    """A tenant with a space, a product and a connector, seen through the gateway."""

    platform: Platform
    tenant: UUID
    gateway: Gateway
    connector: UUID

    def record(self, resource_id: str, who: str | None = None, *, chart: bool = False) -> BiQueryScraped:
        kind = "chart" if chart else "query_log"
        return BiQueryScraped(
            tenant=self.tenant,
            id=bi_query_id(self.tenant, self.connector, kind, resource_id),
            connector=ConnectorRef(id=self.connector, type="postgres", name="Shop"),
            dialect="postgres",
            resource_type="chart" if chart else "query_log",
            resource_id=resource_id,
            sql_text="SELECT id FROM orders",
            executed_by=who,
            executed_at=None if chart else datetime.now(UTC),
            tables=(TableRef(name=("shop", "public", "orders"), display="shop.public.orders"),),
        )

    async def publish(self, topic: Topic, key: str, *events: AnyEvent) -> None:
        settings = CommonSettings(kafka=self.platform.kafka, topic_prefix=self.platform.topic_prefix)
        broker = build_broker(settings, "test")
        await broker.connect()
        try:
            await Publisher(broker, settings, service="test").send_many(topic, [(key, each, {}) for each in events])
        finally:
            await broker.stop()

    async def scraped(self, *records: BiQueryScraped) -> None:
        await self.publish(BI_QUERY_SCRAPED, f"{self.tenant}:{self.connector}", *records)

    async def stats(self) -> dict[str, Any]:
        """Of the one product, computed now; without the moment of that."""
        await self.gateway.post("/spaces/shop/usage/aggregate")
        (found,) = (await self.gateway.get("/spaces/shop/usage"))["items"]
        return {name: value for name, value in found.items() if name not in ("updated_at", "popularity_score")}

    async def reaches(self, **figures: int) -> dict[str, Any]:
        """The statistics once they are these."""

        async def so() -> dict[str, Any] | None:
            found = await self.stats()
            return found if figures.items() <= found.items() else None

        reached: dict[str, Any] = await eventually(so)
        return reached

    async def users(self) -> list[str]:
        listed = await self.gateway.get(f"/connectors/{self.connector}/queries?limit=500")
        return sorted(each["executed_by"] for each in listed["items"] if each["executed_by"])


@asynccontextmanager
async def place(platform: Platform, running: Running, settings: dict[str, object]) -> AsyncIterator[Place]:
    tenant = await running.new_tenant()
    async with running.client(tenant, "staff") as gateway:
        connector = await gateway.post("/connectors", {"name": "Shop", "settings": settings})
        await gateway.post("/spaces", {"name": "shop"})
        await gateway.post("/spaces/shop/products", {"name": "Orders", "tables": [{"name": "public.orders"}]})
        yield Place(platform, tenant, gateway, UUID(connector["id"]))


async def rows_of(platform: Platform, tenant: UUID) -> dict[str, int]:
    """Rows of a tenant in every table of every schema that has one."""
    admin = await asyncpg.connect(platform.admin_url)
    try:
        tables = await admin.fetch(
            """SELECT format('%I.%I', table_schema, table_name) AS name, column_name AS key
               FROM information_schema.columns
               WHERE (column_name = 'tenant_id' AND table_schema <> 'share')  -- views of the same rows
                  OR (table_schema, table_name, column_name) = ('gateway', 'tenant', 'id')"""
        )
        counts = {
            name: await admin.fetchval(f"SELECT count(*) FROM {name} WHERE {key} = $1", tenant) for name, key in tables
        }
    finally:
        await admin.close()
    return {name: count for name, count in counts.items() if count}


async def lasting_rows_of(platform: Platform, tenant: UUID) -> dict[str, int]:
    return {name: count for name, count in (await rows_of(platform, tenant)).items() if name not in OF_A_MOMENT}


async def arrived(platform: Platform, tenant: UUID) -> bool:
    """Whether both services have heard of all that the gateway told of the tenant."""
    told = ("tenant", "connector", "erased_name")
    wanted = {f"{service}.{table}" for service in ("aggregator", "log_miner") for table in told}
    return wanted <= set(await rows_of(platform, tenant))


async def holding(platform: Platform, text: str) -> list[str]:
    """Tables of all schemas in which a text stands."""
    admin = await asyncpg.connect(platform.admin_url)
    try:
        tables = await admin.fetch(
            """SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
               WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
        )
        where = "SELECT EXISTS (SELECT FROM {} AS t WHERE strpos(t::text, $1) > 0)"
        return [row["name"] for row in tables if await admin.fetchval(where.format(row["name"]), text)]
    finally:
        await admin.close()


async def work(warehouse: Warehouse, person: str) -> None:
    connection = await warehouse.connect(person)
    for _ in range(STATEMENTS):
        await connection.execute("SELECT id FROM orders")
    await connection.close()
    await logged(warehouse.url)


async def test_a_person_is_erased_everywhere(platform: Platform, running: Running, warehouse: Warehouse) -> None:
    person = await warehouse.login("canary")
    await work(warehouse, person)
    async with place(platform, running, warehouse.settings()) as shop:
        mined = await shop.gateway.post(f"/connectors/{shop.connector}/query-log-mining")
        assert mined == {"rows_upserted": STATEMENTS}
        await shop.scraped(shop.record("q1", CANARY), shop.record("c1", CANARY, chart=True), shop.record("q2", "bob"))
        before = await shop.reaches(execution_count_30d=STATEMENTS + 2, reference_count=1, unique_users_30d=3)
        assert {"aggregator.query_log", "aggregator.bi_reference"} <= set(await holding(platform, CANARY))

        for name in (CANARY, person):
            assert await shop.gateway.post("/users/erase", {"executed_by": name}) == {"status": "accepted"}

        async def forgotten() -> bool:
            return not await holding(platform, CANARY) and not await holding(platform, person)

        await eventually(forgotten)
        assert await shop.stats() == before
        # Late logs and replays: the same records again, another one, and mining what she ran meanwhile.
        await shop.scraped(shop.record("q1", CANARY), shop.record("c1", CANARY, chart=True), shop.record("q3", CANARY))
        await work(warehouse, person)
        await shop.gateway.post(f"/connectors/{shop.connector}/query-log-mining")
        await shop.reaches(execution_count_30d=2 * STATEMENTS + 3, reference_count=1, unique_users_30d=3)
        tables = [*await holding(platform, CANARY), *await holding(platform, person)]
        print(f"ERASURE_FLOW persons=2 rows={2 * STATEMENTS + 4} tables_with_name={len(tables)}")
        assert tables == []
        assert len(set(await shop.users())) == 3
        popular = await shop.gateway.get("/spaces/shop/usage/popular-queries")
        assert [each["user_count"] for each in popular["items"]] == [3]


async def test_a_connector_is_deleted_and_its_history_stays(
    platform: Platform, running: Running, warehouse: Warehouse
) -> None:
    await work(warehouse, await warehouse.login("ada"))
    async with place(platform, running, warehouse.settings()) as shop:
        path = f"/connectors/{shop.connector}"
        mined = (await shop.gateway.post(f"{path}/query-log-mining"))["rows_upserted"]
        await shop.scraped(shop.record("c1", chart=True), shop.record("c2", chart=True))
        before = await shop.reaches(execution_count_30d=mined, reference_count=2)

        await shop.gateway.call("DELETE", path)
        after = await shop.reaches(execution_count_30d=mined, reference_count=0)
        assert after == before | {"reference_count": 0, "query_count_30d": mined}
        with pytest.raises(GatewayError):
            await shop.gateway.post(f"{path}/query-log-mining")

        older = ConnectorChanged(
            tenant=shop.tenant, id=shop.connector, version=1, name="Shop", type="postgres", sealed_settings="v1.k1.x"
        )
        await shop.publish(CONNECTOR_CHANGED, str(shop.connector), older)
        await shop.scraped(shop.record("c3", chart=True), shop.record("q9", "late"))
        await shop.reaches(execution_count_30d=mined + 1, reference_count=0)
        admin = await asyncpg.connect(platform.admin_url)
        for schema, settings in (("log_miner", "sealed_settings"), ("aggregator", "NULL")):
            copies = await admin.fetch(
                f"SELECT deleted, version, {settings} FROM {schema}.connector WHERE id = $1", shop.connector
            )
            assert [tuple(row) for row in copies] == [(True, 2, None)], schema
        for table in ("mining_cursor", "mining_origin"):
            assert not await admin.fetchval(
                f"SELECT count(*) FROM log_miner.{table} WHERE connector_id = $1", shop.connector
            )
        await admin.close()

        second = await shop.gateway.post("/connectors", {"name": "Shop", "settings": warehouse.settings()})
        assert (await shop.gateway.post(f"/connectors/{second['id']}/query-log-mining"))["rows_upserted"] == mined
        await shop.reaches(execution_count_30d=2 * mined + 1, reference_count=0)


async def dropped(running: Running, *, at_least: int) -> bool:
    """Whether so many records of deleted tenants were dropped by the aggregator's replicas since they started."""
    total = 0.0
    async with aiohttp.ClientSession() as session:
        for name in ("aggregator", "aggregator-2"):
            async with session.get(f"http://127.0.0.1:{running.processes[name].port}/metrics") as answer:
                for line in (await answer.text()).splitlines():
                    if line.startswith("tidemark_tenant_records_dropped_total"):
                        total += float(line.split()[1])
    return total >= at_least


async def test_a_tenant_is_deleted_though_processes_die(
    platform: Platform, running: Running, warehouse: Warehouse
) -> None:
    await work(warehouse, await warehouse.login("eve"))
    async with (
        place(platform, running, warehouse.settings()) as gone,
        place(platform, running, warehouse.settings()) as other,
    ):
        for each in (gone, other):
            await each.gateway.post(f"/connectors/{each.connector}/query-log-mining")
            await each.scraped(*(each.record(f"q{n}", "bob") for n in range(500)), each.record("c", chart=True))
            await each.gateway.post("/users/erase", {"username": "nobody"})
            await each.reaches(reference_count=1)
            await eventually(partial(arrived, platform, each.tenant))
        kept, figures = await lasting_rows_of(platform, other.tenant), await other.stats()
        rows = sum((await rows_of(platform, gone.tenant)).values())

        async with running.client(None, "superuser") as superuser:
            await superuser.call("DELETE", f"/tenants/{gone.tenant}")
        with pytest.raises(GatewayError):
            await gone.gateway.get("/spaces")
        for name in ("aggregator", "log_miner"):
            await running.kill(name)
        await gone.scraped(*(gone.record(f"late{n}", "bob") for n in range(50)))
        for name in ("aggregator", "log_miner"):
            await running.restart(name)

        async def removed() -> bool:
            return set(await rows_of(platform, gone.tenant)) == MARKERS

        await eventually(removed)
        await gone.scraped(*(gone.record(f"later{n}", "bob") for n in range(50)), gone.record("x", chart=True))
        await gone.publish(
            CONNECTOR_CHANGED,
            str(gone.connector),
            ConnectorChanged(tenant=gone.tenant, id=gone.connector, version=9, name="x", type="postgres"),
        )
        await eventually(lambda: dropped(running, at_least=51 + 1))
        await other.scraped(other.record("after", "bob"))
        await other.reaches(execution_count_30d=figures["execution_count_30d"] + 1)
        assert await removed()
        settings = CommonSettings(kafka=platform.kafka, topic_prefix=platform.topic_prefix)
        buried = [await Bench(settings, topic).read(Bench(settings, topic).dead_letters) for topic in ALL_TOPICS]
        left = await lasting_rows_of(platform, other.tenant)
        print(f"TENANT_DELETION rows={rows} left={len(MARKERS)} killed=2 late=102 dead_letters={sum(map(len, buried))}")
        assert not any(buried)
        assert left == kept | {"aggregator.query_log": kept["aggregator.query_log"] + 1}
