"""A warehouse cluster to be killed, log_miner's objects, and a ledger of what it sent."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from deploy.local.infrastructure import Infrastructure, remove_state
from libs.common.broker import build_broker
from libs.common.clock import shifted_clock
from libs.common.db import Database
from services.log_miner.app import LogMiner
from services.log_miner.warehouses import postgres_files
from tests.integration.mining_restarts.scenes import (
    Scene,
    scene,
    work,
)
from tests.support.mining import (
    Ledger,
    Warehouse,
    following,
    fresh_warehouse,
    miner_settings,
)
from tests.support.platform import Platform


@pytest.fixture(scope="package")
async def servers_own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Infrastructure]:
    """A warehouse cluster that these tests may kill, with a zone of its own."""
    state = Path(tmp_path_factory.mktemp("cluster"))
    try:
        async with Infrastructure.on_free_ports(state, only=("warehouse",)) as running:
            admin = await asyncpg.connect(running.warehouse.dsn("postgres"))
            await admin.execute("ALTER SYSTEM SET log_timezone = 'Europe/Berlin'")
            await admin.execute("SELECT pg_reload_conf()")
            await admin.close()
            yield running
    finally:
        remove_state(state)


@pytest.fixture
async def warehouse(servers_own: Infrastructure) -> AsyncIterator[Warehouse]:
    async with fresh_warehouse(servers_own.warehouse.dsn("postgres")) as fresh:
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


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches from a short log."""
    monkeypatch.setattr(postgres_files, "_CHUNK_BYTES", 4096)


@pytest.fixture
async def loaded(platform: Platform, miner: LogMiner, warehouse: Warehouse) -> Scene:
    """With statements in the log."""
    place = await scene(platform, miner, warehouse)
    await work(warehouse, await warehouse.login("ada"))
    return await place.another_job()
