"""Composition root of scraper."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, FastAPI
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from libs.common.application import application
from libs.common.broker import Publisher
from libs.common.clock import Clock
from libs.common.collecting.run import Runs
from libs.common.collecting.sending import RecordSender
from libs.common.collecting.service import JobService
from libs.common.consume import Consumers
from libs.common.db import Database
from libs.common.egress import EgressPolicy
from libs.common.erasure import ErasedNames, Erasing
from libs.common.jobs import Jobs
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.outbox import Relay
from libs.common.process import run
from libs.common.schedules import TICK, Schedules
from libs.common.sealed import KeyRing
from libs.common.tenants import Tenants
from libs.common.upkeep import Upkeep
from services.scraper.api import checks, syncs
from services.scraper.consumers import subscribe
from services.scraper.metrics import SyncMetrics
from services.scraper.scraping import Scraping
from services.scraper.service import SERVICE, SYNC, Scraper
from services.scraper.settings import Settings
from services.scraper.store import JOBS
from services.scraper.tenant_tables import TENANT_TABLES
from services.scraper.tools import TOOLS

NAME = SERVICE
_LOOK_FOR_CLOSINGS = timedelta(seconds=5)
_LOOK_FOR_LOST = timedelta(seconds=30)
_LOOK_FOR_DELETED = timedelta(seconds=2)
_FORGET, _KEPT = timedelta(hours=1), timedelta(days=30)


class ScraperProcess:
    """The objects of one process on an open database, and the order in which they start and stop."""

    def __init__(
        self, settings: Settings, database: Database, broker: KafkaBroker, registry: CollectorRegistry, clock: Clock
    ) -> None:
        messaging, metrics = MessagingMetrics(registry), SyncMetrics(registry)
        publisher = Publisher(broker, settings, service=NAME, metrics=messaging, clock=clock)
        sender = RecordSender(database, publisher)
        keys, resolve = KeyRing.of(settings.sealing_keys), EgressPolicy.of(settings.egress_allow).address_of
        erased = ErasedNames(keys)
        self.schedules = Schedules(database, clock, frozenset(TOOLS), registry)
        jobs = JobService(
            database,
            JOBS,
            (SERVICE, SYNC),
            sender.send_closing,
            clock,
            metrics,
            settings.closing_repeat,
            erased,
            self.schedules,
        )
        runs = Runs(database, JOBS, clock, metrics, jobs.send_closings, self.schedules)
        self.database = database
        self.scraper = Scraper(jobs, keys, resolve)
        self.scraping = Scraping(runs, sender, keys, resolve, metrics, erased)
        self.tenants = Tenants(database, clock, TENANT_TABLES, registry, on_deleted=jobs.forget_tenant)
        self.erasing = Erasing(database, clock, erased, jobs.forget_person)
        self.jobs = Jobs(NAME, database.worker, lease=settings.job_lease, concurrency=settings.job_concurrency)
        self.jobs.handle(SYNC, self.scraping.run)
        self._settings = settings
        self._consumers = Consumers(NAME, broker, settings, messaging, clock=clock)
        self._relay = Relay(database.worker, publisher, settings, messaging, clock=clock)
        self._upkeep = Upkeep()

    async def start(self) -> None:
        """Consume, relay, work on jobs, keep up."""
        subscribe(self._consumers, self.scraper, self.tenants)
        self.erasing.subscribe(self._consumers, self.tenants)
        await self._consumers.start()
        self._relay.start()
        self.jobs.start()
        self._upkeep.every(_LOOK_FOR_CLOSINGS, "closings", self.scraper.jobs.send_closings)
        self._upkeep.every(_LOOK_FOR_LOST, "lost jobs", self.scraper.jobs.requeue_lost)
        self._upkeep.every(_LOOK_FOR_DELETED, "deleted tenants", self.tenants.purge)
        self._upkeep.every(_LOOK_FOR_DELETED, "erased persons", self.erasing.rewrite_pending)
        self._upkeep.every(TICK, "schedules", lambda: self.schedules.start_due(self.scraper.sync_on_schedule))
        self._upkeep.every(_FORGET, "old queue notes", lambda: self.jobs.forget(datetime.now(UTC) - _KEPT))

    async def stop(self) -> None:
        """Hand jobs back, finish what is in hand; the relay needs the broker, hence it stops first."""
        await self.jobs.stop(self._settings.shutdown_seconds)
        await self._upkeep.stop()
        await self._relay.stop(self._settings.shutdown_seconds)
        await self._consumers.stop()

    async def ready(self) -> str | None:
        """Why the process should get no requests, or None."""
        return await self.database.ready() or self._consumers.ready() or self.jobs.ready()


def build(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """The application, not yet started."""
    return application(NAME, settings, clock, ScraperProcess, _routers)


def _routers(process: ScraperProcess) -> Sequence[APIRouter]:
    return syncs(process.scraper), checks(process.scraper)


def main() -> None:
    """Run the service."""
    run(NAME, Settings, build)


if __name__ == "__main__":
    main()
