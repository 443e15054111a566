"""The application of a service that consumes: it connects when it starts and has its routes from then on."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from fastapi import APIRouter, FastAPI
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from libs.common.broker import build_broker
from libs.common.clock import Clock, shifted_clock
from libs.common.db import Database
from libs.common.http import create_app
from libs.common.settings import ServiceSettings


class Composition(Protocol):
    """The objects of one process on an open database, and the order in which they start and stop."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def ready(self) -> str | None:
        """Why the process should get no requests, or None."""


S = TypeVar("S", bound=ServiceSettings)
C = TypeVar("C", bound=Composition)
Compose = Callable[[S, Database, KafkaBroker, CollectorRegistry, Clock], C]


def application(
    service: str, settings: S, clock: Clock | None, compose: Compose[S, C], routers: Callable[[C], Iterable[APIRouter]]
) -> FastAPI:
    """The application, not yet started. `clock` is the settings' one where it is None."""
    registry = CollectorRegistry()
    running: list[C] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = await Database.open(settings, service)
        broker = build_broker(settings, service, graceful_timeout=settings.shutdown_seconds)
        process = compose(settings, database, broker, registry, clock or shifted_clock(settings.clock_offset))
        try:
            await process.start()
            running.append(process)
            for router in routers(process):
                app.include_router(router)
            yield
        finally:
            running.clear()
            await process.stop()
            await database.close()

    async def ready() -> str | None:
        return await running[0].ready() if running else "not started"

    return create_app(service, settings, registry=registry, lifespan=lifespan, readiness=ready)
