"""From a Kafka record to a typed record: one at a time, so that a bad one does not take its neighbours along."""

from collections.abc import Callable
from typing import Any, Generic
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError

from libs.common.clock import rfc3339
from libs.common.envelope import Envelope, EnvelopeError, MarkReader, Marks, named_tenant, open_value, unframed
from libs.common.events import BiQueryRecord
from libs.common.records import E, Raw, Record, fallback_id
from libs.common.scraped_reading import RecordReader
from libs.common.topics import Topic


class Decoder(Generic[E]):
    """Decodes the messages of one topic. The tenant comes from body, header or the default, and must agree.

    What the headers of one message said is remembered for the next, which mostly say the same.
    """

    def __init__(self, topic: Topic, model: Any, default_tenant: UUID | None) -> None:
        self._topic = topic.name
        self._read: Callable[[bytes], E] = _reader(model)
        self._default_tenant = default_tenant
        self._marks = MarkReader()
        self._told: Marks | None = None
        self._tenant: UUID | None = None

    def __call__(self, raw: Raw) -> Record[E]:
        """Raises EnvelopeError or ValidationError; nothing else that a message could cause."""
        marks, body = self._marks(raw.headers), raw.value or b""
        if marks is not self._told:
            found = open_value(marks[0], body, fallback_id(self._topic, raw))
            if found is not None:
                return self._structured(raw, *found)
            self._tenant, self._told = named_tenant(marks[1], marks[2]), marks
        return Record(self._event(body, self._tenant), self._topic, raw, marks[3], marks[4])

    def _structured(self, raw: Raw, envelope: Envelope, body: bytes) -> Record[E]:
        time = rfc3339(envelope.time).encode() if envelope.time else None
        traceparent = (envelope.traceparent or "").encode()
        return Record(self._event(body, envelope.tenant), self._topic, raw, time, traceparent, envelope)

    def _event(self, body: bytes, tenant: UUID | None) -> E:
        try:
            event = self._read(body)
        except ValidationError:
            event = self._completed(unframed(body), tenant or self._default_tenant)
        if tenant is not None and tenant.int != event.tenant.int:
            raise EnvelopeError("tenant: header and body name different tenants")
        return event

    def _completed(self, body: bytes, tenant: UUID | None) -> E:
        """The event of a body that names no tenant itself. Raises the failure again where that is not the reason."""
        fields = _object(body)
        if fields is None or fields.get("tenant") is not None:
            return self._read(body)
        if tenant is None:
            raise EnvelopeError("tenant: the message names none") from None
        return self._read(orjson.dumps({**fields, "tenant": str(tenant)}))


def _reader(model: Any) -> Callable[[bytes], Any]:
    if model == BiQueryRecord:
        return RecordReader()
    adapter: TypeAdapter[Any] = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
    return adapter.validate_json


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
