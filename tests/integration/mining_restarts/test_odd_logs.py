"""Logs that are not plain: zones, statements written before they run, long records, files that change."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from services.log_miner.app import LogMiner
from services.log_miner.warehouses import postgres_files
from tests.integration.mining_restarts.scenes import (
    Crash,
    assert_complete,
    crashing,
    run_until_over,
    scene,
    work,
)
from tests.support.csvlog import begin_file, logged
from tests.support.mining import (
    Ledger,
    Warehouse,
    administrator,
)
from tests.support.platform import Platform


async def test_times_are_exact_in_the_servers_zone(
    platform: Platform, miner: LogMiner, warehouse: Warehouse, ledger: Ledger
) -> None:
    ada = await warehouse.login("ada")
    before = await scene(platform, miner, warehouse)
    began = datetime.now(UTC)
    await work(warehouse, ada, 10)
    ended = datetime.now(UTC)
    place = await before.another_job()
    await place.miner.mining.run(place.ref)
    await assert_complete(place, ledger, 10)
    times = [record.executed_at or began for record in ledger.of(place.job).values()]
    assert all(began - timedelta(milliseconds=1) <= moment <= ended for moment in times)


async def test_statements_logged_before_they_run_count_unless_they_fail(
    platform: Platform, miner: LogMiner, warehouse: Warehouse, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one read, whose end must not fall between a statement and its error: what is open there counts."""
    monkeypatch.setattr(postgres_files, "_CHUNK_BYTES", 1024 * 1024)
    before = await scene(platform, miner, warehouse)
    admin = await asyncpg.connect(warehouse.url)
    await admin.execute("SET log_min_duration_statement = -1; SET log_statement = 'all'")
    await admin.execute("SELECT 1")
    await admin.fetch("SELECT $1::int", 2)
    for _ in range(3):
        with pytest.raises(asyncpg.PostgresError):
            await admin.execute("SELECT 1/0")
    await admin.execute("SET log_duration = on")
    await admin.execute("SELECT 3")
    await admin.close()
    await logged(warehouse.url)
    place = await before.another_job()
    await place.miner.mining.run(place.ref)
    await assert_complete(place, ledger, 3)
    texts = [record.sql_text for record in ledger.of(place.job).values()]
    assert texts == ["SELECT ?", "SELECT ?::int", "SELECT ?"]


@pytest.mark.parametrize(("longest", "counted"), [(1024 * 1024, 3), (16 * 1024, 2)])
async def test_a_record_longer_than_a_read(
    platform: Platform,
    miner: LogMiner,
    warehouse: Warehouse,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    longest: int,
    counted: int,
) -> None:
    """It is read in one piece, or passed over with a warning where it is longer than memory should hold."""
    monkeypatch.setattr(postgres_files, "_LONGEST_RECORD_BYTES", longest)
    before = await scene(platform, miner, warehouse)
    connection = await warehouse.connect(await warehouse.login("ada"))
    for statement in ("SELECT 1", "SELECT '" + "quote '' and\nline " * 5_000 + "'", "SELECT 3"):
        await connection.execute(statement)
    await connection.close()
    await logged(warehouse.url)
    place = await before.another_job()
    await place.miner.mining.run(place.ref)
    await assert_complete(place, ledger, counted)
    assert any("passed over" in warning for warning in (await place.state()).warnings) == (counted == 2)


@asynccontextmanager
async def current_log(warehouse: Warehouse) -> AsyncIterator[Path]:
    """The file that the server writes to; a new one is begun first, so that it is this test's own."""
    async with administrator(warehouse.url) as admin:
        yield await begin_file(admin)


def tamper(path: Path, how: str) -> Iterator[str]:
    """Do something to a log file that no server does by itself; words of the warning that is due."""
    if how == "removed":
        path.unlink()
        yield "was removed"
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:200])
        yield "was truncated"
    else:
        path.write_bytes(b"x" * 300 + b"\n" + path.read_bytes())
        yield "was replaced"
        yield "unreadable"


@pytest.mark.parametrize("how", ["removed", "truncated", "replaced"])
async def test_a_log_file_that_changed_under_the_reader_is_a_warning(
    platform: Platform, miner: LogMiner, warehouse: Warehouse, ledger: Ledger, how: str
) -> None:
    before = await scene(platform, miner, warehouse)
    async with current_log(warehouse) as path:
        ada = await warehouse.login("ada")
        await work(warehouse, ada)
    place = await before.another_job()
    with pytest.raises(Crash):
        await place.with_sender(crashing("after")).run(place.ref)
    async with current_log(warehouse):
        words = list(tamper(path, how))
        await work(warehouse, ada, 7)
    await run_until_over(place, place.miner.mining)
    state = await place.state()
    for word in words:
        assert any(word in warning and path.name in warning for warning in state.warnings), state.warnings
    texts = [record.executed_by for record in ledger.of(place.job).values()]
    assert len(texts) >= 7
