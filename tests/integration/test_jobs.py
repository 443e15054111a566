"""Long jobs: a lease that is not renewed passes on, a worker that lost its job does no harm, failures are held."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import asyncpg
import pytest

from deploy.setup.bootstrap import with_database
from libs.common.db import Pool
from libs.common.jobs import JobHandler, JobRef, Jobs, RetryLater, enqueue
from tests.support.job_worker import KIND, SERVICE
from tests.support.platform import Platform
from tests.support.processes import eventually

LEASE = 2.0


@pytest.fixture(scope="module")
async def pool(platform: Platform) -> AsyncIterator[Pool]:
    admin = await asyncpg.connect(platform.admin_url)
    await admin.execute(
        "CREATE TABLE log_miner.job_run (id bigint GENERATED ALWAYS AS IDENTITY, job uuid, worker text, what text)"
    )
    await admin.execute("GRANT INSERT, SELECT ON log_miner.job_run TO log_miner_worker")
    await admin.close()
    opened = await asyncpg.create_pool(platform.worker_url(SERVICE), min_size=1, max_size=5)
    yield opened
    await opened.close()


async def start_job(pool: Pool) -> JobRef:
    ref = JobRef(uuid4(), uuid4())
    async with pool.acquire() as connection, connection.transaction():
        await enqueue(connection, SERVICE, KIND, ref)
    return ref


async def log_of(pool: Pool, ref: JobRef) -> list[tuple[str, str]]:
    rows = await pool.fetch("SELECT worker, what FROM job_run WHERE job = $1 AND what <> 'may end' ORDER BY id", ref.id)
    return [(row["worker"], row["what"]) for row in rows]


async def let_end(pool: Pool, ref: JobRef, *workers: str) -> None:
    """Allow workers to end their work on a job."""
    await pool.executemany(
        "INSERT INTO job_run (job, worker, what) VALUES ($1, $2, 'may end')", [(ref.id, each) for each in workers]
    )


async def queued(pool: Pool, ref: JobRef) -> list[str]:
    """States of the job's queue rows."""
    rows = await pool.fetch("SELECT status::text FROM pgqueuer WHERE payload = $1", ref.to_payload())
    return [row["status"] for row in rows]


