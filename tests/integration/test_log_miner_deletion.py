"""Deletions while the log miner works: nothing comes back that a worker had in hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from libs.common.broker import build_broker
from libs.common.clock import shifted_clock
from libs.common.collecting.job import CollectingJob
from libs.common.collecting.sending import Traced
from libs.common.connector_copy import find_connector, store_change
from libs.common.db import Database
from libs.common.events import BiQueryStored, ConnectorChanged, TenantChanged, UserErased
from libs.common.jobs import JobRef
from libs.common.tenants import SETTLED, Tenants
from services.log_miner.app import LogMiner
from services.log_miner.mining import Mining
from services.log_miner.sending import Sender
from services.log_miner.tenant_tables import TENANT_TABLES
from services.log_miner.warehouses import postgres_files
from tests.support.csvlog import logged
from tests.support.mining import (
    Ledger,
    Warehouse,
    caller,
    following,
    fresh_warehouse,
    miner_settings,
    register,
    stored_record_by_record,
)
from tests.support.platform import Platform
from tests.support.processes import eventually
from tests.support.servers import Servers

STATEMENTS = 120


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches from a short log."""
    monkeypatch.setattr(postgres_files, "_CHUNK_BYTES", 4096)


@pytest.fixture
async def warehouse(servers: Servers) -> AsyncIterator[Warehouse]:
    async with fresh_warehouse(servers.warehouse) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def ledger(platform: Platform) -> AsyncIterator[Ledger]:
    async with following(platform) as kept:
        yield kept


@pytest.fixture(scope="module")
async def miner(platform: Platform) -> AsyncIterator[LogMiner]:
    """log_miner's objects, with nothing running by itself."""
    settings = miner_settings(platform, closing_repeat=0.2)
    database, broker = await Database.open(settings, "log_miner"), build_broker(settings, "log_miner")
    await broker.connect()
    yield LogMiner(settings, database, broker, CollectorRegistry(), shifted_clock())
    await broker.stop()
    await database.close()


@dataclass(frozen=True, slots=True)
class Scene:
    """A connector of a tenant of its own, and a job that nobody works on; `person` has run statements."""

    miner: LogMiner
    tenant: UUID
    connector: UUID
    person: str
    ref: JobRef

    def interrupted_by(self, act: Callable[[], Awaitable[None]]) -> Mining:
        """Runs in whose second batch something happens between storing and sending."""
        mining = self.miner.mining
        return replace(mining, sender=Interrupted(mining.sender.database, mining.sender.publisher, act, []))

    async def deletion(self, version: int = 2) -> None:
        """As `connector.changed` brings it."""
        change = ConnectorChanged(tenant=self.tenant, id=self.connector, version=version, deleted=True)
        async with self.miner.database.work() as connection:
            if await store_change(connection, change):
                await self.miner.miner.forget_connector(connection, change)

    async def rows(self) -> dict[str, int]:
        """Rows of the tenant by table, where there are any."""
        async with self.miner.database.work() as connection:
            counts = {
                table: await connection.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", self.tenant)
                for table in TENANT_TABLES
            }
        return {table: count for table, count in counts.items() if count}


@dataclass(frozen=True)
class Interrupted(Sender):
    """The real sender; something happens before its second batch."""

    act: Callable[[], Awaitable[None]]
    seen: list[int]

    async def send(self, job: CollectingJob, records: Sequence[Traced]) -> None:
        self.seen.append(len(records))
        if len(self.seen) == 2:
            await self.act()
        await Sender(self.database, self.publisher).send(job, records)


async def read_what_is_there(miner: LogMiner, tenant: UUID, connector: UUID) -> None:
    """What others have logged on this server; the next job reads only what a test adds."""
    job = await miner.miner.mine_connector(caller(tenant, connector), connector, uuid4())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_files, "_CHUNK_BYTES", 1024 * 1024)
        await miner.mining.run(JobRef(tenant, job.id))
    stored = BiQueryStored(
        tenant=tenant,
        connector_id=connector,
        job_id=job.id,
        sync_seq=job.sync_seq,
        state="completed",
        received=0,
        upserted=0,
        rejected=0,
        retired=0,
    )
    async with miner.database.work() as connection:
        await miner.miner.close_job(connection, stored)


