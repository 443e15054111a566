"""Kills while counters are mined: parts that were stored are not counted again, the others go on where they stood."""

import random
from collections.abc import AsyncIterator
from functools import partial
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from libs.common.broker import build_broker
from libs.common.clock import shifted_clock
from libs.common.db import Database
from libs.common.jobs import JobRef
from services.log_miner.app import LogMiner
from services.log_miner.domain import MiningJob
from services.log_miner.warehouses import postgres_statements
from tests.support.killing import killed
from tests.support.mining import (
    Ledger,
    Warehouse,
    administrator,
    caller,
    following,
    fresh_warehouse,
    miner_settings,
    register,
)
from tests.support.platform import Platform
from tests.support.processes import eventually
from tests.support.servers import Servers

PATTERNS = 60


@pytest.fixture
async def warehouse(servers: Servers) -> AsyncIterator[Warehouse]:
    async with fresh_warehouse(servers.warehouse) as fresh:
        async with administrator(fresh.url) as admin:
            await admin.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t (a int)")
            await admin.execute("GRANT SELECT ON t TO PUBLIC")
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


async def work(warehouse: Warehouse, user: str) -> int:
    """Each pattern once; number of executions."""
    connection = await warehouse.connect(user)
    for number in range(1, PATTERNS + 1):
        await connection.execute(f"SELECT {', '.join(['a'] * number)} FROM t")
    await connection.close()
    return PATTERNS


async def test_kills_lose_nothing_and_count_nothing_twice(
    platform: Platform, miner: LogMiner, warehouse: Warehouse, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_statements, "_BATCH", 5)  # each part is a batch
    tenant, user = uuid4(), await warehouse.login("ada")
    settings = warehouse.settings(mode="statements", exclude_users=["postgres"])
    connector = await register(platform, tenant, settings)

    async def new_job() -> JobRef:
        job = await miner.miner.mine_connector(caller(tenant, connector), connector, uuid4())
        return JobRef(tenant, job.id)

    async def cancel_and_close(ref: JobRef) -> None:
        await miner.miner.jobs.send_closings()
        await eventually(lambda: closed(ref))
        await miner.miner.jobs.cancel(caller(tenant, connector), ref.id)

    async def closed(ref: JobRef) -> bool:
        await miner.miner.jobs.send_closings()
        return any(closing.job_id == ref.id for closing in ledger.closings)

    first = await new_job()
    await miner.mining.run(first)
    await cancel_and_close(first)

    async def state() -> MiningJob:
        return await miner.miner.jobs.find(caller(tenant, connector), ref.id)

    async def moved(from_seq: int) -> bool:
        return (await state()).next_job_seq > from_seq

    ref, ran, kills, idle, after = await new_job(), await work(warehouse, user), 0, 0, 0.01
    chance = random.Random(4711)  # noqa: S311 (a test that can be repeated)
    while (before := await state()).phase in ("waiting", "reading"):
        kept = partial(moved, before.next_job_seq)
        # Runs without progress are counted and given up: from the third on they get the time that they need.
        if await killed(miner.mining.run(ref), after if idle < 3 else None, kept):
            kills += 1
            if kills < 10:
                ran += await work(warehouse, user)
        idle = 0 if await kept() else idle + 1
        after = chance.uniform(0.0, 0.1)
    assert (await state()).error_code is None
    await cancel_and_close(ref)
    last = await new_job()
    await miner.mining.run(last)
    await eventually(lambda: closed(last))

    records = [*ledger.of(ref.id).values(), *ledger.of(last.id).values()]
    counted = sum(record.execution_count for record in records)
    resources = {record.resource_id for record in records}
    sent = ledger.numbers(ref.id).total() + ledger.numbers(last.id).total()
    print(f"COUNTER_KILLS kills={kills} ran={ran} counted={counted} rows={len(records)} sent={sent}")
    assert kills > 0
    assert counted == ran
    assert len(resources) == len(records)
    assert {record.executed_by for record in records} == {user}
