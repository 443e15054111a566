"""Composition root of query_executor."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, FastAPI
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from libs.common.broker import Publisher, build_broker
from libs.common.clock import Clock, shifted_clock
from libs.common.consume import Consumers
from libs.common.db import Database
from libs.common.egress import EgressPolicy
from libs.common.erasure import ErasedNames, Erasing
from libs.common.http import create_app
from libs.common.jobs import Jobs
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.outbox import Relay
from libs.common.process import run
from libs.common.schedules import TICK
from libs.common.sealed import KeyRing
from libs.common.tenants import Tenants
from libs.common.upkeep import Upkeep
from services.query_executor.api.apps import apps
from services.query_executor.api.background import kept_executions
from services.query_executor.api.execute import executions
from services.query_executor.api.inspection import inspections
from services.query_executor.api.problems import install_problems
from services.query_executor.api.queries import queries
from services.query_executor.api.schedules import schedules
from services.query_executor.api.secrets import secret_types, secrets
from services.query_executor.api.slashes import TrailingSlash
from services.query_executor.api.validation import validations
from services.query_executor.consumers import subscribe
from services.query_executor.domain import LimitRules
from services.query_executor.drivers import clickhouse, elasticsearch, internal, mysql, postgres_columns, redshift
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.source import Pooling
from services.query_executor.erasing import Rewriting
from services.query_executor.metrics import QueryMetrics
from services.query_executor.service.apps import Apps
from services.query_executor.service.background import EXECUTION, SERVICE, Background
from services.query_executor.service.execution import Executions
from services.query_executor.service.inspection import Inspection
from services.query_executor.service.queries import Queries
from services.query_executor.service.recording import Recording
from services.query_executor.service.results import ResultStore
from services.query_executor.service.schedules import QuerySchedules
from services.query_executor.service.secrets import Secrets
from services.query_executor.service.sources import Sources
from services.query_executor.service.tenant_schemas import TenantSchemas
from services.query_executor.service.worker import Worker
from services.query_executor.settings import Settings
from services.query_executor.statement import Engine
from services.query_executor.tenant_tables import TENANT_TABLES
from services.query_executor.vault import Vault

NAME = "query-executor"
_LOOK_FOR_DELETED = timedelta(seconds=2)
_LOOK_FOR_LOST = timedelta(seconds=30)
_PRUNE = timedelta(minutes=1)
_FORGET, _KEPT = timedelta(hours=1), timedelta(days=30)
_LOOK_FOR_SCHEMAS = timedelta(seconds=2)


def _drivers(settings: Settings, egress: EgressPolicy, schemas: TenantSchemas) -> Drivers:
    pooling = Pooling(settings.connections_per_secret, settings.idle_connection_seconds)
    makers = {
        Engine.POSTGRES: postgres_columns.maker(egress.address_of, pooling),
        Engine.MYSQL: mysql.maker(egress.address_of, pooling),
        Engine.REDSHIFT: redshift.maker(egress.address_of, pooling),
        Engine.ELASTICSEARCH: elasticsearch.maker(egress.address_of, pooling),
        Engine.CLICKHOUSE: clickhouse.maker(egress.address_of, pooling),
        Engine.INTERNAL: internal.maker(schemas, settings.api_database_url, settings.internal_connections),
    }
    return Drivers(makers, settings.pooled_secrets)


def _rules(settings: Settings) -> LimitRules:
    return LimitRules(
        settings.query_rows,
        settings.query_rows_ceiling,
        settings.query_bytes,
        settings.query_seconds,
        settings.query_seconds_ceiling,
    )


class QueryExecutor:
    """The objects of one process on an open database, and the order in which they start and stop."""

    def __init__(
        self, settings: Settings, database: Database, broker: KafkaBroker, registry: CollectorRegistry, clock: Clock
    ) -> None:
        messaging, keys = MessagingMetrics(registry), KeyRing.of(settings.sealing_keys)
        egress, erased, vault = EgressPolicy.of(settings.egress_allow), ErasedNames(keys), Vault(keys)
        publisher = Publisher(broker, settings, service=NAME, metrics=messaging, clock=clock)
        self.database = database
        self.schemas = TenantSchemas(database, keys)
        self.drivers = _drivers(settings, egress, self.schemas)
        sources = Sources(vault, self.drivers, _rules(settings), self.schemas.tables)
        self.apps = Apps(database, clock)
        self.secrets = Secrets(database, clock, vault, egress, self.drivers)
        self.inspection = Inspection(database, sources, self.drivers, egress)
        self.queries = Queries(database, clock, sources, erased)
        recording = Recording(database, clock, keys)
        results = ResultStore(database, clock, settings.result_lifetime)
        self.executions = Executions(database, sources, self.drivers, recording, results, QueryMetrics(registry))
        self.background = Background(database, clock, keys, self.executions, results)
        self.worker = Worker(database, clock, self.background, self.executions, results)
        self.schedules = QuerySchedules(database, clock, keys, self.queries, self.executions, self.background)
        self.jobs = Jobs(SERVICE, database.worker, lease=settings.job_lease, concurrency=settings.job_concurrency)
        self.jobs.handle(EXECUTION, self.worker.run)
        self.tenants = Tenants(database, clock, TENANT_TABLES, registry, on_living=self.apps.seed)
        self.erasing = Erasing(database, clock, erased, Rewriting(database, keys))
        self._settings = settings
        self._consumers = Consumers(NAME, broker, settings, messaging, clock=clock)
        self._relay = Relay(database.worker, publisher, settings, messaging, clock=clock)
        self._upkeep = Upkeep()

    def routers(self) -> tuple[APIRouter, ...]:
        """In the order in which paths are matched: the one that is asked for most, then words before slugs."""
        return (
            executions(self.executions, self.background),
            apps(self.apps),
            secret_types(self.apps),
            secrets(self.secrets),
            inspections(self.inspection),
            kept_executions(self.background),
            validations(self.queries),
            schedules(self.schedules),
            queries(self.queries),
        )

    async def start(self) -> None:
        """Consume, relay, keep up."""
        subscribe(self._consumers, self.tenants, self.erasing)
        await self._consumers.start()
        self._relay.start()
        self.jobs.start()
        self._upkeep.every(_LOOK_FOR_SCHEMAS, "tenants' schemas", self.schemas.keep_up)
        self._upkeep.every(_LOOK_FOR_DELETED, "deleted tenants", self.tenants.purge)
        self._upkeep.every(_LOOK_FOR_DELETED, "erased persons", self.erasing.rewrite_pending)
        self._upkeep.every(TICK, "schedules", self.schedules.start_due)
        self._upkeep.every(_LOOK_FOR_LOST, "lost executions", self.worker.requeue_lost)
        self._upkeep.every(_PRUNE, "expired results", self.worker.prune)
        self._upkeep.every(_FORGET, "old queue notes", lambda: self.jobs.forget(datetime.now(UTC) - _KEPT))

    async def stop(self) -> None:
        """Requests have ended by now; jobs go back to the queue; the relay needs the broker, hence it stops first."""
        await self.jobs.stop(self._settings.shutdown_seconds)
        await self._upkeep.stop()
        await self.drivers.close()
        await self._relay.stop(self._settings.shutdown_seconds)
        await self._consumers.stop()

    async def ready(self) -> str | None:
        """Why the process should get no requests, or None."""
        return await self.database.ready() or self._consumers.ready() or self.jobs.ready()


def build(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """The application, not yet started; it connects when it starts and has its routes from then on."""
    registry = CollectorRegistry()
    running: list[QueryExecutor] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = await Database.open(settings, NAME)
        broker = build_broker(settings, NAME, graceful_timeout=settings.shutdown_seconds)
        process = QueryExecutor(settings, database, broker, registry, clock or shifted_clock(settings.clock_offset))
        try:
            await process.start()
            running.append(process)
            for router in process.routers():
                app.include_router(router)
            yield
        finally:
            running.clear()
            await process.stop()
            await database.close()

    async def ready() -> str | None:
        return await running[0].ready() if running else "not started"

    app = create_app(NAME, settings, registry=registry, lifespan=lifespan, readiness=ready)
    install_problems(app)
    app.router.redirect_slashes = False
    app.add_middleware(TrailingSlash)
    return app


def main() -> None:
    """Run the service."""
    run(NAME, Settings, build)


if __name__ == "__main__":
    main()
