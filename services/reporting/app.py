"""Composition root of reporting."""

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
from services.reporting.api.analytics import analytics
from services.reporting.api.audit_events import audit_events
from services.reporting.api.components import components
from services.reporting.api.deployments import deployments
from services.reporting.api.environments import environments
from services.reporting.consumers import subscribe
from services.reporting.erasing import Rewriting
from services.reporting.metrics import DoraGauges
from services.reporting.service.analytics import Analytics
from services.reporting.service.audit import AuditEvents
from services.reporting.service.catalogue import Catalogue
from services.reporting.service.deployments import Deployments
from services.reporting.service.importing import Importing
from services.reporting.service.recording import Recording
from services.reporting.settings import Settings
from services.reporting.store import locks
from services.reporting.store.entries import COMPONENTS, ENVIRONMENTS
from services.reporting.tenant_tables import TENANT_TABLES

NAME = "reporting"
_LOOK_FOR_DELETED = timedelta(seconds=2)
_LOOK_FOR_PARKED = timedelta(seconds=5)
_FORGET_PARKED = timedelta(minutes=10)


class Reporting:
    """The objects of one process on an open database, and the order in which they start and stop."""

    def __init__(
        self, settings: Settings, database: Database, broker: KafkaBroker, registry: CollectorRegistry, clock: Clock
    ) -> None:
        messaging = MessagingMetrics(registry)
        erased = ErasedNames(KeyRing.of(settings.sealing_keys))
        self.database = database
        self.recording = Recording(database, clock, erased, settings.parked_kept)
        self.components = Catalogue(database, clock, self.recording, COMPONENTS)
        self.environments = Catalogue(database, clock, self.recording, ENVIRONMENTS)
        self.importing = Importing(database, clock, self.components, self.recording)
        self.deployments = Deployments(database, clock, self.recording)
        self.audit_events = AuditEvents(database, clock, self.recording)
        self.analytics = Analytics(database, clock, settings)
        self.gauges = DoraGauges(database, clock, settings, registry)
        self.tenants = Tenants(database, clock, TENANT_TABLES, registry, hold=locks.hold_tenant)
        self.erasing = Erasing(database, clock, erased, Rewriting(database))
        self._settings = settings
        self._clock = clock
        self._consumers = Consumers(NAME, broker, settings, messaging, clock=clock)
        publisher = Publisher(broker, settings, service=NAME, metrics=messaging, clock=clock)
        self._relay = Relay(database.worker, publisher, settings, messaging, clock=clock)
        self._upkeep = Upkeep()

    def routers(self) -> Sequence[APIRouter]:
        """In the order in which paths are matched: words before ids."""
        return (
            analytics(self.analytics),
            components(self.components, self.importing),
            environments(self.environments),
            deployments(self.deployments),
            audit_events(self.audit_events),
        )

    async def start(self) -> None:
        """Consume, relay, keep up."""
        subscribe(self._consumers, self.recording, self.tenants, self.erasing, self._clock)
        await self._consumers.start()
        self._relay.start()
        self._upkeep.every(_LOOK_FOR_PARKED, "parked deployments", self.recording.unpark_all)
        self._upkeep.every(_FORGET_PARKED, "old parked deployments", self.recording.forget_parked)
        self._upkeep.every(self._settings.dora_gauge_pause, "gauges", self.gauges.refresh)
        self._upkeep.every(_LOOK_FOR_DELETED, "deleted tenants", self.tenants.purge)
        self._upkeep.every(_LOOK_FOR_DELETED, "erased persons", self.erasing.rewrite_pending)

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
    return application(NAME, settings, clock, Reporting, Reporting.routers)


def main() -> None:
    """Run the service."""
    run(NAME, Settings, build)


if __name__ == "__main__":
    main()
