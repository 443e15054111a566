"""The outbox and its relay on the real Postgres and broker. Each test prints its figures."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from libs.common import outbox
from libs.common.consume import Record
from libs.common.db import Connection, Pool
from libs.common.errors import TooLarge
from libs.common.events import TenantChanged, UsageRecompute
from libs.common.failures import RetryPolicy
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.outbox import Relay, enqueue
from tests.support.messaging import Bench, fresh_bench, numbers, until
from tests.support.servers import Servers

AT = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def bench(servers: Servers) -> Bench:
    return await fresh_bench(servers.kafka)


@pytest.fixture
async def pool(servers: Servers) -> AsyncIterator[Pool]:
    """Connections whose schema is one of the test's own, with the outbox in it."""
    schema = f"outbox_{uuid4().hex[:8]}"
    async with asyncpg.create_pool(
        servers.postgres, min_size=0, max_size=10, server_settings={"search_path": schema}
    ) as made:
        await made.execute(f"CREATE SCHEMA {schema}")
        await made.execute(outbox.DDL + outbox.WAKE_DDL)
        yield made
        await made.execute(f"DROP SCHEMA {schema} CASCADE")


@asynccontextmanager
async def relay_of(
    bench: Bench, pool: Pool, registry: CollectorRegistry | None = None, timeout: float = 60
) -> AsyncIterator[Relay]:
    """A running relay, as one process has it."""
    metrics = MessagingMetrics(registry or CollectorRegistry())
    async with bench.publisher(timeout=timeout) as publisher:
        quick = RetryPolicy(first=0.05, cap=0.2)
        relay = Relay(
            pool, publisher, bench.settings, metrics, clock=lambda: AT + timedelta(seconds=9), poll=0.3, retry=quick
        )
        relay.start()
        try:
            yield relay
        finally:
            await relay.stop()


