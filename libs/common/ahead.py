"""Records that are fetched and decoded, and wait to be handled: the more wait, the larger the next batch."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import compress
from typing import Generic, Self

from libs.common.records import E, Raw, Record
from libs.common.settle import Outcome


@dataclass(slots=True)
class Gathered(Generic[E]):
    """Records in order of each partition, decoded or what is wrong with them; offsets of each partition's ends."""

    raws: list[Raw] = field(default_factory=list)
    decoded: list[Record[E] | Outcome] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, raws: Sequence[Raw], decoded: Sequence[Record[E] | Outcome]) -> Self:
        first = {raw.partition: raw.offset for raw in reversed(raws)}
        return cls(list(raws), list(decoded), first, {raw.partition: raw.offset for raw in raws})

    def add(self, portion: Self) -> None:
        """Put them behind these. What is read again with them stands here no more: the consumer went back."""
        if portion.reread(self):
            kept = [raw.offset < portion.first.get(raw.partition, raw.offset + 1) for raw in self.raws]
            self._keep(kept)
        self.raws += portion.raws
        self.decoded += portion.decoded
        self.first = portion.first | self.first
        self.last |= portion.last

    def reread(self, before: Self) -> set[int]:
        """Partitions of which these do not lie behind those that were read before."""
        return {each for each, offset in self.first.items() if offset <= before.last.get(each, -1)}

    def drop(self, partitions: AbstractSet[int]) -> None:
        """Without these partitions."""
        if partitions:
            self._keep([raw.partition not in partitions for raw in self.raws])

    def _keep(self, kept: Sequence[bool]) -> None:
        left: Gathered[E] = Gathered.of(list(compress(self.raws, kept)), list(compress(self.decoded, kept)))
        self.raws, self.decoded, self.first, self.last = left.raws, left.decoded, left.first, left.last


class Ahead(Generic[E]):
    """What waits of one consumer, at most `limit` records; they come in portions."""

    def __init__(self, limit: int, portion: int) -> None:
        self._limit, self._portion = limit, portion
        self._waiting: Gathered[E] = Gathered()
        self._less = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting.raws)

    async def room(self) -> None:
        """Wait until there is room for another portion."""
        while len(self) + self._portion > self._limit:
            self._less.clear()
            await self._less.wait()

    def put(self, portion: Gathered[E]) -> None:
        """Put a portion behind what waits and is not read again with it."""
        self._waiting.add(portion)

    def reread(self, taken: Gathered[E]) -> set[int]:
        """Partitions of which something waits that must go before what was taken: the consumer went back."""
        return self._waiting.reread(taken)

    def take(self) -> Gathered[E]:
        """All that waits."""
        taken = self._waiting
        self.clear()
        return taken

    def clear(self) -> None:
        """Nothing waits any more."""
        self._waiting = Gathered()
        self._less.set()
