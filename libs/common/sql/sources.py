"""What a query reads from, as far as columns can be followed through it."""

from dataclasses import dataclass, field
from typing import Self

from libs.common.sql.names import TableName


@dataclass(frozen=True, slots=True)
class Source:
    """A real table, or a query that passes on what its own sources have (`SELECT *`)."""

    table: TableName | None = None
    passed_on: Self | None = None
    outputs: frozenset[str] = frozenset()

    def place(self, column: str) -> TableName | None:
        """The real table that a column read from here belongs to; None when that is not certain."""
        source: Source | None = self
        while source is not None and source.table is None:
            source = None if column in source.outputs else source.passed_on
        return source.table if source else None


OPAQUE = Source()


@dataclass(slots=True)
class Scope:
    """The sources of one SELECT (or UPDATE, …) by alias, inside those of the query around it.

    `conditions` are those of its joins: they may name sources that come later.
    """

    parent: Self | None = None
    named: dict[str, Source] = field(default_factory=dict)
    unnamed: list[Source] = field(default_factory=list)
    conditions: list[object] = field(default_factory=list)

    def add(self, alias: str, source: Source) -> None:
        if alias and alias not in self.named:
            self.named[alias] = source
        else:
            self.unnamed.append(source)

    def sources(self) -> list[Source]:
        return [*self.named.values(), *self.unnamed]

    def find(self, alias: str) -> Source | None:
        """The nearest source of that name, from here outwards."""
        scope: Scope | None = self
        while scope is not None:
            if alias in scope.named:
                return scope.named[alias]
            scope = scope.parent
        return None

    def only(self) -> Source | None:
        """The one source an unqualified column can come from; None when there are several."""
        scope: Scope | None = self
        while scope is not None:
            if scope.named or scope.unnamed:
                sources = scope.sources()
                return sources[0] if len(sources) == 1 else None
            scope = scope.parent
        return None
