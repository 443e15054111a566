"""A bounded memory of what was found lately, for several threads."""

from threading import Lock
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
ENTRY_BYTES: Final = 200


class Recent(Generic[K, V]):
    """Keeps what was asked for lately, in two generations: the older one is dropped when the younger is full.

    A generation is full at `entries` or at `size` bytes, as the caller counts them. Reading takes no lock.
    What is asked for again moves to the younger generation; a value may be put twice, so it must be a
    function of its key.
    """

    def __init__(self, entries: int, size: int) -> None:
        self._entries, self._size = entries, size
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._used = 0
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        found = self._young.get(key)
        return found if found is not None else self._from_old(key)

    def _from_old(self, key: K) -> V | None:
        found = self._old.get(key)
        if found is not None:
            self.put(key, found, ENTRY_BYTES)
        return found

    def put(self, key: K, value: V, size: int) -> None:
        with self._lock:
            if len(self._young) >= self._entries or self._used + size > self._size:
                self._old, self._young, self._used = self._young, {}, 0
            self._young[key] = value
            self._used += size

    def clear(self) -> None:
        with self._lock:
            self._young, self._old, self._used = {}, {}, 0
