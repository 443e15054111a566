"""`POST /events`: reads what was sent, sends what can be sent, tells what became of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from libs.common.auth import Principal
from libs.common.clock import Clock, rfc3339
from libs.common.envelope import CONTENT_TYPE, TRACEPARENT
from libs.common.errors import TooLarge, Unprocessable
from libs.common.telemetry import current_traceparent
from services.gateway.ingress.cloudevents import (
    CloudEvent,
    Invalid,
    Problem,
    RawHeaders,
    mode_of,
    read_binary,
    read_structured,
    split_batch,
)
from services.gateway.ingress.reading import Reading, Sender, admitted, read
from services.gateway.ingress.reported import Ignored
from services.gateway.ingress.sending import Outgoing, Sending
from services.gateway.settings import Settings

Json = dict[str, Any]
Parse = Callable[[], CloudEvent]


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that can be taken, and what it tells."""

    event: CloudEvent
    told: Reading | Ignored


def received_counter(registry: CollectorRegistry) -> Counter:
    """Events of `POST /events` by what became of them; what a missing broker refused is not counted."""
    return Counter("tidemark_events_received", "Events of POST /events.", ("outcome",), registry=registry)


@dataclass(frozen=True, slots=True)
class Ingress:
    """Events of other systems."""

    settings: Settings
    sending: Sending
    received: Counter
    clock: Clock

    async def take(self, caller: Principal, headers: RawHeaders, body: bytes) -> list[Json]:
        """What became of each event of a request. The broker has those that are called accepted.

        Raises Forbidden, UnsupportedMedia, TooLarge, Unprocessable (none of the events is valid), TooManyRequests or
        Unavailable (not all that are valid were acknowledged: send all again).
        """
        admitted(caller.roles)
        sender, now = Sender(caller.require_tenant(), caller.environment, caller.roles), self.clock()
        found = [_taken(parse, sender, now) for parse in self._parsers(headers, body)]
        shown = [_shown(index, each) for index, each in enumerate(found)]
        taken = [each for each in found if isinstance(each, Taken)]
        self._count(shown, "rejected", "ignored")
        if found and not taken:
            raise _none_valid(found, shown)
        tenant, trace = str(sender.tenant).encode(), current_traceparent()
        await self.sending.deliver([each for one in taken for each in _outgoing(one, tenant, now, trace)])
        self._count(shown, "accepted")
        return shown

    def _count(self, shown: Sequence[Json], *outcomes: str) -> None:
        for outcome in outcomes:
            number = sum(each["status"] == outcome for each in shown)
            if number:
                self.received.labels(outcome).inc(number)

    def _parsers(self, headers: RawHeaders, body: bytes) -> list[Parse]:
        mode, longest = mode_of(headers), self.settings.ingress_max_event_bytes
        if mode == "batched":
            parts = split_batch(body)
            if len(parts) > self.settings.ingress_max_events:
                raise TooLarge(f"A request holds at most {self.settings.ingress_max_events:,} events.")
            return [_part(part, longest) for part in parts]
        if len(body) > longest:
            raise TooLarge(f"The event is larger than {longest:,} bytes.")
        return [lambda: read_structured(body) if mode == "structured" else read_binary(headers, body)]


def _part(part: bytes, longest: int) -> Parse:
    def parse() -> CloudEvent:
        if len(part) > longest:
            raise Invalid([Problem("event", f"is larger than {longest:,} bytes")])
        return read_structured(part)

    return parse


def _taken(parse: Parse, sender: Sender, now: datetime) -> Taken | Invalid:
    try:
        event = parse()
        return Taken(event, read(event, sender, now))
    except Invalid as invalid:
        return invalid


def _outgoing(taken: Taken, tenant: bytes, now: datetime, trace: str | None) -> Iterator[Outgoing]:
    """With the id and the source of its sender, by which it is known when it comes again."""
    event, told = taken.event, taken.told
    if not isinstance(told, Reading):
        return
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_type", told.type.encode()),
        ("ce_source", event.source.encode()),
        ("ce_time", rfc3339(event.time or now).encode()),
        ("ce_tenant", tenant),
        (CONTENT_TYPE, b"application/json"),
    ]
    if parent := event.trace or trace:
        headers.append((TRACEPARENT, parent.encode()))
    yield Outgoing(told.topic, told.key, told.value, headers)


def _shown(index: int, found: Taken | Invalid) -> Json:
    if isinstance(found, Invalid):
        return {"index": index, "id": found.id, "status": "rejected", "errors": _errors(found)}
    if isinstance(found.told, Ignored):
        return {"index": index, "id": found.event.id, "status": "ignored", "reason": found.told.reason}
    return {"index": index, "id": found.event.id, "status": "accepted"}


def _errors(invalid: Invalid) -> list[Json]:
    return [{"field": each.field, "message": each.message} for each in invalid.problems]


def _none_valid(found: Sequence[Taken | Invalid], shown: list[Json]) -> Unprocessable:
    """In the one error shape; of a batch the results too."""
    invalid = next(each for each in found if isinstance(each, Invalid))
    if len(found) == 1:
        return Unprocessable(str(invalid), errors=_errors(invalid))
    detail = f"None of the {len(found):,} events is valid; the first: {invalid}"
    return Unprocessable(detail, errors=_errors(invalid), results=shown)
