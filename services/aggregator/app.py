"""Composition root of the aggregator."""

from collections.abc import Sequence
from datetime import timedelta

from fastapi import APIRouter, FastAPI
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from libs.common.application import application
from libs.common.broker import Publisher
from libs.common.clock import Clock
from libs.common.consume import Consumers
from libs.common.db import Database
from libs.common.erasure import ErasedNames, Erasing
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.outbox import Relay
from libs.common.process import run
from libs.common.sealed import KeyRing
from libs.common.tenants import Tenants
from libs.common.upkeep import Upkeep
from services.aggregator.api import products, spaces
from services.aggregator.checking import Checking
from services.aggregator.consumers import subscribe
from services.aggregator.domain import Recency
from services.aggregator.erasing import Rewriting
from services.aggregator.ingest import Ingest
from services.aggregator.metrics import UsageMetrics
from services.aggregator.refresh import Refresh
from services.aggregator.service import Catalogue, Usage
from services.aggregator.settings import Settings
from services.aggregator.store import locks
from services.aggregator.tenant_tables import TENANT_TABLES
from services.aggregator.usage_api import records, usage

NAME = "aggregator"
# Of four batches of 10,000 records (two in hand, two read ahead), and of what is remembered.
OBJECTS_IN_HAND = 2_000_000
_LOOK_FOR_STALE = timedelta(seconds=30)
_LOOK_FOR_OVERDUE = timedelta(seconds=5)
_LOOK_FOR_DELETED = timedelta(seconds=2)
_LOOK_FOR_UNCHECKED = timedelta(minutes=10)


class Aggregator:
    """The objects of one process on an open database, and the order in which they start and stop."""

    def __init__(
        self, settings: Settings, database: Database, broker: KafkaBroker, registry: CollectorRegistry, clock: Clock
    ) -> None:
        metrics, messaging = UsageMetrics(registry), MessagingMetrics(registry)
        recency = Recency(settings.recency_scale, settings.recency_half_life_days)
        self.database = database
        erased = ErasedNames(KeyRing.of(settings.sealing_keys))
        self.tenants = Tenants(database, clock, TENANT_TABLES, registry, hold=locks.change_claims)
        self.erasing = Erasing(database, clock, erased, Rewriting(database))
        self.ingest = Ingest(database, clock, metrics, settings.ledger_deadline, erased)
        self.refresh = Refresh(database, clock, metrics, recency, settings.refresh_pause)
        self.checking = Checking(database, clock, metrics, self.refresh)
        self.catalogue = Catalogue(database, clock, self.refresh)
        self.usage = Usage(database, clock)
        self._settings = settings
        self._consumers = Consumers(NAME, broker, settings, messaging, clock=clock)
        publisher = Publisher(broker, settings, service=NAME, metrics=messaging, clock=clock)
        self._relay = Relay(database.worker, publisher, settings, messaging, clock=clock)
        self._upkeep = Upkeep()

    async def start(self) -> None:
        """Consume, relay, keep up."""
        subscribe(self._consumers, self.ingest, self.tenants)
        self.erasing.subscribe(self._consumers, self.tenants)
        await self._consumers.start()
        self._relay.start()
        self._upkeep.every(self._settings.refresh_pause, "refresh", self.refresh.drain)
        self._upkeep.every(_LOOK_FOR_OVERDUE, "deadlines", self.ingest.close_overdue)
        self._upkeep.every(_LOOK_FOR_STALE, "tick", self._tick)
        self._upkeep.every(_LOOK_FOR_UNCHECKED, "comparison", self.checking.check_due)
        self._upkeep.every(_LOOK_FOR_DELETED, "deleted tenants", self.tenants.purge)
        self._upkeep.every(_LOOK_FOR_DELETED, "erased persons", self.erasing.rewrite_pending)

    async def _tick(self) -> None:
        await self.refresh.mark_stale(self._settings.stale_after)

    async def stop(self) -> None:
        """Finish what is in hand; the relay needs the broker, hence it stops first."""
        await self._upkeep.stop()
        await self._relay.stop(self._settings.shutdown_seconds)
        await self._consumers.stop()

    async def ready(self) -> str | None:
        """Why the process should get no requests, or None."""
        return await self.database.ready() or self._consumers.ready()


def build(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """The application, not yet started."""
    return application(NAME, settings, clock, Aggregator, _routers)


def _routers(aggregator: Aggregator) -> Sequence[APIRouter]:
    return (
        usage(aggregator.usage, aggregator.refresh),
        products(aggregator.catalogue),
        spaces(aggregator.catalogue),
        records(aggregator.usage),
    )


def main() -> None:
    """Run the service."""
    run(NAME, Settings, build, objects=OBJECTS_IN_HAND)


if __name__ == "__main__":
    main()
