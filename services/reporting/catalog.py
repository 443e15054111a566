"""The catalogue's health. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.reporting.domain import LIFECYCLES, Lifecycle
from services.reporting.figures import Number, percent

MOST_UNOWNED: Final = 50


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many components have an owner that is not empty."""

    total: int
    with_owner: int

    @property
    def without_owner(self) -> int:
        return self.total - self.with_owner

    @property
    def percent(self) -> Number:
        return percent(self.with_owner, self.total)


@dataclass(frozen=True, slots=True)
class Unowned:
    id: UUID
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """`kinds`: most frequent first, then by name; `unowned`: the first 50 by name, then id."""

    coverage: Coverage
    by_lifecycle: Mapping[str, int]
    kinds: tuple[tuple[str, int], ...]
    unowned: Sequence[Unowned]

    @property
    def lifecycles(self) -> tuple[tuple[Lifecycle, int], ...]:
        """All five in their documented order, those without a component too."""
        return tuple((name, self.by_lifecycle.get(name, 0)) for name in LIFECYCLES)
