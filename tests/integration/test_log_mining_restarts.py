"""Mining that is killed at any step, or whose server fails under it: nothing is lost, no number is used twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from prometheus_client import CollectorRegistry

from deploy.local.infrastructure import Infrastructure, remove_state
from libs.common.broker import PublishFailed, build_broker
from libs.common.clock import shifted_clock
from libs.common.collecting.job import CollectingJob
from libs.common.collecting.sending import Traced
from libs.common.db import Database
from libs.common.events import BiQueryStored, ConnectorChanged
from libs.common.jobs import MAX_ATTEMPTS, JobRef, RetryLater
from services.log_miner.app import LogMiner
from services.log_miner.domain import MiningJob
from services.log_miner.mining import Mining
from services.log_miner.sending import Sender
from services.log_miner.store import PLACES
from services.log_miner.warehouses import postgres_files
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

STATEMENTS = 120
SECRET = "top-secret-4711"


@pytest.fixture(scope="module")
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


@dataclass(frozen=True, slots=True)
class Scene:
    """A connector of a tenant of its own, whose log was read to its end before, and a job that nobody works on."""

    miner: LogMiner
    tenant: UUID
    connector: UUID
    job: UUID

    @property
    def ref(self) -> JobRef:
        return JobRef(self.tenant, self.job)

    async def state(self) -> MiningJob:
        return await self.miner.miner.jobs.find(caller(self.tenant, self.connector), self.job)

    def with_sender(self, hook: "Hook") -> Mining:
        """Runs of the job whose sending passes through `hook`."""
        sender = HookedSender(self.miner.database, self.miner.mining.sender.publisher, hook)
        return replace(self.miner.mining, sender=sender)

    async def another_job(self) -> "Scene":
        """A new job; the one before must be over."""
        job = await self.miner.miner.mine_connector(caller(self.tenant, self.connector), self.connector, uuid4())
        return replace(self, job=job.id)


Send = Callable[[Sequence[Traced]], Awaitable[None]]
Hook = Callable[[Sequence[Traced], Send], Awaitable[None]]


@dataclass(frozen=True)
class HookedSender(Sender):
    """The real sender with something that happens around each batch."""

    hook: Hook

    async def send(self, job: CollectingJob, records: Sequence[Traced]) -> None:
        real = Sender(self.database, self.publisher)
        await self.hook(records, lambda part: real.send(job, part))


class Crash(BaseException):
    """The process is gone: nothing after this is done, and no `except Exception` sees it."""


async def work(warehouse: Warehouse, user: str, count: int = STATEMENTS) -> None:
    connection = await warehouse.connect(user)
    for number in range(count):
        await connection.execute(f"SELECT {number}, '{SECRET}'")
    await connection.close()
    await asyncio.sleep(0.3)


async def scene(platform: Platform, miner: LogMiner, warehouse: Warehouse) -> Scene:
    """What the log holds already is mined, so that the next job reads only what a test adds."""
    tenant = uuid4()
    connector = await register(platform, tenant, warehouse.settings())
    place = await Scene(miner, tenant, connector, uuid4()).another_job()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_files, "_CHUNK_BYTES", 1024 * 1024)
        await miner.mining.run(place.ref)
    async with miner.database.work() as connection:
        await miner.miner.close_job(connection, stored(place, await place.state(), "completed", 0))
    return place


def stored(place: Scene, job: MiningJob, state: Literal["completed", "partial"], rejected: int) -> BiQueryStored:
    """The outcome that an aggregator would send."""
    return BiQueryStored(
        tenant=place.tenant,
        connector_id=place.connector,
        job_id=job.id,
        sync_seq=job.sync_seq,
        state=state,
        received=job.records,
        upserted=job.records - rejected,
        rejected=rejected,
        retired=0,
    )


@pytest.fixture
async def loaded(platform: Platform, miner: LogMiner, warehouse: Warehouse) -> Scene:
    """With statements in the log."""
    place = await scene(platform, miner, warehouse)
    await work(warehouse, await warehouse.login("ada"))
    return await place.another_job()


async def assert_complete(place: Scene, ledger: Ledger, expected: int = STATEMENTS) -> tuple[int, int]:
    """Every number came, each for one execution; how often records came in all, and numbers with two meanings."""
    await eventually(lambda: _closed_by_tick(place, ledger))
    numbers = ledger.numbers(place.job)
    meanings = {(r.job_seq, r.id, r.model_dump_json()) for r in ledger.records if r.job_id == place.job}
    assert sorted(numbers) == list(range(1, expected + 1))
    assert len({record.resource_id for record in ledger.of(place.job).values()}) == expected
    return numbers.total(), len(meanings) - len(numbers)


async def _closed(place: Scene, ledger: Ledger) -> bool:
    return any(closing.job_id == place.job for closing in ledger.closings)


async def run_until_over(place: Scene, mining: Mining) -> int:
    """As the queue would: again after each crash and each wish for a retry; how many runs it took."""
    for run in range(1, 200):
        try:
            await mining.run(place.ref)
        except (Crash, RetryLater):
            continue
        state = await place.state()
        if state.phase != "reading":
            return run
    raise AssertionError("the job does not end")


def crashing(where: str) -> Hook:
    """Each batch is hit once."""
    hit: set[int] = set()

    async def hook(records: Sequence[Traced], send: Send) -> None:
        first = records[0][0].job_seq or 0
        if first in hit:
            await send(records)
            return
        hit.add(first)
        if where == "half way":
            await send(records[: len(records) // 2])
        if where == "after":
            await send(records)
        raise Crash

    return hook


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
    kills, patience = 0, 0.001
    chance = random.Random(4711)  # noqa: S311 (a test that can be repeated)
    while (before := await loaded.state()).phase in ("waiting", "reading"):
        run = asyncio.create_task(loaded.miner.mining.run(loaded.ref))
        done, _ = await asyncio.wait({run}, timeout=patience * chance.uniform(0.5, 1))
        if not done:
            kills += 1
            run.cancel()
        await asyncio.wait({run})
        # Runs without progress are counted and given up: a slow machine gets more time.
        moved = (await loaded.state()).next_job_seq > before.next_job_seq
        patience = 0.05 if moved else patience * 3
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


async def test_a_job_without_progress_is_given_up_and_its_ledger_closed(loaded: Scene, ledger: Ledger) -> None:
    async def refuse(_records: Sequence[Traced], _send: Send) -> None:
        raise PublishFailed("The broker did not acknowledge in time.")

    runs = 0
    while not (await loaded.state()).is_final:
        runs += 1
        assert runs < 20
        try:
            await loaded.with_sender(refuse).run(loaded.ref)
        except RetryLater:
            continue
    failed = await loaded.state()
    assert (failed.state, failed.error_code) == ("failed", "given_up")
    assert runs == MAX_ATTEMPTS + 2  # the first run made progress
    await eventually(lambda: _closed_by_tick(loaded, ledger))
    (closing,) = {(c.count, c.complete) for c in ledger.closings if c.job_id == loaded.job}
    assert closing == (len(ledger.numbers(loaded.job)), False)
    print(f"GIVEN_UP runs={runs} sent_with_closing={closing[0]}")
    again = await loaded.another_job()
    await again.miner.mining.run(again.ref)
    await assert_complete(again, ledger, STATEMENTS - closing[0])


async def _closed_by_tick(place: Scene, ledger: Ledger) -> bool:
    await place.miner.miner.jobs.send_closings()
    return await _closed(place, ledger)


async def test_a_cancelled_job_stops_at_the_next_batch(loaded: Scene, ledger: Ledger) -> None:
    async def cancel(records: Sequence[Traced], send: Send) -> None:
        await send(records)
        await loaded.miner.miner.jobs.cancel(caller(loaded.tenant, loaded.connector), loaded.job)

    await loaded.with_sender(cancel).run(loaded.ref)
    state = await loaded.state()
    await eventually(lambda: _closed(loaded, ledger))
    closing = next(closing for closing in ledger.closings if closing.job_id == loaded.job)
    assert (state.state, closing.complete, closing.count) == ("cancelled", False, state.rows_sent)
    assert 0 < state.rows_sent < STATEMENTS
    rest = await loaded.another_job()
    await rest.miner.mining.run(rest.ref)
    await assert_complete(rest, ledger, STATEMENTS - state.rows_sent)


async def test_the_closing_record_is_repeated_until_the_outcome_comes(loaded: Scene, ledger: Ledger) -> None:
    service, database = loaded.miner.miner, loaded.miner.database
    ledger.answering = False
    try:
        await loaded.miner.mining.run(loaded.ref)

        async def three() -> bool:
            await service.jobs.send_closings()
            return sum(closing.job_id == loaded.job for closing in ledger.closings) >= 3

        await eventually(three)
    finally:
        ledger.answering = True
    assert (await loaded.state()).state == "running"
    outcome = stored(loaded, await loaded.state(), "partial", 2)
    strange = outcome.model_copy(update={"job_id": uuid4()})
    async with database.work() as connection:
        for event in (strange, outcome, outcome):
            await service.close_job(connection, event)
        wishes = await connection.fetch(
            "SELECT value FROM outbox WHERE key = $1", f"{loaded.tenant}:{loaded.connector}"
        )
    state = await loaded.state()
    assert (state.state, state.rows_upserted, state.rows_rejected) == ("partial", STATEMENTS - 2, 2)
    assert len(wishes) == 2  # one for this job, one for the reading before it
    before = len(ledger.closings)
    await asyncio.sleep(0.3)
    await service.jobs.send_closings()
    await asyncio.sleep(0.3)
    assert not [c for c in ledger.closings[before:] if c.job_id == loaded.job]


async def test_a_deleted_connector_is_forgotten(loaded: Scene) -> None:
    service, database = loaded.miner.miner, loaded.miner.database
    change = ConnectorChanged(tenant=loaded.tenant, id=loaded.connector, version=2, deleted=True)
    with pytest.raises(Crash):
        await loaded.with_sender(crashing("before")).run(loaded.ref)
    async with database.work() as connection:
        assert await PLACES.cursor(connection, loaded.tenant, loaded.connector)
        await service.forget_connector(connection, change)
        assert not await PLACES.cursor(connection, loaded.tenant, loaded.connector)
    await loaded.miner.mining.run(loaded.ref)
    assert (await loaded.state()).state == "cancelled"


async def test_the_trace_of_the_request_goes_through_to_the_records(
    platform: Platform, miner: LogMiner, warehouse: Warehouse, ledger: Ledger
) -> None:
    before = await scene(platform, miner, warehouse)
    await work(warehouse, await warehouse.login("ada"), 5)
    here = SpanContext(random.getrandbits(128), random.getrandbits(64), is_remote=True, trace_flags=TraceFlags(1))
    with trace.use_span(NonRecordingSpan(here)):
        place = await before.another_job()
    with pytest.raises(Crash):
        await place.with_sender(crashing("before")).run(place.ref)
    await run_until_over(place, place.miner.mining)
    await assert_complete(place, ledger, 5)
    traces = {
        headers["traceparent"].split("-")[1] for headers in ledger.headers if headers["ce_jobid"] == str(place.job)
    }
    assert traces == {format(here.trace_id, "032x")}


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
    platform: Platform, miner: LogMiner, warehouse: Warehouse, ledger: Ledger
) -> None:
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
    await asyncio.sleep(0.3)
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
    await asyncio.sleep(0.3)
    place = await before.another_job()
    await place.miner.mining.run(place.ref)
    await assert_complete(place, ledger, counted)
    assert any("passed over" in warning for warning in (await place.state()).warnings) == (counted == 2)


@asynccontextmanager
async def current_log(warehouse: Warehouse) -> AsyncIterator[Path]:
    """The file that the server writes to; a new one is begun first, so that it is this test's own."""
    async with administrator(warehouse.url) as admin:
        await asyncio.sleep(1.1)  # file names are exact to the second
        await admin.execute("SELECT pg_rotate_logfile()")
        await asyncio.sleep(0.3)
        path = await admin.fetchval("SELECT current_setting('data_directory') || '/' || pg_current_logfile('csvlog')")
        yield Path(path)


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
