"""What was found out and is believed for a while: bounded, so that nobody can fill a process's memory."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MOST: Final = 10_000


class Remembered(Generic[Key, Value]):
    """Values by key, each for its own number of seconds; the longest known ones make room for new ones."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._monotonic = monotonic
        self._most = most
        self._known: OrderedDict[Key, tuple[Value, float]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """The value while it is believed, else None."""
        known = self._known.get(key)
        return known[0] if known is not None and known[1] > self._monotonic() else None

    def put(self, key: Key, value: Value, seconds: float) -> None:
        """Believe this from now on; what is over or too much is dropped from the oldest end."""
        now = self._monotonic()
        self._known[key] = (value, now + seconds)
        self._known.move_to_end(key)
        while self._known and (len(self._known) > self._most or next(iter(self._known.values()))[1] <= now):
            self._known.popitem(last=False)

    def forget(self, key: Key) -> None:
        """Believe nothing of a key."""
        self._known.pop(key, None)

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[tuple[Key, Value]]:
        """What is known now, the believed and the over."""
        return iter([(key, value) for key, (value, _) in self._known.items()])
