"""What a sync retires, however its records came: twice, not at all, unreadable, late, from two runs at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from libs.common.collecting.sending import Traced
from services.scraper.domain import SyncJob
from services.scraper.store import JOBS
from tests.integration.aggregator_harness import NOON
from tests.integration.sync_harness import Crash, Place, Send, SyncHarness, sync_harness
from tests.stubs.superset.content import ADA, chart, run
from tests.stubs.superset.server import SupersetStub, running
from tests.support.platform import Platform
from tests.support.syncing import REFERENCES, RUNS, recent_content

CHARTS = 3


@pytest.fixture(scope="module")
async def harness(platform: Platform) -> AsyncIterator[SyncHarness]:
    async with sync_harness(platform) as started:
        yield started


@pytest.fixture
async def stub(harness: SyncHarness) -> AsyncIterator[SupersetStub]:
    content = recent_content(CHARTS, now=harness.clock.now.timestamp())
    async with running(SupersetStub(content)) as superset:
        yield superset


@pytest.fixture
async def place(harness: SyncHarness, stub: SupersetStub) -> Place:
    """Synced once; then a chart was deleted in the tool."""
    known = await harness.connector(stub)
    job = await known.sync()
    assert (job.state, job.rows_upserted) == ("completed", REFERENCES + RUNS)
    assert await known.charts() == {"1", "2", "3"}
    del stub.content.chart[0]
    return known


def _figures(job: SyncJob) -> str:
    return (
        f"state={job.state} published={job.rows_published} upserted={job.rows_upserted} "
        f"rejected={job.rows_rejected} retired={job.references_retired}"
    )


async def test_a_deleted_chart_disappears(place: Place) -> None:
    job = await place.sync()
    print(f"RETIRE_PLAIN {_figures(job)}")
    assert (job.state, job.references_retired) == ("completed", 3)
    assert await place.charts() == {"2", "3"}


async def test_redelivered_records_count_once(place: Place) -> None:
    before, times = list[Traced](), 0

    async def again(_job: SyncJob, records: Sequence[Traced], send: Send) -> None:
        nonlocal times
        before.extend(records)
        for part in (records, records[::-1], before):
            times += len(part)
            await send(part)

    job = await place.sync(again)
    print(f"RETIRE_REDELIVERED sent={times} {_figures(job)}")
    assert (job.state, job.rows_upserted, job.rows_rejected) == ("completed", job.rows_published, 0)
    assert times >= 3 * job.rows_published
    assert job.references_retired == 3
    assert await place.charts() == {"2", "3"}
    assert await place.usage() == (2, 0)


async def test_lost_records_make_it_partial_and_retire_nothing(place: Place) -> None:
    async def lose(_job: SyncJob, records: Sequence[Traced], send: Send) -> None:
        await send([traced for traced in records if traced[0].job_seq != 2])

    job = await place.begin()
    await place.run(job, lose)
    over = await place.closed(job, advance=timedelta(minutes=4))
    print(f"RETIRE_LOST {_figures(over)}")
    assert (over.state, over.rows_upserted, over.references_retired) == ("partial", over.rows_published - 1, 0)
    assert await place.charts() == {"1", "2", "3"}
    healed = await place.sync()
    assert (healed.state, healed.references_retired) == ("completed", 3)
    assert await place.charts() == {"2", "3"}


async def test_a_lost_closing_record_is_said_again(place: Place, harness: SyncHarness) -> None:
    async def take_and_die() -> None:
        async with harness.scraper.database.work() as connection:
            now = harness.clock()
            assert await JOBS.take_due_closings(connection, now, now + timedelta(minutes=1), 10)

    job = await place.begin()
    await place.run(job, closings=take_and_die)
    await asyncio.sleep(0.5)
    assert (await place.state(job)).phase == "storing"
    over = await place.closed(job, advance=timedelta(seconds=30))
    print(f"RETIRE_CLOSING_LOST {_figures(over)}")
    assert (over.state, over.references_retired) == ("completed", 3)


async def test_dead_letters_are_counted_and_retire_nothing(place: Place, harness: SyncHarness) -> None:
    async def poison(job: SyncJob, records: Sequence[Traced], send: Send) -> None:
        good = [traced for traced in records if traced[0].job_seq not in (1, 4)]
        for record, _ in records:
            if record.job_seq in (1, 4):
                at = {"jobid": str(job.id), "syncseq": str(job.sync_seq), "jobseq": str(record.job_seq)}
                await harness.publish_raw(place, b'{"kind": "bi_query", "tenant": 7', at)
        await send(good)

    job = await place.sync(poison)
    print(f"RETIRE_DEAD_LETTERED {_figures(job)} warnings={job.warning_count}")
    assert (job.state, job.rows_rejected, job.references_retired) == ("completed", 2, 0)
    assert job.rows_upserted == job.rows_published - 2
    assert any("rejected" in warning for warning in job.warnings)
    assert await place.charts() == {"1", "2", "3"}
    assert (await place.sync()).references_retired == 3


async def test_a_run_that_was_taken_over_brings_nothing_back(place: Place, stub: SupersetStub) -> None:
    """Overlapping: the late run has seen a chart that was deleted before the next one read."""
    held, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_job: SyncJob, records: Sequence[Traced], send: Send) -> None:
        held.set()
        await go_on.wait()
        await send(records)

    job = await place.begin()
    late = asyncio.create_task(place.run(job, hold))
    await held.wait()
    del stub.content.chart[0]
    await place.run(job)
    over = await place.closed(job)
    go_on.set()
    await late
    following = await place.sync()  # behind the late records in the topic
    print(f"RETIRE_OVERLAP {_figures(over)} runs={over.run} sync_seqs={job.sync_seq},{over.sync_seq}")
    assert (over.state, over.run, over.rows_upserted) == ("completed", 2, over.rows_published)
    assert job.sync_seq < over.sync_seq < following.sync_seq
    assert await place.charts() == {"3"}
    assert following.references_retired == 0
    assert (await place.state(job)) == over


async def test_a_cancelled_sync_that_overlaps_the_next_one(place: Place) -> None:
    held, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_job: SyncJob, records: Sequence[Traced], send: Send) -> None:
        held.set()
        await go_on.wait()
        await send(records)

    first = await place.begin()
    late = asyncio.create_task(place.run(first, hold))
    await held.wait()
    await place.harness.scraper.scraper.jobs.cancel(place.caller, first.id)
    go_on.set()
    await late
    second = await place.sync()
    over = await place.closed(first)
    print(f"RETIRE_CANCELLED first={over.state} second {_figures(second)}")
    assert (over.state, over.references_retired, over.rows_upserted) == ("cancelled", 0, over.rows_published)
    assert (second.state, second.references_retired) == ("completed", 3)
    assert await place.charts() == {"2", "3"}


async def test_a_cancelled_sync_whose_worker_died_reads_no_more(place: Place, stub: SupersetStub) -> None:
    async def crash(_job: SyncJob, records: Sequence[Traced], send: Send) -> None:
        await send(records)
        raise Crash

    job = await place.begin()
    with pytest.raises(Crash):
        await place.run(job, crash)
    await place.harness.scraper.scraper.jobs.cancel(place.caller, job.id)
    asked = len(stub.requests)
    await place.run(job)
    over = await place.closed(job)
    assert (over.state, len(stub.requests)) == ("cancelled", asked)
    assert await place.charts() == {"1", "2", "3"}


@pytest.mark.parametrize("where", ["before", "half way", "after"])
async def test_a_crash_around_sending_begins_again_under_a_new_number(place: Place, where: str) -> None:
    async def crash(_job: SyncJob, records: Sequence[Traced], send: Send) -> None:
        if where == "half way":
            await send(records[: len(records) // 2])
        if where == "after":
            await send(records)
        raise Crash

    job = await place.begin()
    for _ in range(2):
        with pytest.raises(Crash):
            await place.run(job, crash)
    await place.run(job)
    over = await place.closed(job)
    print(f"RETIRE_CRASH where={where.replace(' ', '_')} runs={over.run} {_figures(over)}")
    assert (over.state, over.run, over.sync_seq) == ("completed", 3, job.sync_seq + 2)
    assert (over.rows_upserted, over.rows_rejected) == (over.rows_published, 0)
    assert await place.charts() == {"2", "3"}


async def test_a_sync_that_never_gets_through_is_given_up(place: Place) -> None:
    async def crash(_job: SyncJob, _records: Sequence[Traced], _send: Send) -> None:
        raise Crash

    job = await place.begin()
    for _ in range(5):
        with pytest.raises(Crash):
            await place.run(job, crash)
    await place.run(job)
    over = await place.closed(job)
    print(f"RETIRE_GIVEN_UP runs={over.run} {_figures(over)}")
    assert (over.state, over.error_code) == ("failed", "given_up")
    assert await place.charts() == {"1", "2", "3"}


async def test_kills_at_random_moments_end_with_what_the_tool_has(harness: SyncHarness) -> None:
    dice = random.Random(4711)  # noqa: S311 (a test that can be repeated)
    content = recent_content(200, now=harness.clock.now.timestamp())
    start = harness.clock.now.timestamp() * 1000 - 3600_000
    content.query = [
        run(n, ADA, f"SELECT {n} FROM public.orders") | {"start_time": start + n * 1000} for n in range(1, 301)
    ]
    kills = syncs = 0
    async with running(SupersetStub(content)) as stub:
        place = await harness.connector(stub)
        for _ in range(3):
            syncs += 1
            job = await place.begin()
            for patience in (0.02, 0.2, 0.5, 0.9, None):
                if (await place.state(job)).phase not in ("waiting", "reading"):
                    break
                task = asyncio.create_task(place.run(job))
                await asyncio.wait({task}, timeout=dice.uniform(0, patience) if patience else None)
                kills += not task.done()
                task.cancel()
                await asyncio.wait({task})
            over = await place.closed(job)
            assert (over.state, over.rows_upserted) == ("completed", over.rows_published)
            gone = dice.sample(range(len(stub.content.chart)), 5)
            stub.content.chart = [row for at, row in enumerate(stub.content.chart) if at not in gone]
            stub.content.chart.append(chart(1000 + syncs, 1))
        await place.sync()
        expected = {str(row["id"]) for row in stub.content.chart}
        found = await place.charts()
    print(
        f"RETIRE_KILLS syncs={syncs} kills={kills} charts={len(found)} lost={len(expected - found)} "
        f"too_many={len(found - expected)} executions={(await place.usage())[1]} expected=300"
    )
    assert found == expected
    assert kills >= 3
    assert (await place.usage())[1] == 300


def test_the_clock_began_at_noon() -> None:
    """The stub's runs lie before it, so that none is from the future."""
    assert recent_content(now=NOON.timestamp()).query[-1]["start_time"] < NOON.timestamp() * 1000
