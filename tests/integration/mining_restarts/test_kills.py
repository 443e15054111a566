"""Mining that is killed at any step, or whose server fails under it: nothing is lost, no number is used twice."""

import asyncio
import random
from collections.abc import Sequence
from functools import partial

import asyncpg
import pytest

from deploy.local.infrastructure import Infrastructure
from libs.common.collecting.sending import Traced
from services.log_miner.app import LogMiner
from tests.integration.mining_restarts.scenes import (
    SECRET,
    STATEMENTS,
    Crash,
    Scene,
    Send,
    assert_complete,
    crashing,
    run_until_over,
    scene,
    work,
)
from tests.support.killing import killed
from tests.support.mining import (
    Ledger,
    Warehouse,
    stored_record_by_record,
)
from tests.support.platform import Platform


@pytest.mark.parametrize("where", ["before", "half way", "after"])
async def test_a_crash_around_sending_is_made_good(loaded: Scene, ledger: Ledger, where: str) -> None:
    runs = await run_until_over(loaded, loaded.with_sender(crashing(where)))
    sent, ambiguous = await assert_complete(loaded, ledger)
    print(
        f"CRASH where={where.replace(' ', '_')} runs={runs} rows={STATEMENTS} sent={sent} lost=0 ambiguous={ambiguous}"
    )
    assert ambiguous == 0
    assert runs > 3
    assert sent == (STATEMENTS if where == "before" else sent)


async def test_kills_at_random_moments_are_made_good(loaded: Scene, ledger: Ledger) -> None:
    async def moved(from_seq: int) -> bool:
        return (await loaded.state()).next_job_seq > from_seq

    kills, idle, after = 0, 0, 0.001
    chance = random.Random(4711)  # noqa: S311 (a test that can be repeated)
    while (before := await loaded.state()).phase in ("waiting", "reading"):
        kept = partial(moved, before.next_job_seq)
        # Runs without progress are counted and given up: from the third on they get the time that they need.
        kills += await killed(loaded.miner.mining.run(loaded.ref), after if idle < 3 else None, kept)
        idle = 0 if await kept() else idle + 1
        after = chance.uniform(0.0, 0.05)
    sent, ambiguous = await assert_complete(loaded, ledger)
    print(f"KILLS kills={kills} rows={STATEMENTS} sent={sent} lost=0 ambiguous={ambiguous}")
    assert ambiguous == 0
    assert kills > 0


async def test_what_lies_in_the_database_has_no_literals(loaded: Scene, platform: Platform) -> None:
    with pytest.raises(Crash):
        await loaded.with_sender(crashing("before")).run(loaded.ref)
    admin = await asyncpg.connect(platform.admin_url)
    for table in ("unsent_batch", "mining_job", "mining_cursor", "connector", "pgqueuer", "pgqueuer_log"):
        kept = await admin.fetchval(f"SELECT coalesce(string_agg(t::text, ''), '') FROM log_miner.{table} t")
        assert kept
        assert SECRET not in kept, table
    await admin.close()


async def test_a_run_that_was_taken_over_writes_nothing(loaded: Scene, ledger: Ledger) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def pause(records: Sequence[Traced], send: Send) -> None:
        reached.set()
        await go_on.wait()
        await send(records)

    late = asyncio.create_task(loaded.with_sender(pause).run(loaded.ref))
    await reached.wait()
    await loaded.miner.mining.run(loaded.ref)
    over = await loaded.state()
    go_on.set()
    await late
    assert await loaded.state() == over
    sent, ambiguous = await assert_complete(loaded, ledger)
    print(f"FENCE rows={STATEMENTS} sent={sent} ambiguous={ambiguous}")
    assert ambiguous == 0
    assert over.run == 2


async def test_a_server_that_dies_while_its_log_is_read(
    platform: Platform, miner: LogMiner, warehouse: Warehouse, ledger: Ledger, servers_own: Infrastructure
) -> None:
    before = await scene(platform, miner, warehouse)
    await work(warehouse, await warehouse.login("ada"))
    place = await before.another_job()
    kills = 0

    async def kill(records: Sequence[Traced], send: Send) -> None:
        nonlocal kills
        if not kills:
            kills = 1
            await servers_own.warehouse.kill()
            await servers_own.warehouse.start()
        await send(records)

    runs = await run_until_over(place, place.with_sender(kill))
    sent, ambiguous = await assert_complete(place, ledger)
    print(f"SERVER_KILL runs={runs} rows={STATEMENTS} sent={sent} lost=0 ambiguous={ambiguous}")
    assert (kills, ambiguous) == (1, 0)
    assert runs == 2


async def test_what_the_version_before_left_is_sent(loaded: Scene, ledger: Ledger) -> None:
    """It stored a row for each record."""
    with pytest.raises(Crash):
        await loaded.with_sender(crashing("before")).run(loaded.ref)
    async with loaded.miner.database.work() as connection:
        records = await stored_record_by_record(connection, loaded.tenant, loaded.job)
    await run_until_over(loaded, loaded.miner.mining)
    sent, ambiguous = await assert_complete(loaded, ledger)
    assert (sent, ambiguous) == (STATEMENTS, 0)
    sent_again = [ledger.of(loaded.job)[each.job_seq or 0] for each in records]
    assert [each.to_json() for each in sent_again] == [each.to_json() for each in records]
    async with loaded.miner.database.work() as connection:
        left = await connection.fetchval("SELECT count(*) FROM unsent_record WHERE job_id = $1", loaded.job)
    assert left == 0
