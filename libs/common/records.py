"""What a handler is given, and what it may raise."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from libs.common.envelope import Envelope
from libs.common.events import Event

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Record(Generic[E]):
    """One decoded message. `topic` has no installation's prefix; `timestamp` is the broker's or the producer's."""

    event: E
    envelope: Envelope
    topic: str
    partition: int
    offset: int
    timestamp: datetime
    key: bytes | None


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
