"""Composition root of log_miner."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, FastAPI
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from libs.common.application import application
from libs.common.broker import Publisher
from libs.common.clock import Clock
from libs.common.collecting.run import Runs
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
from services.log_miner.api import checks, mining
from services.log_miner.consumers import subscribe
from services.log_miner.erasing import Rewriting
from services.log_miner.metrics import MiningMetrics
from services.log_miner.mining import Mining
from services.log_miner.sending import Sender
from services.log_miner.service import MINE, SERVICE, Miner
from services.log_miner.settings import Settings
from services.log_miner.store import JOBS
from services.log_miner.tenant_tables import TENANT_TABLES
from services.log_miner.warehouses import WAREHOUSES

NAME = SERVICE
_LOOK_FOR_CLOSINGS = timedelta(seconds=5)
_LOOK_FOR_LOST = timedelta(seconds=30)
_LOOK_FOR_DELETED = timedelta(seconds=2)
_FORGET, _KEPT = timedelta(hours=1), timedelta(days=30)


class LogMiner:
    """The objects of one process on an open database, and the order in which they start and stop."""

    def __init__(
        self, settings: Settings, database: Database, broker: KafkaBroker, registry: CollectorRegistry, clock: Clock
    ) -> None:
        messaging, metrics = MessagingMetrics(registry), MiningMetrics(registry)
        publisher = Publisher(broker, settings, service=NAME, metrics=messaging, clock=clock)
        sender = Sender(database, publisher)
        keys, resolve = KeyRing.of(settings.sealing_keys), EgressPolicy.of(settings.egress_allow).address_of
        self.database = database
        erased = ErasedNames(keys)
        self.schedules = Schedules(database, clock, frozenset(WAREHOUSES), registry)
        jobs = JobService(
            database,
            JOBS,
            (SERVICE, MINE),
            sender.close,
            clock,
            metrics,
            settings.closing_repeat,
            erased,
            self.schedules,
        )
        runs = Runs(database, JOBS, clock, metrics, jobs.send_closings, self.schedules)
        self.miner = Miner(jobs, keys, resolve)
        self.mining = Mining(runs, sender, keys, resolve, metrics, erased)
        self.tenants = Tenants(database, clock, TENANT_TABLES, registry, on_deleted=jobs.forget_tenant)
        self.erasing = Erasing(database, clock, erased, Rewriting(database))
        self.jobs = Jobs(NAME, database.worker, lease=settings.job_lease, concurrency=settings.job_concurrency)
        self.jobs.handle(MINE, self.mining.run)
        self._settings = settings
        self._consumers = Consumers(NAME, broker, settings, messaging, clock=clock)
        self._relay = Relay(database.worker, publisher, settings, messaging, clock=clock)
        self._upkeep = Upkeep()

    async def start(self) -> None:
        """Consume, relay, work on jobs, keep up."""
        subscribe(self._consumers, self.miner, self.tenants)
        self.erasing.subscribe(self._consumers, self.tenants)
        await self._consumers.start()
        self._relay.start()
        self.jobs.start()
        self._upkeep.every(_LOOK_FOR_CLOSINGS, "closings", self.miner.jobs.send_closings)
        self._upkeep.every(_LOOK_FOR_LOST, "lost jobs", self.miner.jobs.requeue_lost)
        self._upkeep.every(_LOOK_FOR_DELETED, "deleted tenants", self.tenants.purge)
        self._upkeep.every(_LOOK_FOR_DELETED, "erased persons", self.erasing.rewrite_pending)
        self._upkeep.every(TICK, "schedules", lambda: self.schedules.start_due(self.miner.mine_on_schedule))
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
    return application(NAME, settings, clock, LogMiner, _routers)


def _routers(log_miner: LogMiner) -> Sequence[APIRouter]:
    return mining(log_miner.miner), checks(log_miner.miner)


def main() -> None:
    """Run the service."""
    run(NAME, Settings, build)


if __name__ == "__main__":
    main()