@pytest.fixture
async def scene(platform: Platform, miner: LogMiner, warehouse: Warehouse) -> Scene:
    tenant = uuid4()
    connector = await register(platform, tenant, warehouse.settings())
    await read_what_is_there(miner, tenant, connector)
    person = await warehouse.login("canary_person")
    connection = await warehouse.connect(person)
    for number in range(STATEMENTS):
        await connection.execute(f"SELECT {number}")
    await connection.close()
    await logged(warehouse.url)
    job = await miner.miner.mine_connector(caller(tenant, connector), connector, uuid4())
    return Scene(miner, tenant, connector, person, JobRef(tenant, job.id))


async def holding(platform: Platform, text: str) -> list[str]:
    """Tables of the schema in which a text stands."""
    admin = await asyncpg.connect(platform.admin_url)
    try:
        tables = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'log_miner'")
        where = "SELECT EXISTS (SELECT FROM log_miner.{} AS t WHERE strpos(t::text, $1) > 0)"
        return [row["tablename"] for row in tables if await admin.fetchval(where.format(row["tablename"]), text)]
    finally:
        await admin.close()


async def test_a_connector_deleted_under_a_running_job_leaves_nothing(scene: Scene) -> None:
    await scene.interrupted_by(scene.deletion).run(scene.ref)
    job = await scene.miner.miner.jobs.find(caller(scene.tenant, scene.connector), scene.ref.id)
    assert job.state == "cancelled"
    assert job.rows_sent < STATEMENTS
    assert set(await scene.rows()) == {"connector", "mining_job"}
    async with scene.miner.database.work() as connection:
        copy = await find_connector(connection, scene.tenant, scene.connector)
        assert copy is not None
        assert (copy.deleted, copy.sealed_settings, copy.version) == (True, None, 2)


async def test_an_older_change_does_not_bring_a_connector_back(scene: Scene) -> None:
    await scene.deletion(version=3)
    older = ConnectorChanged(
        tenant=scene.tenant, id=scene.connector, version=2, name="x", type="postgres", sealed_settings="v1.k1.x"
    )
    async with scene.miner.database.work() as connection:
        assert not await store_change(connection, older)
        copy = await find_connector(connection, scene.tenant, scene.connector)
    assert copy is not None
    assert (copy.deleted, copy.sealed_settings) == (True, None)
    await scene.miner.mining.run(scene.ref)
    assert set(await scene.rows()) == {"connector", "mining_job"}


async def test_a_tenant_deleted_under_a_running_job_leaves_nothing(scene: Scene, ledger: Ledger) -> None:
    tenants = scene.miner.tenants

    async def deletion() -> None:
        await tenants.follow([TenantChanged(tenant=scene.tenant, id=scene.tenant, version=2, deleted=True)])
        await tenants.purge()

    mining = scene.interrupted_by(deletion)
    await mining.run(scene.ref)
    await ledger.caught_up()
    sent = ledger.numbers(scene.ref.id).total()
    await scene.miner.miner.jobs.requeue_lost()
    await scene.miner.mining.run(scene.ref)
    await scene.miner.miner.jobs.send_closings()
    await tenants.purge()
    assert await scene.rows() == {}
    await ledger.caught_up()
    assert ledger.numbers(scene.ref.id).total() == sent < STATEMENTS
    later = Tenants(
        scene.miner.database, shifted_clock(SETTLED.total_seconds() + 1), TENANT_TABLES, CollectorRegistry()
    )
    assert await later.purge() == 0
    async with scene.miner.database.work() as connection:
        assert await connection.fetchval("SELECT purged_at FROM tenant WHERE tenant_id = $1", scene.tenant)


