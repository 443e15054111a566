"""Webhooks of other systems: who sent it, what it tells, published before it is answered."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson
from prometheus_client import CollectorRegistry, Counter

from libs.common.clock import Clock
from libs.common.errors import BadRequest, Forbidden, TidemarkError, TooLarge, TooManyRequests, UnsupportedMedia
from libs.common.events import DeploymentRecorded
from libs.common.topics import DEPLOYMENT_RECORDED
from services.gateway.ingress import argocd, devlake, generic, github, gitlab
from services.gateway.ingress.mapping import event_of, key_of
from services.gateway.ingress.rejections import Rejections
from services.gateway.ingress.reported import Ignored, Json, Reading
from services.gateway.ingress.sending import Sending
from services.gateway.ingress.signatures import Claim, Headers, Rejected, claim_of, verify
from services.gateway.ingress.sources import KnownSource, KnownSources
from services.gateway.settings import Settings

_FORM: Final = "application/x-www-form-urlencoded"
# The headers by which a sender names one delivery, the same each time it is sent again.
_DELIVERY_IDS: Final = {"github": ("x-github-delivery",), "gitlab": ("webhook-id", "idempotency-key")}
_LONGEST_ID: Final = 255


class TooSlow(TidemarkError):
    """The body did not come in time."""

    status = 408
    code = "request_timeout"


class WebhookMetrics:
    """How many webhooks came, by what became of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "tidemark_webhooks_total", "Webhooks that came, by outcome.", ("kind", "outcome"), registry=registry
        )

    @contextmanager
    def counted(self, kind: str) -> Iterator[list[str]]:
        """Count what the block puts into the list, or the code of the error that it raises."""
        outcome: list[str] = []
        try:
            yield outcome
        except TidemarkError as error:
            outcome[:] = [error.code]
            raise
        finally:
            self._total.labels(kind, outcome[0] if outcome else "failed").inc()


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request: its headers, and its body, which is read only when it must be."""

    headers: Headers
    pieces: AsyncIterator[bytes]


class Webhooks:
    """Use case of `POST /webhooks/{source}`."""

    def __init__(
        self,
        settings: Settings,
        sources: KnownSources,
        rejections: Rejections,
        sending: Sending,
        metrics: WebhookMetrics,
        clock: Clock,
        real_time: Callable[[], float] = time.time,
    ) -> None:
        """`real_time`: seconds since 1970, by which signatures grow old; the clock is that of what is recorded."""
        self._settings = settings
        self._sources = sources
        self._rejections = rejections
        self._sending = sending
        self._metrics = metrics
        self._clock = clock
        self._real_time = real_time
        self._in_flight = 0

    async def receive(self, source_id: UUID, incoming: Incoming) -> list[DeploymentRecorded] | Ignored:
        """The deployments that the broker has acknowledged.

        Raises NotFound, Rejected (401), Forbidden for a source that is switched off, TooLarge, TooSlow,
        TooManyRequests, BadRequest or Malformed (422) for what cannot be read, Unavailable.
        """
        source = await self._sources.find(source_id)
        with self._metrics.counted(source.address.kind) as outcome, self._place():
            body = await self._proven(source, incoming)
            if not source.enabled:
                raise Forbidden("This webhook source is switched off.")
            now = self._clock()
            events = _events(source, _read(source, incoming.headers, _json(incoming.headers, body), now), now)
            outcome.append("ignored" if isinstance(events, Ignored) else "accepted")
            if not isinstance(events, Ignored):
                await self._publish(source, events, _delivery_id(source, incoming.headers, body))
            return events

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._in_flight >= self._settings.webhook_max_in_flight:
            raise TooManyRequests("Too many webhooks at once; send this again.")
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def _proven(self, source: KnownSource, incoming: Incoming) -> bytes:
        """The raw body, once it is proven who sent it. What already the headers show is refused before it is read."""
        address = source.address
        try:
            claim: Claim = claim_of(address.kind, incoming.headers, self._real_time(), signed_only=source.signed_only)
            body = await self._body(incoming)
            verify(claim, body, source.secrets(self._clock()))
        except Rejected as rejected:
            await self._rejections.note(address, rejected.reason)
            raise
        return body

    async def _body(self, incoming: Incoming) -> bytes:
        limit, read = self._settings.max_body_bytes, bytearray()
        try:
            async with asyncio.timeout(self._settings.webhook_read_seconds):
                async for piece in incoming.pieces:
                    read += piece
                    if len(read) > limit:
                        raise TooLarge(f"The body is larger than {limit:,} bytes.")
        except TimeoutError:
            raise TooSlow("The body did not come in time.") from None
        return bytes(read)

    async def _publish(self, source: KnownSource, events: list[DeploymentRecorded], delivery: str) -> None:
        """All under ids that are the same when the delivery comes again."""
        ids = [delivery] if len(events) == 1 else [f"{delivery}/{number}" for number in range(len(events))]
        attributed = [(key_of(event), event, {"id": each}) for event, each in zip(events, ids, strict=True)]
        await self._sending.send(DEPLOYMENT_RECORDED, attributed, source=source.uri)


def _json(headers: Headers, body: bytes) -> Json:
    """Raises UnsupportedMedia for GitHub's other content type, and BadRequest."""
    if (headers.text("content-type") or "").partition(";")[0].strip().lower() == _FORM:
        raise UnsupportedMedia("Set the webhook's content type to application/json.")
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest("The body is no valid JSON.") from None
    if not isinstance(payload, dict):
        raise BadRequest("The body must be a JSON object.")
    return payload


def _read(source: KnownSource, headers: Headers, payload: Json, now: datetime) -> Reading:
    """By the kind of the source alone. Raises Malformed."""
    match source.address.kind:
        case "github":
            return github.deployments(headers.text("x-github-event") or "", payload)
        case "gitlab":
            return gitlab.deployments(payload)
        case "argocd":
            return argocd.deployments(payload, now)
        case "devlake":
            return devlake.deployments(payload, now)
        case "generic":
            return generic.deployments(payload, source.mapping, now)


def _events(source: KnownSource, reading: Reading, now: datetime) -> list[DeploymentRecorded] | Ignored:
    """What there is to publish, or why there is nothing."""
    if isinstance(reading, Ignored):
        return reading
    made = [event_of(source.address.tenant, source.uri, source.mapping, each, now) for each in reading]
    events = [each for each in made if not isinstance(each, Ignored)]
    return events or next(each for each in made if isinstance(each, Ignored))


def _delivery_id(source: KnownSource, headers: Headers, body: bytes) -> str:
    """What names this delivery, however often it comes: the sender's own id, or a digest of the body."""
    names = _DELIVERY_IDS.get(source.address.kind, ())
    given = next(filter(None, (headers.text(name) for name in names)), None)
    if given and given.isascii() and given.isprintable() and len(given) <= _LONGEST_ID:
        return given
    return hashlib.sha256(body).hexdigest()
