"""The outbox's relay, with a broker that may come later: the gateway serves without one, its events wait."""

import asyncio
import contextlib

import structlog
from faststream.kafka import KafkaBroker

from libs.common.broker import Publisher, build_broker
from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.failures import RetryPolicy, describe
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.outbox import Relay
from services.gateway.settings import Settings

_log = structlog.get_logger()
_SERVICE = "gateway"


class Relaying:
    """Connects, then relays until it is stopped."""

    def __init__(self, settings: Settings, database: Database, metrics: MessagingMetrics, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="outbox relay")

    async def stop(self) -> None:
        """Finish the batch in hand."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        broker = await self._connected()
        publisher = Publisher(broker, self._settings, service=_SERVICE, metrics=self._metrics, clock=self._clock)
        relay = Relay(self._database.worker, publisher, self._settings, self._metrics, clock=self._clock)
        relay.start()
        try:
            await asyncio.Event().wait()
        finally:
            await relay.stop(self._settings.shutdown_seconds)
            await broker.stop()

    async def _connected(self) -> KafkaBroker:
        for pause in RetryPolicy(first=0.5).pauses():
            broker = build_broker(self._settings, _SERVICE)
            try:
                await broker.start()
                return broker
            except Exception as error:
                _log.warning("the broker cannot be reached; trying on", error=describe(error))
                await broker.stop()
            await asyncio.sleep(pause)
        raise AssertionError("pauses are endless")