async def test_a_job_of_a_deleted_tenant_tells_nothing_more(scene: Scene, ledger: Ledger) -> None:
    """One that has been read and waits for its outcome repeats its closing record no more."""
    await scene.miner.mining.run(scene.ref)
    await ledger.caught_up()
    closings = [each for each in ledger.closings if each.job_id == scene.ref.id]
    await scene.miner.tenants.follow([TenantChanged(tenant=scene.tenant, id=scene.tenant, version=2, deleted=True)])
    await asyncio.sleep(0.3)  # longer than the pause between two closing records
    await scene.miner.miner.jobs.send_closings()
    await ledger.caught_up()
    assert len([each for each in ledger.closings if each.job_id == scene.ref.id]) <= max(len(closings), 1)
    await scene.miner.tenants.purge()
    assert await scene.rows() == {}


@pytest.mark.parametrize("table", ["unsent_batch", "unsent_record"])
async def test_an_erased_person_is_not_sent(scene: Scene, ledger: Ledger, platform: Platform, table: str) -> None:
    """Records that wait, that are read later, jobs that the person asked for."""
    asked = replace(caller(scene.tenant, scene.connector), username=scene.person)
    names = scene.miner.mining.erased

    class Crash(BaseException):
        """The process is gone."""

    async def crash() -> None:
        raise Crash

    with pytest.raises(Crash):
        await scene.interrupted_by(crash).run(scene.ref)
    await ledger.caught_up()
    before = ledger.numbers(scene.ref.id).total()
    if table == "unsent_record":  # as the version before stored
        async with scene.miner.database.work() as connection:
            await stored_record_by_record(connection, scene.tenant, scene.ref.id)
    assert await holding(platform, scene.person) == [table]
    event = UserErased(
        tenant=scene.tenant, sealed_name=names.sealed(scene.tenant, scene.person), pseudonym="erased:0123abcd"
    )
    await scene.miner.erasing.follow(event)
    assert await scene.miner.erasing.rewrite_pending() == 1
    assert await holding(platform, scene.person) == []

    async def look() -> None:
        assert await holding(platform, scene.person) == []

    await scene.interrupted_by(look).run(scene.ref)
    await eventually(lambda: _closed(ledger, scene.ref.id))
    records = ledger.of(scene.ref.id)
    late = {record.executed_by for number, record in records.items() if number > before}
    assert late == {"erased:0123abcd"}
    assert sorted(records) == list(range(1, STATEMENTS + 1))
    print(f"ERASURE_MINING table={table} rows={STATEMENTS} before={before} named_after=0")
    again = await scene.miner.miner.mine_connector(asked, await _another(scene, platform), uuid4())
    assert again.requested_by == "erased:0123abcd"


async def _closed(ledger: Ledger, job: UUID) -> bool:
    return any(closing.job_id == job for closing in ledger.closings)


async def _another(scene: Scene, platform: Platform) -> UUID:
    return await register(platform, scene.tenant, {"type": "postgres", "host": "127.0.0.1"})


async def test_jobs_of_an_erased_person_have_a_pseudonym(scene: Scene, platform: Platform) -> None:
    connector = await _another(scene, platform)
    asked = replace(caller(scene.tenant, connector), connector_id=connector, username=scene.person)
    job = await scene.miner.miner.mine_connector(asked, connector, uuid4())
    assert job.requested_by == scene.person
    sealed = scene.miner.mining.erased.sealed(scene.tenant, scene.person)
    await scene.miner.erasing.follow(UserErased(tenant=scene.tenant, sealed_name=sealed, pseudonym="erased:0123abcd"))
    await scene.miner.erasing.rewrite_pending()
    assert await holding(platform, scene.person) == []
    assert (await scene.miner.miner.jobs.find(asked, job.id)).requested_by == "erased:0123abcd"
