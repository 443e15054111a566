"""What is known of patterns seen lately.

Three memories, each of two generations: shapes, texts (which several shapes lead to), and texts that came in
anonymised. None holds a literal. A generation has at most 20,000 entries and 16 MiB of text, longer texts than
16 KiB are not kept: at most about 100 MiB a process in all, a few in practice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from libs.common.recent import Recent
from libs.common.sql.anonymise import Scrubbed, cap, scrub
from libs.common.sql.dialects import TRAITS, Dialect
from libs.common.sql.names import ColumnRef, DefaultNames, TableName
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


# The pattern of a statement, its comment, and its renderings where they were needed.
Seen = tuple[Pattern, str | None, Scrubbed | None]

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
    pattern = seen(sql, dialect)[0]
    result = pattern.text, pattern.truncated
    if pattern.text == sql and len(sql) <= _LONGEST:
        _ANONYMOUS.put((pattern.text, dialect), result, len(sql))
    return result


def seen(sql: str, dialect: Dialect) -> Seen:
    """The pattern of a statement, from memory where it is there."""
    if HOLE in sql:
        return _afresh(sql, dialect)
    draft, comment = shaper(dialect).draft(sql)
    known = _SHAPES.get((draft, dialect)) or _respelled(draft, dialect)
    return _looked_at(sql, draft, dialect) if known is None else (known, comment, None)


def forget() -> None:
    """Empty all memories; for measuring."""
    for memory in (_SHAPES, _TEXTS, _ANONYMOUS):
        memory.clear()


def _respelled(shape: str, dialect: Dialect) -> Pattern | None:
    """What is known under a spelling that more statements share; then also under this one."""
    short = fold_holes(shape)
    known = None if short == shape else _SHAPES.get((short, dialect))
    if known is not None:
        _keep((shape,), dialect, known)
        return known
    known = _SHAPES.get((shaper(dialect).canonical(short), dialect))
    if known is not None:
        _keep({shape, short}, dialect, known)
    return known


def _keep(shapes: Iterable[str], dialect: Dialect, pattern: Pattern) -> None:
    for shape in shapes:
        if len(shape) <= _LONGEST:
            _SHAPES.put((shape, dialect), pattern, len(shape))


def _looked_at(sql: str, draft: str, dialect: Dialect) -> Seen:
    """Where the draft may be no shape, or a shape that nobody has seen."""
    found = shaper(dialect).shape(sql, draft)
    if found is None:
        return _afresh(sql, dialect)
    known = None if found.text == draft else _SHAPES.get((found.text, dialect)) or _respelled(found.text, dialect)
    if known is not None:
        return known, found.comment, None
    pattern, _, scrubbed = _afresh(sql, dialect)
    short = fold_holes(found.text)
    _keep({found.text, short, shaper(dialect).canonical(short)}, dialect, pattern)
    return pattern, found.comment, scrubbed


def _afresh(sql: str, dialect: Dialect) -> Seen:
    scrubbed = scrub(sql, dialect)
    return _by_text(scrubbed.text, dialect), scrubbed.comment, scrubbed


def _by_text(whole: str, dialect: Dialect) -> Pattern:
    known = _TEXTS.get((whole, dialect))
    if known is None:
        known = Pattern(whole, *cap(whole, TRAITS[dialect]))
        if len(whole) <= _LONGEST:
            _TEXTS.put((whole, dialect), known, len(whole))
    return known
