"""Ingest: from Kafka to committed rows of the aggregator, against a bare COPY of the same rows.

The aggregator as it runs (its consumer, ledger, patterns, counters, marks, erasures, relay and refreshes, spans
sampled at 1 %) takes a log that lies in the broker; the clock runs from the first fetch until its jobs are closed.
The other arm copies the rows that this stored, as tuples and in one COPY, into an empty table with the same columns,
keys and indexes in the same database.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from uuid import UUID, uuid4

import asyncpg
import uvloop
from prometheus_client import CollectorRegistry

from bench.bi_records import MinedLog, table_name
from bench.harness import Result
from libs.common.broker import Publisher, build_broker
from libs.common.clock import shifted_clock
from libs.common.db import Database
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.telemetry import setup_tracing
from libs.common.topics import BI_QUERY_SCRAPED
from services.aggregator.app import Aggregator
from services.aggregator.service import ProductChange
from services.aggregator.settings import Settings
from services.aggregator.store.catalogue import Claim
from tests.support.platform import Platform, fresh_platform, template_database
from tests.support.servers import Servers, running_servers

ROWS = int(os.environ.get("BENCH_INGEST_ROWS", "200000"))
ROUNDS = int(os.environ.get("BENCH_INGEST_ROUNDS", "3"))
_CONNECTORS = 2
_PRODUCTS = 20
_TARGET = 0.4


@dataclass(frozen=True, slots=True)
class Round:
    """Rows per second of wall time, and the processor seconds of this process that the ingest took."""

    ingest: float
    copy: float
    cpu: float


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
    await aggregator.catalogue.create_space(tenant, uuid4(), "Bench", "bench", None)
    for number in range(_PRODUCTS):
        change = ProductChange(f"Product {number}", None, None, (Claim(table_name(number), None),))
        await aggregator.catalogue.create_product(tenant, "bench", uuid4(), change, f"product-{number}")


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
    """Until the group has settled, with the topic still empty: joining is not ingest."""
    subscriptions = [subscription for subscription, _ in aggregator._consumers._subscriptions]
    while not all(consumer and consumer.assignment() for consumer in (s.consumer() for s in subscriptions)):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def _closed(admin: "asyncpg.Connection[asyncpg.Record]", jobs: int) -> None:
    while await admin.fetchval("SELECT count(*) FROM aggregator.sync_ledger WHERE state = 'completed'") < jobs:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _ingest(platform: Platform) -> tuple[float, float]:
    """Seconds of wall time and of this process's processors."""
    settings = Settings.model_validate(platform.settings_values("aggregator", trace_ratio=0.01))
    setup_tracing("aggregator", settings)
    tenant, now = uuid4(), datetime.now(UTC)
    logs = [MinedLog(tenant, now, ROWS // _CONNECTORS, seed) for seed in range(1, _CONNECTORS + 1)]
    admin = await asyncpg.connect(platform.admin_url)
    try:
        async with _aggregator(settings) as aggregator:
            await _describe(aggregator, tenant)
            await _joined(aggregator)
            scraped = next(s for s, _ in aggregator._consumers._subscriptions if s.topic is BI_QUERY_SCRAPED)
            consumer = scraped.consumer()
            assert consumer is not None
            consumer.pause(*consumer.assignment())
            await _produce(settings, logs)
            cpu, began = time.process_time(), time.perf_counter()
            consumer.resume(*consumer.assignment())
            await _closed(admin, len(logs))
            return time.perf_counter() - began, time.process_time() - cpu
    finally:
        await admin.close()


async def _copy(platform: Platform) -> float:
    """Seconds of a COPY of the stored rows into a twin of their table."""
    admin = await asyncpg.connect(platform.admin_url)
    try:
        await admin.execute("SET search_path = aggregator")
        await admin.execute("CREATE TABLE twin (LIKE query_log INCLUDING ALL)")
        rows = [tuple(row) for row in await admin.fetch("SELECT * FROM query_log ORDER BY connector_id, job_seq")]
        if len(rows) != ROWS:
            raise RuntimeError(f"{len(rows)} rows were stored, not {ROWS}")
        began = time.perf_counter()
        await admin.copy_records_to_table("twin", records=rows)
        return time.perf_counter() - began
    finally:
        await admin.close()


async def _round(servers: Servers, template: str) -> Round:
    async with fresh_platform(servers, template) as platform:
        ingest, cpu = await _ingest(platform)
        copy = await _copy(platform)
    found = Round(ROWS / ingest, ROWS / copy, cpu)
    print(f"INGEST rows={ROWS} ingest={found.ingest:.0f} copy={found.copy:.0f} cpu_us_a_row={cpu / ROWS * 1e6:.1f}")
    return found


async def _rounds() -> list[Round]:
    async with running_servers() as servers, template_database(servers) as template:
        return [await _round(servers, template) for _ in range(ROUNDS)]


def measure() -> list[Result]:
    """Each round on fresh tables and topics, its two arms one after the other."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rounds = runner.run(_rounds())
    rate = median(each.ingest for each in rounds)
    ratio = median(each.ingest / each.copy for each in rounds)
    return [Result("ingest", rate, "rows/s", ratio, f">={_TARGET}", ratio >= _TARGET)]
