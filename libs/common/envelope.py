"""The envelope of an event: CloudEvents 1.0, Kafka binary mode (attributes in headers, the event alone in the value).

Structured CloudEvents (`application/cloudevents+json`) and plain JSON are read too, never written; each of the three
also behind the five bytes that serialisers for a schema registry put in front (the Confluent wire format).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import takewhile
from os import urandom
from typing import Any, Final, Self
from uuid import UUID, uuid4

import orjson
from asyncpg.pgproto.pgproto import UUID as FastUUID
from pydantic import BaseModel, TypeAdapter, ValidationError

from libs.common.clock import rfc3339
from libs.common.events import AnyEvent
from libs.common.scraped import ScrapedEvent

Header = tuple[str, bytes | None]
Headers = Sequence[Header]
Marks = tuple[bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]

CONTENT_TYPE: Final = "content-type"
TRACEPARENT: Final = "traceparent"
_PREFIX: Final = "ce_"
_ID: Final = "ce_id"
_JSON: Final = "application/json"
_STRUCTURED: Final = "application/cloudevents+json"
_SPEC_VERSION: Final = "1.0"
_PLAIN: Final = b"application/json"
_CURRENT: Final = b"1.0"
NO_TENANT: Final = b"no tenant is named"  # known by its identity
_UNMARKED: Final[dict[str, bytes | None]] = {
    CONTENT_TYPE: _PLAIN,
    "ce_specversion": _CURRENT,
    "ce_tenant": NO_TENANT,
    "ce_time": None,
    TRACEPARENT: None,
}
_IDS_AT_ONCE: Final = 64
# Of a random number all bits but those of version and variant; these two as a random UUID has them.
_RANDOM: Final = 0xFFFFFFFF_FFFF_0FFF_3FFF_FFFFFFFFFFFF
_VERSION_4: Final = 0x00000000_0000_4000_8000_000000000000
_WRONG_VERSION: Final = "specversion: only CloudEvents 1.0 is accepted"
_ATTRIBUTES: Final = frozenset({"id", "type", "source", "time", "tenant", "specversion", "traceparent", "tracestate"})
_FRAME: Final = 5
_NOT_EXTENSIONS: Final = _ATTRIBUTES | {"data", "data_base64", "datacontenttype", "dataschema", "subject"}
_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")
_time: TypeAdapter[datetime] = TypeAdapter(datetime)


class EnvelopeError(ValueError):
    """The message is no event that we can place. The text holds nothing of its body."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sent which kind of event when, for which tenant, in which trace. `extensions` such as jobid, syncseq."""

    id: str
    type: str
    source: str
    time: datetime | None
    tenant: UUID | None
    traceparent: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)

    def to_headers(self) -> list[tuple[str, bytes]]:
        """Kafka headers of the binary mode."""
        attributes = {"specversion": _SPEC_VERSION, "id": self.id, "type": self.type, "source": self.source}
        if self.time is not None:
            attributes["time"] = rfc3339(self.time)
        if self.tenant is not None:
            attributes["tenant"] = str(self.tenant)
        headers = [(_PREFIX + name, text.encode()) for name, text in {**attributes, **self.extensions}.items()]
        if self.traceparent:
            headers.append((TRACEPARENT, self.traceparent.encode()))
        headers.append((CONTENT_TYPE, _JSON.encode()))
        return headers

    @classmethod
    def from_headers(cls, headers: Headers, fallback_id: str = "") -> Self:
        """What can be read of the headers. Never fails: what is missing or malformed is left out."""
        plain = {name: _text(value) for name, value in header_map(headers).items()}
        attributes = {name.removeprefix(_PREFIX): text for name, text in plain.items() if name.startswith(_PREFIX)}
        attributes.setdefault(TRACEPARENT, plain.get(TRACEPARENT, ""))
        return cls._of(attributes, fallback_id)

    @classmethod
    def _of(cls, attributes: Mapping[str, str], fallback_id: str) -> Self:
        return cls(
            id=attributes.get("id") or fallback_id,
            type=attributes.get("type", ""),
            source=attributes.get("source", ""),
            time=_moment(attributes.get("time")),
            tenant=_uuid(attributes.get("tenant")),
            traceparent=attributes.get(TRACEPARENT) or None,
            extensions={name: text for name, text in attributes.items() if name not in _NOT_EXTENSIONS},
        )


