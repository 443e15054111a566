"""scraper and aggregator in this process, on real topics and one clock; what scraper sends passes through a hook."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID, uuid4

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry

from libs.common.auth import Principal
from libs.common.broker import build_broker
from libs.common.collecting.job import CollectingJob
from libs.common.collecting.sending import RecordSender, Traced
from libs.common.connector_copy import store_change
from libs.common.connectors import settings_context
from libs.common.db import Database
from libs.common.events import ConnectorChanged
from libs.common.jobs import JobRef
from libs.common.sealed import KeyRing
from libs.common.topics import BI_QUERY_SCRAPED
from services.aggregator import app as aggregator_process
from services.scraper import app as scraper_process
from services.scraper.app import ScraperProcess
from services.scraper.domain import SyncJob
from services.scraper.service import SYNC
from services.scraper.settings import Settings
from tests.integration.aggregator_app import RunningApp, running_app
from tests.integration.aggregator_harness import MovedClock
from tests.stubs.superset.server import PASSWORD, USERNAME, SupersetStub
from tests.support.platform import Platform
from tests.support.processes import eventually

OFTEN = timedelta(seconds=0.1)
Send = Callable[[Sequence[Traced]], Awaitable[None]]
Hook = Callable[[SyncJob, Sequence[Traced], Send], Awaitable[None]]


async def as_it_is(_job: SyncJob, records: Sequence[Traced], send: Send) -> None:
    await send(records)


@dataclass(frozen=True)
class HookedSender(RecordSender):
    """The real sender with something that happens around each batch."""

    hook: Hook = as_it_is

    async def send(self, job: CollectingJob, records: Sequence[Traced]) -> None:
        assert isinstance(job, SyncJob)
        real = RecordSender(self.database, self.publisher)
        await self.hook(job, records, lambda part: real.send(job, part))


class Crash(BaseException):
    """The process is gone: nothing after this is done, and no `except Exception` sees it."""


@dataclass
class SyncHarness:
    """Both services. Nothing takes jobs from the queue: a test runs them itself."""

    platform: Platform
    clock: MovedClock
    scraper: ScraperProcess
    aggregator: RunningApp = field(repr=False)

    async def connector(self, stub: SupersetStub) -> "Place":
        """A connector of a tenant of its own to the stub, with a product."""
        tenant, connector = uuid4(), uuid4()
        settings = {"type": "superset", "base_url": stub.url, "username": USERNAME, "password": PASSWORD}
        keys = KeyRing.of(Settings.model_validate(self.platform.settings_values("scraper")).sealing_keys)
        sealed = keys.seal(orjson.dumps(settings), bound_to=settings_context(tenant, connector))
        change = ConnectorChanged(
            tenant=tenant, id=connector, version=1, name="bi", type="superset", sealed_settings=sealed
        )
        async with self.scraper.database.work() as connection:
            await store_change(connection, change)
        await self.aggregator.post(tenant, "/spaces", {"name": "Shop"})
        orders = {"name": "Orders", "tables": [{"name": "public.orders"}]}
        await self.aggregator.post(tenant, "/spaces/shop/products", orders)
        return Place(self, tenant, connector)

    async def publish_raw(self, place: "Place", value: bytes, extensions: dict[str, str]) -> None:
        """A message as no producer of ours makes it."""
        producer = AIOKafkaProducer(bootstrap_servers=self.platform.kafka)
        await producer.start()
        headers = {"ce_specversion": "1.0", "ce_tenant": str(place.tenant)}
        headers |= {f"ce_{name}": text for name, text in extensions.items()}
        try:
            await producer.send_and_wait(
                self.platform.topic_prefix + BI_QUERY_SCRAPED.name,
                value,
                f"{place.tenant}:{place.connector}".encode(),
                headers=[(name, text.encode()) for name, text in headers.items()],
            )
        finally:
            await producer.stop()


@dataclass(frozen=True)
class Place:
    """A connector and its syncs."""

    harness: SyncHarness
    tenant: UUID
    connector: UUID

    @property
    def caller(self) -> Principal:
        return Principal(
            tenant=self.tenant, subject="ada", username="ada", connector_id=self.connector, connector_version=1
        )

    async def begin(self) -> SyncJob:
        """A job that nobody works on."""
        return await self.harness.scraper.scraper.sync_connector(self.caller, self.connector, uuid4())

    async def run(
        self, job: SyncJob, hook: Hook = as_it_is, *, closings: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """One run of it, as the queue would begin it; `closings` takes the place of sending closing records."""
        process = self.harness.scraper
        sender = HookedSender(process.database, process.scraping.sender.publisher, hook)
        runs = replace(process.scraping.runs, send_closings=closings) if closings else process.scraping.runs
        await replace(process.scraping, sender=sender, runs=runs).run(JobRef(self.tenant, job.id))

    async def state(self, job: SyncJob) -> SyncJob:
        return await self.harness.scraper.scraper.jobs.find(self.caller, job.id)

    async def closed(self, job: SyncJob, advance: timedelta = timedelta(0)) -> SyncJob:
        """The job once the aggregator's outcome has come; `advance` moves the clock while it has not."""

        async def over() -> SyncJob | None:
            self.harness.clock.advance(advance)
            state = await self.state(job)
            return state if state.phase == "done" else None

        found: SyncJob = await eventually(over, pause=0.1 if not advance else 0.3)
        return found

    async def sync(self, hook: Hook = as_it_is) -> SyncJob:
        """A sync from its start to its outcome."""
        job = await self.begin()
        await self.run(job, hook)
        return await self.closed(job)

    async def charts(self) -> set[str]:
        """Ids of the charts that count at the aggregator."""
        path, query = f"/connectors/{self.connector}/queries", dict[str, str | int](limit=500)
        found = set[str]()
        while True:
            page = await self.harness.aggregator.get(self.tenant, path, **query)
            found |= {row["resource_id"] for row in page["items"] if row["resource_type"] == "chart"}
            if not page["next_cursor"]:
                return found
            query["cursor"] = page["next_cursor"]

    async def usage(self) -> tuple[int, int]:
        """References and executions of the product, recomputed."""
        await self.harness.aggregator.post(self.tenant, "/spaces/shop/usage/aggregate")
        (row,) = (await self.harness.aggregator.get(self.tenant, "/spaces/shop/usage"))["items"]
        return row["reference_count"], row["execution_count_30d"]


async def _nobody(_ref: JobRef) -> None:
    await asyncio.sleep(3600)


@asynccontextmanager
async def sync_harness(platform: Platform) -> AsyncIterator[SyncHarness]:
    """Started, and stopped in order at the end. What looks for work by itself looks ten times a second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(aggregator_process, "_LOOK_FOR_OVERDUE", OFTEN)
        patched.setattr(scraper_process, "_LOOK_FOR_CLOSINGS", OFTEN)
        async with _started(platform) as harness:
            yield harness


@asynccontextmanager
async def _started(platform: Platform) -> AsyncIterator[SyncHarness]:
    clock = MovedClock()
    settings = Settings.model_validate(platform.settings_values("scraper", shutdown_seconds=1.0))
    database, broker = await Database.open(settings, "scraper"), build_broker(settings, "scraper")
    process = ScraperProcess(settings, database, broker, CollectorRegistry(), clock)
    process.jobs.handle(SYNC, _nobody)
    async with running_app(platform, clock) as aggregator:
        try:
            await process.start()
            yield SyncHarness(platform, clock, process, aggregator)
        finally:
            await process.stop()
            await database.close()
