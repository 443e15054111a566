"""From a Kafka record to a typed record: one at a time, so that a bad one does not take its neighbours along."""

from collections.abc import Callable
from typing import Any, Generic
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError

from libs.common.envelope import EnvelopeError, header_map, opened
from libs.common.events import BiQueryRecord
from libs.common.records import E, Raw, Record, fallback_id
from libs.common.scraped_reading import read_record
from libs.common.topics import Topic


class Decoder(Generic[E]):
    """Decodes the messages of one topic. The tenant comes from body, header or the default, and must agree."""

    def __init__(self, topic: Topic, model: Any, default_tenant: UUID | None) -> None:
        self._topic = topic.name
        self._read: Callable[[bytes], E] = _reader(model)
        self._default_tenant = default_tenant

    def __call__(self, raw: Raw) -> Record[E]:
        """Raises EnvelopeError or ValidationError; nothing else that a message could cause."""
        headers = header_map(raw.headers)
        tenant, body, structured = opened(headers, raw.value or b"", lambda: fallback_id(self._topic, raw))
        try:
            event = self._read(body)
        except ValidationError:
            event = self._completed(body, tenant or self._default_tenant)
        if tenant is not None and tenant != event.tenant:
            raise EnvelopeError("tenant: header and body name different tenants")
        return Record(event, self._topic, raw, headers, structured)

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
        return read_record
    adapter: TypeAdapter[Any] = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
    return adapter.validate_json


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
