"""The outbox's relay, with a broker that may come later: events wait."""

import asyncio
import contextlib

from libs.common.broker import Publisher
from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.outbox import Relay
from services.gateway.connecting import NAME, connected_broker
from services.gateway.settings import Settings


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
        broker = await connected_broker(self._settings)
        publisher = Publisher(broker, self._settings, service=NAME, metrics=self._metrics, clock=self._clock)
        relay = Relay(self._database.worker, publisher, self._settings, self._metrics, clock=self._clock)
        relay.start()
        try:
            await asyncio.Event().wait()
        finally:
            await relay.stop(self._settings.shutdown_seconds)
            await broker.stop()
