"""What a handler is given, and what it may raise."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeAlias, TypeVar

from aiokafka import ConsumerRecord
from msgspec import Struct

from libs.common.envelope import Envelope, moment_of
from libs.common.events import AnyEvent

E = TypeVar("E", bound=AnyEvent)
Raw: TypeAlias = "ConsumerRecord[bytes, bytes]"


class Record(Struct, Generic[E], frozen=True, gc=False):
    """One decoded message. `topic` has no installation's prefix. What few handlers ask for is read when asked for."""

    event: E
    topic: str
    raw: Raw
    written_time: bytes | None = None
    written_traceparent: bytes | None = None
    structured: Envelope | None = None

    @property
    def partition(self) -> int:
        number: int = self.raw.partition
        return number

    @property
    def offset(self) -> int:
        number: int = self.raw.offset
        return number

    @property
    def key(self) -> bytes | None:
        key: bytes | None = self.raw.key
        return key

    @property
    def timestamp(self) -> datetime:
        """The broker's or the producer's."""
        return datetime.fromtimestamp(self.raw.timestamp / 1000, UTC)

    @property
    def envelope(self) -> Envelope:
        """Who sent it, when, for which tenant, in which trace."""
        return self.structured or Envelope.from_headers(self.raw.headers, fallback_id(self.topic, self.raw))

    @property
    def sent_at(self) -> datetime | None:
        """Business time that its envelope names."""
        return moment_of(self.written_time)

    @property
    def said_at(self) -> datetime:
        """The same; where it names none, the message's time."""
        return self.sent_at or self.timestamp


def fallback_id(topic: str, raw: Raw) -> str:
    """Id of an event that brought none: its place, which a redelivery does not change."""
    return f"{topic}/{raw.partition}/{raw.offset}"


Handler = Callable[[Sequence[Record[E]]], Awaitable[None]]


class InvalidRecords(Exception):
    """Raised by a handler: these positions of its batch must be dead-lettered, the others be given again.

    Reasons are shown to operators: they name the rule, never a value.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__("; ".join(f"{position}: {reason}" for position, reason in reasons.items()))
        self.reasons = dict(reasons)


class InvalidRecord(InvalidRecords):
    """One record of the batch, by its position, is invalid."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__({position: reason})