@asynccontextmanager
async def worker(platform: Platform, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process, killed at the end whatever happened."""
    environment = {
        "PATH": os.environ["PATH"],
        "WORKER_DATABASE_URL": platform.worker_url(SERVICE),
        "LEASE": str(LEASE),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.job_worker", name, env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def has(pool: Pool, ref: JobRef, *entries: tuple[str, str]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        found = await log_of(pool, ref)
        return all(entry in found for entry in entries)

    return check


async def test_a_job_of_a_killed_worker_is_taken_over(platform: Platform, pool: Pool) -> None:
    async with worker(platform, "first") as first, worker(platform, "second") as second:
        # Only the first one works until it has the job.
        second.send_signal(signal.SIGSTOP)
        ref = await start_job(pool)
        await let_end(pool, ref, "second")
        await eventually(has(pool, ref, ("first", "began")))
        first.kill()
        killed = time.monotonic()
        second.send_signal(signal.SIGCONT)
        await eventually(has(pool, ref, ("second", "ended")))
        took = time.monotonic() - killed
        await eventually(lambda: _gone(pool, ref))
    print(f"TAKEOVER lease_seconds={LEASE} took_seconds={took:.1f} lost=0")
    assert await log_of(pool, ref) == [("first", "began"), ("second", "began"), ("second", "ended")]


async def _gone(pool: Pool, ref: JobRef) -> bool:
    return await queued(pool, ref) == []


async def test_a_worker_that_wakes_up_too_late_does_not_end_the_job_of_another(platform: Platform, pool: Pool) -> None:
    async with worker(platform, "sleeper") as sleeper:
        ref = await start_job(pool)
        await eventually(has(pool, ref, ("sleeper", "began")))
        sleeper.send_signal(signal.SIGSTOP)
        async with worker(platform, "heir"):
            await eventually(has(pool, ref, ("heir", "began")))
            await let_end(pool, ref, "sleeper")
            sleeper.send_signal(signal.SIGCONT)
            await eventually(has(pool, ref, ("sleeper", "ended")))
            await asyncio.sleep(1)  # longer than PgQueuer's buffer of outcomes
            assert await queued(pool, ref) == ["picked"]
            await let_end(pool, ref, "heir")
            await eventually(has(pool, ref, ("heir", "ended")))
            await eventually(lambda: _gone(pool, ref))


async def test_a_worker_that_stops_hands_its_job_over_at_once(platform: Platform, pool: Pool) -> None:
    async with worker(platform, "leaver") as leaver:
        ref = await start_job(pool)
        await let_end(pool, ref, "successor")
        await eventually(has(pool, ref, ("leaver", "began")))
        async with worker(platform, "successor"):
            leaver.send_signal(signal.SIGTERM)
            stopped = time.monotonic()
            await eventually(has(pool, ref, ("successor", "ended")))
            assert await leaver.wait() == 0
    print(f"HANDOVER seconds={time.monotonic() - stopped:.1f}")
    assert ("leaver", "ended") not in await log_of(pool, ref)


@asynccontextmanager
async def working(pool: Pool, handler: JobHandler) -> AsyncIterator[Jobs]:
    # A lease that no pause of this machine outlasts: what runs twice here was asked to.
    jobs = Jobs(SERVICE, pool, lease=timedelta(seconds=30))
    jobs.handle(KIND, handler)
    jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()


async def test_a_job_is_queued_once_and_only_by_a_commit(pool: Pool) -> None:
    ran: list[UUID] = []

    async def handler(ref: JobRef) -> None:
        ran.append(ref.id)

    ref, undone = JobRef(uuid4(), uuid4()), JobRef(uuid4(), uuid4())
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await enqueue(connection, SERVICE, KIND, undone)
        await transaction.rollback()
        for _ in range(2):
            await enqueue(connection, SERVICE, KIND, ref)
    async with working(pool, handler):
        await eventually(lambda: _gone(pool, ref))
        await asyncio.sleep(0.5)
    assert ran == [ref.id]


async def test_a_job_that_asks_for_it_runs_again(pool: Pool) -> None:
    runs: list[float] = []

    async def handler(_ref: JobRef) -> None:
        runs.append(time.monotonic())
        if len(runs) < 3:
            raise RetryLater(timedelta(seconds=0.3))

    ref = await start_job(pool)
    async with working(pool, handler):
        await eventually(lambda: _gone(pool, ref))
    assert len(runs) == 3
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(runs))


async def test_a_failure_is_repeated_and_leaves_no_values_behind(
    pool: Pool, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[JobRef] = []

    async def handler(ref: JobRef) -> None:
        runs.append(ref)
        if len(runs) < 2:
            raise ValueError("literal 'top-secret'")

    ref = await start_job(pool)
    async with working(pool, handler):
        await eventually(lambda: _gone(pool, ref))
    kept = await pool.fetchval("SELECT string_agg(traceback::text, '') FROM pgqueuer_log")
    out, err = capfd.readouterr()
    assert runs == [ref, ref]
    assert "JobFailed" in (kept or "") or "ValueError" in (kept or "")
    assert "top-secret" not in f"{kept}{out}{err}{caplog.text}"


async def test_old_notes_are_forgotten(pool: Pool) -> None:
    await start_job(pool)
    jobs, now = Jobs(SERVICE, pool), datetime.now(UTC)
    await jobs.forget(now - timedelta(days=1))
    assert await pool.fetchval("SELECT count(*) FROM pgqueuer_log")
    await jobs.forget(now + timedelta(days=1))
    assert not await pool.fetchval("SELECT count(*) FROM pgqueuer_log")
    await pool.execute("DELETE FROM pgqueuer")


async def test_the_worker_goes_on_after_its_connections_were_cut(platform: Platform, pool: Pool) -> None:
    async def handler(_ref: JobRef) -> None:
        return None

    own = await asyncpg.create_pool(
        platform.worker_url(SERVICE), min_size=1, max_size=4, server_settings={"application_name": "to be cut"}
    )
    async with working(own, handler):
        first = await start_job(pool)
        await eventually(lambda: _gone(pool, first))
        admin = await asyncpg.connect(with_database(platform.admin_url, "postgres"))
        cut = await admin.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'to be cut'"
        )
        await admin.close()
        second = await start_job(pool)
        await eventually(lambda: _gone(pool, second))
    await own.close()
    assert cut >= 1