def new_envelope(
    event: AnyEvent, *, source: str, at: datetime, traceparent: str | None = None, extensions: Mapping[str, str] | None
) -> Envelope:
    """Envelope of an event of ours. An event with an `event_id` of its own keeps it when it is sent again."""
    own = getattr(event, "event_id", None)
    more = dict(extensions or {})
    return Envelope(
        id=str(own or uuid4()),
        type=event_type(type(event)),
        source=source,
        time=at,
        tenant=event.tenant,
        traceparent=more.pop(TRACEPARENT, None) or traceparent,
        extensions=more,
    )


def event_type(model: type[BaseModel | ScrapedEvent]) -> str:
    """CloudEvents type of a model: `tidemark.` and its name in snake case."""
    return "tidemark." + _WORD_START.sub("_", model.__name__).lower()


def header_map(headers: Headers) -> dict[str, bytes | None]:
    """Headers by name in lower case; of several under one name the last."""
    return {name.lower(): value for name, value in headers}


class HeaderWriter:
    """Headers of events that are sent at once: what they have in common is written once."""

    def __init__(self, source: str, at: datetime, traceparent: str | None) -> None:
        self._source, self._at, self._traceparent = source, at, traceparent
        self._common: dict[tuple[type[AnyEvent], UUID, str | None], list[tuple[str, bytes]]] = {}
        self._ids = _new_ids()

    def __call__(self, event: AnyEvent, extensions: Mapping[str, str]) -> list[tuple[str, bytes]]:
        """The same as those of `new_envelope`, whose order is no matter."""
        if hasattr(event, "event_id"):
            return self._written(event, extensions)
        kind = type(event), event.tenant, extensions.get(TRACEPARENT)
        common = self._common.get(kind)
        if common is None:
            trace = {TRACEPARENT: kind[2]} if kind[2] else {}
            common = self._common[kind] = [each for each in self._written(event, trace) if each[0] != _ID]
        more = [(_PREFIX + name, text.encode()) for name, text in extensions.items() if name != TRACEPARENT]
        return [(_ID, next(self._ids)), *more, *common]

    def _written(self, event: AnyEvent, extensions: Mapping[str, str]) -> list[tuple[str, bytes]]:
        at, trace = self._at, self._traceparent
        return new_envelope(event, source=self._source, at=at, traceparent=trace, extensions=extensions).to_headers()


def _new_ids() -> Iterator[bytes]:
    """Random UUIDs (version 4) as text. Asking the system for each alone would take longer than all the rest."""
    while True:
        drawn = urandom(16 * _IDS_AT_ONCE)
        for at in range(0, len(drawn), 16):
            number = int.from_bytes(drawn[at : at + 16]) & _RANDOM | _VERSION_4
            yield str(FastUUID(number.to_bytes(16))).encode()


def marks_of(headers: Headers) -> Marks:
    """Content type, version, tenant (`NO_TENANT`: not named), time, trace; of several under one name the last."""
    named = _UNMARKED | header_map(headers)
    return named[CONTENT_TYPE], named["ce_specversion"], named["ce_tenant"], named["ce_time"], named[TRACEPARENT]


