"""A generated query log: six warehouses' dialects, thousands of patterns, literals of its own in each row.

Shares of dialects and the frequency of patterns (Zipf, s = 1.05) are those of the design's measurements. The
patterns come from a grammar (`bench/query_log`): 87 % queries, the rest changes, definitions and what
administrators send. A fifth of the rows carries a BI tool's comment, one in twenty has other blanks.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

from bench.query_log.changes import administration, change, definition
from bench.query_log.flavours import FLAVOURS
from bench.query_log.literals import Literals
from bench.query_log.pieces import Pieces
from bench.query_log.queries import query
from libs.common.sql import Dialect

PATTERNS: Final = 1_400
_EXPONENT: Final = 1.05
_COMMENTED: Final = 0.2
_REFLOWED: Final = 0.05
_SLOT: Final = re.compile("\x01([a-z]+)\x02")
_BLANKS: Final = (" ", "  ", "\n", "\n    ", "\t", " \n ")


class LogRow(NamedTuple):
    """One statement of the log; rows of equal `pattern_no` differ in literals, blanks and comments only."""

    sql: str
    dialect: Dialect
    pattern_no: int


@dataclass(frozen=True, slots=True)
class _Pattern:
    dialect: Dialect
    fixed: tuple[str, ...]
    slots: tuple[str, ...]


def generate(rows: int, seed: int, mark: str = "", only: Dialect | None = None) -> list[LogRow]:
    """A log of so many rows, of one dialect only where it is given.

    With a mark every literal and comment holds it or the digits 4711.
    """
    return list(stream(rows, seed, mark, only))


def stream(rows: int, seed: int, mark: str = "", only: Dialect | None = None) -> Iterator[LogRow]:
    """As `generate`, row by row."""
    draw = random.Random(seed)  # noqa: S311 - a benchmark's log
    patterns, literals = _patterns(seed), Literals(draw, mark)
    fitting = [number for number, pattern in enumerate(patterns) if only in (None, pattern.dialect)]
    weights = list(accumulate(1 / (rank + 1) ** _EXPONENT for rank in range(len(fitting))))
    chosen = draw.choices(fitting, cum_weights=weights, k=rows)
    for number in chosen:
        yield LogRow(_row(draw, patterns[number], literals), patterns[number].dialect, number)


def _row(draw: random.Random, pattern: _Pattern, literals: Literals) -> str:
    fixed = pattern.fixed
    if draw.random() < _REFLOWED:
        fixed = tuple(re.sub(r"\s+", lambda _: draw.choice(_BLANKS), piece) for piece in fixed)
    pieces = [fixed[0]]
    for slot, piece in zip(pattern.slots, fixed[1:], strict=True):
        pieces += (literals.draw(slot, pattern.dialect), piece)
    return (literals.comment() if draw.random() < _COMMENTED else "") + "".join(pieces)


@lru_cache(maxsize=4)
def _patterns(seed: int) -> tuple[_Pattern, ...]:
    """Patterns in the order of their frequency; no two of a dialect are the same without literals."""
    draw = random.Random(seed)  # noqa: S311
    pieces = {dialect: Pieces(draw, dialect) for dialect in FLAVOURS}
    weights = [1 / (rank + 1) ** _EXPONENT for rank in range(PATTERNS)]
    missing = {dialect: flavour.share * sum(weights) for dialect, flavour in FLAVOURS.items()}
    known: set[tuple[Dialect, str]] = set()
    found: list[_Pattern] = []
    for weight in weights:
        dialect = max(missing, key=lambda each: missing[each])
        missing[dialect] -= weight
        found.append(_new_pattern(pieces[dialect], known))
    return tuple(found)


def _new_pattern(of: Pieces, known: set[tuple[Dialect, str]]) -> _Pattern:
    while True:
        text = _statement(of)
        same = (of.dialect, " ".join(_SLOT.sub("?", text).split()))
        if same not in known:
            known.add(same)
            pieces = _SLOT.split(text)
            return _Pattern(of.dialect, tuple(pieces[::2]), tuple(pieces[1::2]))


def _statement(of: Pieces) -> str:
    text = of.draw.choices([query, change, definition, administration], (87, 8, 3.5, 1.5))[0](of)
    if of.chance(0.4):
        text = " ".join(text.split())
    return text.lower() if of.chance(0.35) else text
