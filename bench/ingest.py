"""Ingest: from Kafka to committed rows of the aggregator, against a bare COPY of the same rows.

The aggregator as it runs (its consumer, ledger, patterns, counters, marks, erasures, relay and refreshes, spans
sampled at 1 %) takes a log that lies in the broker; the clock runs from the first fetch until its jobs are closed.
Before, it took a smaller log, and the tables were analysed, as the database does by itself after a minute. A million
rows, as in the chain: of fewer much of the time goes into patterns that are new, of which a warehouse has few a day.
The other arm copies the rows that this stored, as tuples and in one COPY, into a table with the same columns, keys
and indexes in the same database, which holds the rows of the smaller log.
Both say what processor time they took of this process and of the database's sessions: what else runs on the machine
disturbs that less than wall time. (The broker's and the WAL writer's is nobody's.)
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg
import psutil
import uvloop
from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import DefaultPartitioner
from prometheus_client import CollectorRegistry

from bench.bi_records import MinedLog, table_name
from bench.harness import Result
from libs.common.auth import Principal
from libs.common.broker import Publisher, build_broker
from libs.common.clock import shifted_clock
from libs.common.db import Database
from libs.common.events import ConnectorRef
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.process import calm_collector
from libs.common.telemetry import setup_tracing
from libs.common.topics import BI_QUERY_SCRAPED
from services.aggregator.app import OBJECTS_IN_HAND, Aggregator
from services.aggregator.service import ProductChange
from services.aggregator.settings import Settings
from services.aggregator.store.catalogue import Claim
from tests.support.platform import Platform, fresh_platform, template_database
from tests.support.servers import Servers, running_servers

ROWS = int(os.environ.get("BENCH_INGEST_ROWS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_INGEST_ROUNDS", "3"))
WARM_UP = 20_000
_CONNECTORS = 4
_PARTITIONS = 2
_PRODUCTS = 20
_TARGET = 0.4
Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of wall time, and processor seconds of this process and of the database's sessions."""

    wall: float
    python: float
    postgres: float

    @classmethod
    async def until_now(cls, admin: Admin) -> "Spent":
        """Since some moment."""
        pids = await admin.fetch("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        return cls(time.perf_counter(), time.process_time(), sum(_cpu_of(row["pid"]) for row in pids))

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(self.wall - before.wall, self.python - before.python, self.postgres - before.postgres)

    def figures(self, arm: str) -> str:
        """Rows per second, and processor microseconds a row."""
        python, postgres = (seconds / ROWS * 1e6 for seconds in (self.python, self.postgres))
        return f"{arm}={ROWS / self.wall:.0f} {arm}_python_us={python:.1f} {arm}_postgres_us={postgres:.1f}"


def _cpu_of(pid: int) -> float:
    """Zero where the server does not run on this machine."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.name().startswith("postgres"):
            return process.cpu_times().user + process.cpu_times().system
    return 0.0


@asynccontextmanager
async def _aggregator(settings: Settings) -> AsyncIterator[Aggregator]:
    database = await Database.open(settings, "aggregator")
    broker = build_broker(settings, "aggregator")
    aggregator = Aggregator(settings, database, broker, CollectorRegistry(), shifted_clock())
    try:
        await aggregator.start()
        yield aggregator
    finally:
        await aggregator.stop()
        await database.close()


async def _describe(aggregator: Aggregator, tenant: UUID) -> None:
    await aggregator.catalogue.create_space(Principal(tenant, "bench"), uuid4(), "Bench", "bench", None)
    for number in range(_PRODUCTS):
        change = ProductChange(f"Product {number}", None, None, (Claim(table_name(number), None),))
        await aggregator.catalogue.create_product(
            Principal(tenant, "bench"), "bench", uuid4(), change, f"product-{number}"
        )


async def _produce(settings: Settings, logs: list[MinedLog]) -> None:
    broker = build_broker(settings, "bench")
    await broker.connect()
    publisher = Publisher(broker, settings, service="bench", metrics=MessagingMetrics(CollectorRegistry()))
    try:
        for log in logs:
            key = f"{log.tenant}:{log.connector.id}"
            numbers = {"jobid": str(log.job), "syncseq": "1"}
            await publisher.send_many(
                BI_QUERY_SCRAPED, ((key, each, numbers | {"jobseq": str(each.job_seq)}) for each in log.records())
            )
            await publisher.send(BI_QUERY_SCRAPED, log.closing(), key=key, extensions=numbers)
    finally:
        await broker.stop()


async def _joined(aggregator: Aggregator) -> None:
    """Until the group has settled: joining is not ingest."""
    while sum(len(consumer.assignment()) for consumer in _consumers(aggregator)) < _PARTITIONS:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def _consumers(aggregator: Aggregator) -> list[AIOKafkaConsumer]:
    """Those of the topic that is measured."""
    subscriptions = [each for each, _ in aggregator._consumers._subscriptions if each.topic is BI_QUERY_SCRAPED]
    return [consumer for each in subscriptions if (consumer := each.consumer())]


async def _closed(admin: Admin, jobs: list[UUID]) -> None:
    query = "SELECT count(*) FROM aggregator.sync_ledger WHERE state = 'completed' AND job_id = ANY($1)"
    while await admin.fetchval(query, jobs) < len(jobs):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def _connectors(tenant: UUID, partitions: int) -> list[ConnectorRef]:
    """As many for each partition: their records go where the producer puts their key."""
    found: list[ConnectorRef] = []
    while len(found) < _CONNECTORS:
        connector = ConnectorRef(id=uuid4(), type="postgres", name="warehouse")
        place = DefaultPartitioner()(f"{tenant}:{connector.id}".encode(), range(partitions), range(partitions))
        if place == len(found) % partitions:
            found.append(connector)
    return found


def _logs(tenant: UUID, rows: int, connectors: list[ConnectorRef], first_seed: int) -> list[MinedLog]:
    now = datetime.now(UTC)
    return [
        MinedLog(tenant, now, rows // len(connectors), first_seed + number, connector)
        for number, connector in enumerate(connectors)
    ]


async def _take(settings: Settings, aggregator: Aggregator, admin: Admin, logs: list[MinedLog]) -> Spent:
    """What it takes until these logs are stored."""
    for consumer in _consumers(aggregator):
        consumer.pause(*consumer.assignment())
    await _produce(settings, logs)
    began = await Spent.until_now(admin)
    for consumer in _consumers(aggregator):
        consumer.resume(*consumer.assignment())
    await _closed(admin, [log.job for log in logs])
    return await Spent.until_now(admin) - began


async def _ingest(platform: Platform) -> Spent:
    settings = Settings.model_validate(platform.settings_values("aggregator", trace_ratio=0.01))
    setup_tracing("aggregator", settings)
    tenant = uuid4()
    admin = await asyncpg.connect(platform.admin_url)
    try:
        async with _aggregator(settings) as aggregator:
            await _describe(aggregator, tenant)
            await _joined(aggregator)
            connectors = _connectors(tenant, _PARTITIONS)
            await _take(settings, aggregator, admin, _logs(tenant, WARM_UP, connectors, 1))
            await admin.execute("ANALYZE")
            return await _take(settings, aggregator, admin, _logs(tenant, ROWS, connectors, 1 + _CONNECTORS))
    finally:
        await admin.close()


async def _copy(platform: Platform) -> Spent:
    """A COPY of the stored rows into a twin of their table."""
    admin = await asyncpg.connect(platform.admin_url)
    try:
        await admin.execute("SET search_path = aggregator")
        await admin.execute("CREATE TABLE twin (LIKE query_log INCLUDING ALL)")
        stored = [tuple(row) for row in await admin.fetch("SELECT * FROM query_log ORDER BY said_at, job_seq")]
        if len(stored) != WARM_UP + ROWS:
            raise RuntimeError(f"{len(stored)} rows were stored, not {WARM_UP + ROWS}")
        await admin.copy_records_to_table("twin", records=stored[:WARM_UP])
        rows = stored[WARM_UP:]
        began = await Spent.until_now(admin)
        await admin.copy_records_to_table("twin", records=rows)
        return await Spent.until_now(admin) - began
    finally:
        await admin.close()


async def _round(servers: Servers, template: str) -> tuple[Spent, Spent]:
    async with fresh_platform(servers, template) as platform:
        ingest, copy = await _ingest(platform), await _copy(platform)
    print(f"INGEST rows={ROWS} {ingest.figures('ingest')} {copy.figures('copy')}")
    return ingest, copy


async def _rounds() -> list[tuple[Spent, Spent]]:
    async with running_servers() as servers, template_database(servers) as template:
        return [await _round(servers, template) for _ in range(ROUNDS)]


def measure() -> list[Result]:
    """Each round on fresh tables and topics, its two arms one after the other."""
    calm_collector(OBJECTS_IN_HAND)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rounds = runner.run(_rounds())
    rate = median(ROWS / ingest.wall for ingest, _ in rounds)
    ratio = median(copy.wall / ingest.wall for ingest, copy in rounds)
    return [Result("ingest", rate, "rows/s", ratio, f">={_TARGET}", ratio >= _TARGET)]