class MarkReader:
    """Reads the marks of message after message.

    A producer writes what its messages have in common behind what differs. Where that is the same as before, behind
    headers of the same names, the marks are the same, and given again as the same object.
    """

    def __init__(self) -> None:
        self._before: tuple[Header, ...] = ()
        self._names: list[str] = []
        self._tail: tuple[Header, ...] = ()
        self._marks: Marks | None = None

    def __call__(self, headers: tuple[Header, ...]) -> Marks:
        """As `marks_of`."""
        at = len(self._names)
        if self._marks and headers[at:] == self._tail and [name for name, _ in headers[:at]] == self._names:
            return self._marks
        return self._learn(headers)

    def _learn(self, headers: tuple[Header, ...]) -> Marks:
        """Look which headers are those of the message before; keep the marks if no mark stands among the others."""
        pairs = zip(reversed(headers), reversed(self._before), strict=False)
        at = len(headers) - sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._before = headers
        self._names, self._tail = [name for name, _ in headers[:at]], headers[at:]
        marks = marks_of(headers)
        self._marks = None if _UNMARKED.keys() & {name.lower() for name in self._names} else marks
        return marks


def open_value(content_type: bytes | None, value: bytes, fallback_id: str) -> tuple[Envelope, bytes] | None:
    """Envelope and body of a structured CloudEvent; None where the value is the body. Raises EnvelopeError."""
    kind = _text(content_type).partition(";")[0].strip().lower()
    if not kind.startswith("application/cloudevents"):
        return None
    if kind != _STRUCTURED:
        raise EnvelopeError("content-type: one JSON event per message is accepted, no batches, no other formats")
    return _open_structured(value, fallback_id)


def unframed(value: bytes) -> bytes:
    """What stands behind a byte 0 and the four bytes of a schema's id. No JSON begins with a byte 0."""
    return value[_FRAME:] if value[:1] == b"\0" else value


def named_tenant(version: bytes | None, tenant: bytes | None) -> UUID | None:
    """Tenant of the headers, if they name one. Raises EnvelopeError."""
    if version != _CURRENT:
        raise EnvelopeError(_WRONG_VERSION)
    return None if tenant is NO_TENANT else _tenant(tenant)


def open_message(headers: Headers, value: bytes, fallback_id: str) -> tuple[Envelope, bytes]:
    """Envelope and JSON body of a message in any of the three forms. Raises EnvelopeError."""
    content_type, version, tenant, *_ = marks_of(headers)
    found = open_value(content_type, value, fallback_id)
    if found is None:
        named_tenant(version, tenant)
    return found or (Envelope.from_headers(headers, fallback_id), value)


def _open_structured(value: bytes, fallback_id: str) -> tuple[Envelope, bytes]:
    try:
        event = orjson.loads(unframed(value))
    except orjson.JSONDecodeError:
        raise EnvelopeError("the structured CloudEvent is not valid JSON") from None
    if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
        raise EnvelopeError("data: the structured CloudEvent holds no JSON object")
    attributes = {name: str(text) for name, text in event.items() if name != "data" and text is not None}
    if attributes.get("specversion") != _SPEC_VERSION:
        raise EnvelopeError(_WRONG_VERSION)
    if "tenant" in attributes:
        _tenant(attributes["tenant"].encode("utf-8", "replace"))
    return Envelope._of(attributes, fallback_id), orjson.dumps(event["data"])


@lru_cache(maxsize=1024)
def _tenant(written: bytes | None) -> UUID:
    tenant = _uuid(_text(written))
    if tenant is None:
        raise EnvelopeError("tenant: is no UUID")
    return tenant


def is_structured(headers: Headers) -> bool:
    """Whether the value holds the envelope too."""
    return _text(header_map(headers).get(CONTENT_TYPE)).lower().startswith(_STRUCTURED)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def moment_of(written: bytes | None) -> datetime | None:
    """The moment that a `ce_time` header names; None where it names none."""
    return _moment(_text(written))


def _moment(text: str | None) -> datetime | None:
    try:
        moment = _time.validate_python(text) if text else None
    except ValidationError:
        return None
    return moment if moment is None or moment.tzinfo else None


def safe_problems(error: ValidationError) -> str:
    """What did not validate, field by field, without any input value."""
    problems: list[Any] = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['type']}" for problem in problems]
    return "; ".join(shown[:20])