async def rows(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM outbox")
    return count


async def settled(pool: Pool, left: int = 0) -> None:
    async with asyncio.timeout(120):
        while await rows(pool) != left:  # noqa: ASYNC110 (the database tells nobody)
            await asyncio.sleep(0.05)


async def test_an_event_leaves_with_the_commit_and_not_without_it(bench: Bench, pool: Pool) -> None:
    async with relay_of(bench, pool):
        async with pool.acquire() as connection, connection.transaction():
            await enqueue(connection, bench.topic, bench.event(1), key="k", at=AT, extensions={"jobid": "j"})
        async with pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await enqueue(connection, bench.topic, bench.event(2), key="k", at=AT)
            await transaction.rollback()
        await settled(pool)
    got: list[Record[UsageRecompute]] = []

    async def handler(batch: Sequence[Record[UsageRecompute]]) -> None:
        got.extend(batch)

    async with bench.consumers(handler):
        await until(lambda: got)
    [record] = got
    assert numbers(got) == [1]
    assert (record.key, record.envelope.time, record.envelope.tenant) == (b"k", AT, bench.tenant)
    assert (record.envelope.source, record.envelope.type) == ("/tidemark/test", "tidemark.usage_recompute")
    assert record.envelope.extensions == {"jobid": "j"}


async def test_rows_of_a_trigger_need_no_headers(bench: Bench, pool: Pool) -> None:
    value = bench.event(5).model_dump_json()
    insert = "INSERT INTO outbox (topic, key, headers, value, created_at) VALUES ($1, 'k', $2, $3, $4)"
    async with relay_of(bench, pool):
        await pool.execute(insert, bench.topic.name, f'{{"traceparent": "{TRACE}"}}', value, AT)
        await settled(pool)
    [message] = await bench.read(bench.name)
    headers = dict(message.headers)
    assert (headers["ce_source"], headers["ce_specversion"]) == (b"/tidemark/test", b"1.0")
    assert (headers["traceparent"], message.value) == (TRACE.encode(), value.encode())


async def test_a_notification_wakes_the_relay(bench: Bench, pool: Pool) -> None:
    """The poll alone would take its whole interval."""
    async with relay_of(bench, pool) as relay:
        relay._poll = 3600
        await until(lambda: relay.leads)
        await asyncio.sleep(0.5)
        begin = asyncio.get_running_loop().time()
        await enqueue_one(pool, bench, 1)
        await settled(pool)
        seconds = asyncio.get_running_loop().time() - begin
    print(f"OUTBOX latency_ms={seconds * 1000:.0f}")


async def enqueue_one(pool: Pool, bench: Bench, number: int, key: str = "k") -> None:
    async with pool.acquire() as connection, connection.transaction():
        await enqueue(connection, bench.topic, bench.event(number), key=key, at=AT)


async def test_a_trickle_leaves_some_rows_at_a_time(bench: Bench, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times a second at most, however slow the machine; it ends."""
    now, sent = asyncio.get_running_loop().time, list[int]()

    async def counted(relay: Relay, connection: Connection) -> int:
        found = await relay_once(relay, connection)
        sent.extend([found] if found else [])
        return found

    relay_once = Relay.relay_once
    monkeypatch.setattr(Relay, "relay_once", counted)
    async with relay_of(bench, pool) as relay:
        relay._poll = 3600
        await until(lambda: relay.leads)
        begin = now()
        for number in range(60):
            await enqueue_one(pool, bench, number)
            await asyncio.sleep(0.01)
        await settled(pool)
        seconds = now() - begin
    print(f"OUTBOX trickle_rows={sum(sent)} batches={len(sent)} seconds={seconds:.2f}")
    assert sum(sent) == 60
    assert len(sent) <= seconds / 0.1 + 2


async def test_a_relay_that_is_awake_is_not_notified(bench: Bench, pool: Pool) -> None:
    """Some rows wake it, however many follow them; what comes after a rest wakes it again."""
    told = list[str]()
    async with relay_of(bench, pool) as relay, pool.acquire() as listener:
        relay._poll = 3600
        await until(lambda: relay.leads)
        schema = await listener.fetchval("SELECT current_schema()")
        await listener.add_listener(f"outbox_{schema}", lambda *_: told.append("woken"))
        for burst in (1, 2):
            await enqueue_one(pool, bench, 0)
            await until(lambda: relay._awake)
            for number in range(50):
                await enqueue_one(pool, bench, number)
            await settled(pool)
            await until(lambda: not relay._awake)
            print(f"OUTBOX burst={burst} rows=51 notifications={len(told)}")
            assert burst <= len(told) <= 5 * burst, "a machine that stalls lets it fall asleep in between"
        await listener.reset()


async def test_what_is_committed_after_the_relay_fell_asleep_is_sent_by_the_next_poll(bench: Bench, pool: Pool) -> None:
    """Nobody was notified of it: the relay was awake when it was written."""
    async with relay_of(bench, pool) as relay, pool.acquire() as slow:
        await enqueue_one(pool, bench, 1, "a")
        await until(lambda: relay._awake)
        transaction = slow.transaction()
        await transaction.start()
        await enqueue(slow, bench.topic, bench.event(2), key="b", at=AT)
        await until(lambda: not relay._awake)
        await asyncio.sleep(0.5)
        await transaction.commit()
        await settled(pool)
    assert len(await bench.read(bench.name)) == 2


async def test_one_leads_and_the_next_takes_over(bench: Bench, pool: Pool) -> None:
    """Writers go on while leaders lose their connections: nothing is lost, the order of each key holds."""
    total, keys = 600, 6

    async def write(key: int) -> None:
        for number in range(key, total, keys):
            await enqueue_one(pool, bench, number, str(key))

    async with relay_of(bench, pool) as one, relay_of(bench, pool) as two:
        writers = [asyncio.create_task(write(key)) for key in range(keys)]
        leaders = 0
        for _ in range(3):
            # One whose connection was cut notices it when it writes the next time.
            await until(lambda: one.leads != two.leads)
            leaders += 1
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND objid = (hashtextextended('tidemark-outbox-' || current_schema(), 0) & 4294967295)::oid"
            )
            await asyncio.sleep(0.3)
        await asyncio.gather(*writers)
        await settled(pool)
    sent: dict[bytes, list[int]] = defaultdict(list)
    for message in await bench.read(bench.name):
        number = UsageRecompute.model_validate_json(message.value).space_id
        assert number is not None
        if number.int not in sent[message.key]:
            sent[message.key].append(number.int)
    lost = total - sum(map(len, sent.values()))
    print(f"OUTBOX leaders_killed={leaders} sent={total - lost} lost={lost} left={await rows(pool)}")
    assert lost == 0
    assert all(found == sorted(found) for found in sent.values())


async def test_a_lower_id_that_commits_later_is_sent_too(bench: Bench, pool: Pool) -> None:
    async with relay_of(bench, pool), pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await enqueue(slow, bench.topic, bench.event(1), key="a", at=AT)
        await enqueue_one(pool, bench, 2, "b")
        await settled(pool)
        await transaction.commit()
        await settled(pool)
    assert len(await bench.read(bench.name)) == 2


async def test_what_is_too_large_is_refused_or_set_aside(bench: Bench, pool: Pool) -> None:
    huge = TenantChanged(tenant=bench.tenant, id=bench.tenant, version=1, name="x" * 1_000_000)
    async with pool.acquire() as connection:
        with pytest.raises(TooLarge):
            await enqueue(connection, bench.topic, huge, key="k", at=AT)
    insert = "INSERT INTO outbox (topic, key, headers, value, created_at) VALUES ($1, 'k', '{}', $2, $3)"
    await pool.execute(insert, bench.topic.name, huge.model_dump_json(), AT)
    await enqueue_one(pool, bench, 1)
    registry = CollectorRegistry()
    async with relay_of(bench, pool, registry):
        await settled(pool, left=1)
        await until(lambda: registry.get_sample_value("tidemark_outbox_stuck_rows") == 1)
    assert "TooLarge" in await pool.fetchval("SELECT error FROM outbox")
    assert len(await bench.read(bench.name)) == 1


async def test_rows_wait_while_they_cannot_be_sent(bench: Bench, pool: Pool) -> None:
    """The topic is missing: the rows stay, their number and age can be seen."""
    missing = Bench(bench.settings.model_copy(update={"topic_prefix": f"none{uuid4().hex[:6]}."}))
    await enqueue_one(pool, bench, 1)
    async with relay_of(missing, pool, timeout=0.5):
        await asyncio.sleep(1.5)
        assert await rows(pool) == 1
    registry = CollectorRegistry()
    async with relay_of(bench, pool, registry):
        await settled(pool)
        await until(lambda: registry.get_sample_value("tidemark_outbox_rows") == 0)
