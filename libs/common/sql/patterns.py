"""What is known of patterns seen lately.

Three memories, each of two generations: shapes, texts (which several shapes lead to), and texts that came in
anonymised. None holds a literal. A generation has at most 20,000 entries and 16 MiB of text, longer texts than
16 KiB are not kept: at most about 100 MiB a process in all, a few in practice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from libs.common.sql.anonymise import Scrubbed, cap, scrub
from libs.common.sql.dialects import TRAITS, Dialect
from libs.common.sql.names import ColumnRef, DefaultNames, TableName
from libs.common.sql.recent import Recent
from libs.common.sql.shapes import HOLE, fold_holes, shaper

_LONGEST: Final = 16 * 1024
_ENTRIES: Final = 20_000
_BYTES: Final = 16 * 1024 * 1024


class Analysis(NamedTuple):
    """What one statement says without its literals.

    `tables` are all real tables that it names, read or written; `columns` only those that can be
    placed in one. `parsed` is false where words alone had to do. `comment` is what a BI tool wrote
    around the statement; it may hold anything and must not be stored.
    """

    text: str
    truncated: bool
    tables: tuple[TableName, ...]
    columns: tuple[ColumnRef, ...]
    parsed: bool
    comment: str | None


@dataclass(slots=True, eq=False)
class Pattern:
    """One anonymised text, uncapped and capped, and its analyses by the connector's default names."""

    whole: str
    text: str
    truncated: bool
    analyses: dict[DefaultNames, Analysis] = field(default_factory=dict)


class Seen(NamedTuple):
    """The pattern of a statement, its comment, and its renderings where they were needed."""

    pattern: Pattern
    comment: str | None
    scrubbed: Scrubbed | None


_SHAPES: Final = Recent[tuple[str, Dialect], Pattern](_ENTRIES, _BYTES)
_TEXTS: Final = Recent[tuple[str, Dialect], Pattern](_ENTRIES, _BYTES)
_ANONYMOUS: Final = Recent[tuple[str, Dialect], tuple[str, bool]](_ENTRIES, _BYTES)


def anonymise(sql: str, dialect: Dialect) -> tuple[str, bool]:
    """The statement with `?` for each literal and placeholder, and whether it was cut at 64 KiB.

    Comments are dropped, blanks folded, lists of literals shortened to one. A sign that cannot be a
    subtraction belongs to its number. What never ends (a string, a comment) takes the rest with it.
    Anonymising the result again changes nothing, and costs next to nothing.
    """
    known = _ANONYMOUS.get((sql, dialect))
    if known is not None:
        return known
    pattern = seen(sql, dialect).pattern
    result = pattern.text, pattern.truncated
    if pattern.text == sql and len(sql) <= _LONGEST:
        _ANONYMOUS.put((pattern.text, dialect), result, len(sql))
    return result


def seen(sql: str, dialect: Dialect) -> Seen:
    """The pattern of a statement, from memory where it is there."""
    if HOLE not in sql:
        shape, comment = shaper(dialect).draft(sql)
        known = _SHAPES.get((shape, dialect))
        if known is not None:
            return Seen(known, comment, None)
    return _looked_at(sql, dialect)


def forget() -> None:
    """Empty all memories; for measuring."""
    for memory in (_SHAPES, _TEXTS, _ANONYMOUS):
        memory.clear()


def _looked_at(sql: str, dialect: Dialect) -> Seen:
    found = shaper(dialect).shape(sql)
    if found is None:
        scrubbed = scrub(sql, dialect)
        return Seen(_by_text(scrubbed.text, dialect), scrubbed.comment, scrubbed)
    passed: list[str] = []
    known = fresh = None
    for shape in _spellings(found.text, dialect):
        known = _SHAPES.get((shape, dialect))
        if known is not None:
            break
        passed.append(shape)
    if known is None:
        fresh = scrub(sql, dialect)
        known = _by_text(fresh.text, dialect)
    for shape in dict.fromkeys(passed):
        if len(shape) <= _LONGEST:
            _SHAPES.put((shape, dialect), known, len(shape))
    return Seen(known, found.comment, fresh)


def _spellings(shape: str, dialect: Dialect) -> Iterator[str]:
    """The shape, then shapes of the same meaning that more statements share."""
    yield shape
    shape = fold_holes(shape)
    yield shape
    yield shaper(dialect).canonical(shape)


def _by_text(whole: str, dialect: Dialect) -> Pattern:
    known = _TEXTS.get((whole, dialect))
    if known is None:
        known = Pattern(whole, *cap(whole, TRAITS[dialect]))
        if len(whole) <= _LONGEST:
            _TEXTS.put((whole, dialect), known, len(whole))
    return known
