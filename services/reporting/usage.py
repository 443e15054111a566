"""Platform activity by the audit log. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.reporting.figures import Number, days, half_up
from services.reporting.windows import Window

TOP: Final = 10
# As the documentation lists them; others follow by name.
_KNOWN: Final = ("CREATE", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class ComponentUse:
    """`name` is the id where the catalogue has never known the component."""

    id: UUID
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Activity:
    """`username` is the newest that the actor had, or the id where it never had one."""

    id: str
    username: str
    count: int


@dataclass(frozen=True, slots=True)
class Usage:
    """`components` and `users`: the first ten by count, then name, then id."""

    window: Window
    total: int
    components: Sequence[ComponentUse]
    users: Sequence[Activity]
    by_action: Mapping[str, int]

    @property
    def period_days(self) -> Number:
        return half_up(days(self.window.length), 2)

    @property
    def actions(self) -> tuple[tuple[str, int], ...]:
        """CREATE, UPDATE, DELETE where they occur, then the others by name."""
        known = [name for name in _KNOWN if name in self.by_action]
        others = sorted(set(self.by_action) - set(_KNOWN))
        return tuple((name, self.by_action[name]) for name in (*known, *others))
