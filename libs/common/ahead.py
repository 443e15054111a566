"""Records that are fetched and decoded, and wait to be handled: the more wait, the larger the next batch."""

import asyncio
from collections.abc import Sequence
from itertools import compress
from typing import Generic

from libs.common.records import E, Raw, Record
from libs.common.settle import Outcome

Decoded = Sequence[Record[E] | Outcome]


class Ahead(Generic[E]):
    """At most `limit` records of one consumer, in order of each partition; they come in portions."""

    def __init__(self, limit: int, portion: int) -> None:
        self._limit, self._portion = limit, portion
        self._raws: list[Raw] = []
        self._decoded: list[Record[E] | Outcome] = []
        self._last: dict[int, int] = {}
        self._less = asyncio.Event()

    def __len__(self) -> int:
        return len(self._raws)

    async def room(self) -> None:
        """Wait until there is room for another portion."""
        while len(self) + self._portion > self._limit:
            self._less.clear()
            await self._less.wait()

    def put(self, raws: Sequence[Raw], decoded: Decoded[E]) -> None:
        """Put them behind what waits. What is read again with them waits no more: the consumer went back."""
        first = first_offsets(raws)
        if any(offset <= self._last.get(partition, -1) for partition, offset in first.items()):
            kept = [raw.offset < first.get(raw.partition, raw.offset + 1) for raw in self._raws]
            self._raws, self._decoded = list(compress(self._raws, kept)), list(compress(self._decoded, kept))
        self._raws += raws
        self._decoded += decoded
        self._last |= last_offsets(raws)

    def again(self, raws: Sequence[Raw]) -> set[int]:
        """Partitions of which something waits that was read again, behind these: the consumer went back."""
        last = last_offsets(raws)
        return {each for each, offset in first_offsets(self._raws).items() if offset <= last.get(each, -1)}

    def take(self) -> tuple[list[Raw], list[Record[E] | Outcome]]:
        """All that wait."""
        taken = self._raws, self._decoded
        self.clear()
        return taken

    def clear(self) -> None:
        """Nothing waits any more."""
        self._raws, self._decoded, self._last = [], [], {}
        self._less.set()


def first_offsets(raws: Sequence[Raw]) -> dict[int, int]:
    """Offset of the first record of each partition."""
    return {raw.partition: raw.offset for raw in reversed(raws)}


def last_offsets(raws: Sequence[Raw]) -> dict[int, int]:
    """Offset of the last record of each partition."""
    return {raw.partition: raw.offset for raw in raws}
