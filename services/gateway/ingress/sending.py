"""Events from outside on their way to the broker: whoever sent one is answered when the broker has it."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import uuid4

from faststream.kafka import KafkaBroker
from opentelemetry import trace

from libs.common.broker import Publisher, physical_name
from libs.common.clock import Clock
from libs.common.envelope import Envelope, event_type
from libs.common.errors import TooManyRequests, Unavailable
from libs.common.events import AnyEvent
from libs.common.handover import Message
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.messaging_spans import publish_span
from libs.common.telemetry import current_traceparent
from libs.common.topics import ALL_TOPICS, Topic
from services.gateway.connecting import NAME, connected_broker
from services.gateway.settings import Settings

# Of the attributes of an event those that are not extensions.
_OWN: Final = frozenset({"id", "source", "time"})
Attributed = tuple[str, AnyEvent, Mapping[str, str]]


class Outgoing(NamedTuple):
    """An event on its way: what its message will hold."""

    topic: Topic
    key: str
    value: bytes
    headers: list[tuple[str, bytes]]


class Sending:
    """A producer of its own, bounded: what waits for an acknowledgement is in memory, and its sender waits too."""

    def __init__(self, settings: Settings, metrics: MessagingMetrics, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._publisher: Publisher | None = None
        self._broker: KafkaBroker | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._names = {topic.name: physical_name(settings, topic.name) for topic in ALL_TOPICS}
        self._published = {topic.name: metrics.published.labels(topic.name) for topic in ALL_TOPICS}
        self._in_flight = 0

    def start(self) -> None:
        """Connect, for as long as it takes; until then everything is answered 503."""
        self._connecting = asyncio.create_task(self._connect(), name="ingress connection")

    async def stop(self) -> None:
        """Requests have ended by now."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        self._publisher = None
        if self._broker is not None:
            await self._broker.stop()

    async def _connect(self) -> None:
        self._broker = await connected_broker(self._settings)
        self._publisher = Publisher(
            self._broker,
            self._settings,
            service=NAME,
            clock=self._clock,
            timeout=self._settings.ingress_acknowledge_seconds,
        )

    async def send(self, topic: Topic, events: Sequence[Attributed], *, source: str) -> None:
        """(key, event, attributes) each; the broker has acknowledged all of them when this returns.

        Attributes are those of the CloudEvents envelope: `id`, `time` (RFC 3339) and `source` where an event has its
        own, all others are extensions. An event without `id` gets its `event_id`, or a random one.
        Raises as `deliver`.
        """
        now, parent = self._clock(), current_traceparent()
        await self.deliver(
            [
                Outgoing(topic, key, event.to_json(), _headers(event, {"source": source, **attributes}, now, parent))
                for key, event, attributes in events
            ]
        )

    async def deliver(self, events: Sequence[Outgoing]) -> None:
        """The broker has acknowledged all of them when this returns.

        Raises TooManyRequests, Unavailable or TooLarge; some of the events may have arrived then, and all may be sent
        again under the same ids.
        """
        if not events:
            return
        self._in_flight += len(events)
        try:
            outcomes = await self._outcomes(events)
        finally:
            self._in_flight -= len(events)
        for each, outcome in zip(events, outcomes, strict=True):
            if outcome is None:
                self._published[each.topic.name].inc()
        for failure in filter(None, outcomes):
            raise failure

    async def _outcomes(self, events: Sequence[Outgoing]) -> Sequence[Exception | None]:
        if self._in_flight > self._settings.ingress_max_in_flight and self._in_flight > len(events):
            raise TooManyRequests("Too many events wait for the broker; send this again.")
        if self._publisher is None:
            raise Unavailable("The broker cannot be reached; send the events again.")
        messages = [Message(self._names[topic.name], key.encode(), value, more) for topic, key, value, more in events]
        # A span that is not recorded would cost as much as a small event.
        if not trace.get_current_span().is_recording():
            return await self._publisher.deliver(messages)
        with publish_span(", ".join(dict.fromkeys(each.topic.name for each in events)), len(events)):
            return await self._publisher.deliver(messages)


def _headers(
    event: AnyEvent, attributes: Mapping[str, str], now: datetime, traceparent: str | None
) -> list[tuple[str, bytes]]:
    envelope = Envelope(
        id=attributes.get("id") or str(getattr(event, "event_id", None) or uuid4()),
        type=event_type(type(event)),
        source=attributes["source"],
        time=datetime.fromisoformat(attributes["time"]) if "time" in attributes else now,
        tenant=event.tenant,
        traceparent=traceparent,
        extensions={name: text for name, text in attributes.items() if name not in _OWN},
    )
    return envelope.to_headers()
