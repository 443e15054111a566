"""What a statement may do here, and what is known of one that may run."""

from dataclasses import dataclass, field
from typing import Final

MAX_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Policy:
    """`functions`: what a secret allows beyond the lists, in lower case, `f` or `schema.f`.

    `tenant_tables`: internal only, the tables that may be read. `index`: Elasticsearch only, the connection's pattern.
    `max_rows`: the most hits that a search may ask for.
    """

    functions: frozenset[str] = frozenset()
    tenant_tables: frozenset[str] | None = None
    index: str | None = None
    max_rows: int = MAX_ROWS


@dataclass(frozen=True, slots=True)
class Proof:
    """`tables`: what is read, each as the author qualified it, CTEs left out. `returns_rows` is false for EXPLAIN,
    SHOW and DESCRIBE, whose rows are about the statement and not of its tables."""

    tables: tuple[tuple[str, ...], ...] = ()
    returns_rows: bool = True
    names: tuple[str, ...] = field(default=())
    """Functions that were called, in lower case."""
