"""From a Kafka record to a typed record: one at a time, so that a bad one does not take its neighbours along."""

from datetime import UTC, datetime
from typing import Any, Generic
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord
from pydantic import TypeAdapter, ValidationError

from libs.common.envelope import Envelope, EnvelopeError, open_message
from libs.common.records import E, Record
from libs.common.topics import Topic


class Decoder(Generic[E]):
    """Decodes the messages of one topic. The tenant comes from body, header or the default, and must agree."""

    def __init__(self, topic: Topic, model: Any, default_tenant: UUID | None) -> None:
        self._topic = topic
        self._adapter: TypeAdapter[E] = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
        self._default_tenant = default_tenant

    def __call__(self, raw: "ConsumerRecord[bytes, bytes]") -> Record[E]:
        """Raises EnvelopeError or ValidationError; nothing else that a message could cause."""
        envelope, body = open_message(raw.headers, raw.value or b"", self.fallback_id(raw))
        event = self._event(body, envelope)
        if envelope.tenant is not None and envelope.tenant != event.tenant:
            raise EnvelopeError("tenant: header and body name different tenants")
        return Record(
            event=event,
            envelope=envelope,
            topic=self._topic.name,
            partition=raw.partition,
            offset=raw.offset,
            timestamp=datetime.fromtimestamp(raw.timestamp / 1000, UTC),
            key=raw.key,
        )

    def fallback_id(self, raw: "ConsumerRecord[bytes, bytes]") -> str:
        """Id of an event that brought none: its place, which a redelivery does not change."""
        return f"{self._topic.name}/{raw.partition}/{raw.offset}"

    def _event(self, body: bytes, envelope: Envelope) -> E:
        try:
            return self._adapter.validate_json(body)
        except ValidationError:
            tenant = envelope.tenant or self._default_tenant
            fields = _object(body)
            if fields is None or fields.get("tenant") is not None:
                raise
            if tenant is None:
                raise EnvelopeError("tenant: the message names none") from None
        return self._adapter.validate_json(orjson.dumps({**fields, "tenant": str(tenant)}))


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
