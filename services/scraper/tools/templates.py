"""Jinja in SQL: replaced by what a parser can read, so that the tables around it are found. Pure.

A value becomes a literal, part of a name becomes a mark that is taken out of the names again, a branch becomes one
statement per choice. Nothing is evaluated.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from services.scraper.tools.template_values import MARK, SqlText

MAX_FORMS: Final = 4
_LONGEST_EXPRESSION: Final = 4096
# No human's template has more; what comes behind stays as it is.
_MOST_TEMPLATES: Final = 5_000
_DEEPEST_DATASET: Final = 5

_TAGS: Final = (
    "if|elif|else|endif|for|endfor|set|endset|macro|endmacro|call|endcall|filter|endfilter|raw|endraw|block|endblock|"
    "with|endwith|do|import|from|include|extends|autoescape|endautoescape|trans|endtrans|continue|break"
)
# `{%` without a tag is no template: LIKE '{%' is SQL.
_OPEN: Final = re.compile(rf"\{{\{{|\{{#|\{{%(?=[-+]?\s*(?:{_TAGS})\b)")
_CLOSE: Final = {"{{": "}}", "{#": "#}", "{%": "%}"}
_BODY: Final = re.compile(r"(?:[^'\"%}]|'[^']*'|\"[^\"]*\"|[%}](?!\}))*+")
_RAW_END: Final = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
# Between the rounds of a loop only; a loop is rendered as one round.
_BETWEEN_ROUNDS: Final = re.compile(r"\bnot\s+loop\.(?:last|first)\b")
_DATASET: Final = re.compile(r"\{\{-?\s*dataset\(\s*(\d{1,18})\s*(?:,[^{}]{0,1000})?\)\s*-?\}\}")
_MARKED: Final = re.compile(rf"[\"`\[]?{MARK}[\"`\]]?", re.IGNORECASE)


class Piece(NamedTuple):
    """Text outside of templates (no kind), an expression (`{{`) or a tag (`{%`)."""

    kind: str
    text: str

    @property
    def tag(self) -> str:
        """The word of a tag; empty for anything else."""
        return self.text.split(None, 1)[0] if self.kind == "{%" and self.text else ""


def has_template(sql: str) -> bool:
    """Whether there is anything to replace."""
    return _OPEN.search(sql) is not None


def forms(sql: str) -> tuple[str, ...]:
    """The statement without templates: one form, or one per branch (at most 4) where it has `{% if %}`."""
    if not has_template(sql):
        return (sql,)
    pieces = list(_pieces(sql))
    count, lasts = _branches(pieces)
    return tuple(dict.fromkeys(_render(pieces, choice, lasts) for choice in range(min(count, MAX_FORMS))))


def without_mark(parts: tuple[str, ...]) -> tuple[str, ...]:
    """A table's name parts without those that a template makes; empty where the table itself is unknown."""
    marked = [at for at, part in enumerate(parts) if MARK in part.lower()]
    return parts[marked[-1] + 1 :] if marked else parts


def shown(text: str) -> str:
    """Anonymised text with `?` where a template stood in a name."""
    return _MARKED.sub("?", text)


def with_datasets(sql: str, sql_of: Callable[[int], str | None], depth: int = 0) -> str:
    """`{{ dataset(7) }}` replaced by a subquery over that dataset, datasets inside it too; an unknown one stays."""

    def subquery(found: re.Match[str]) -> str:
        inner = sql_of(int(found[1]))
        if inner is None:
            return found[0]
        return f"(\n{with_datasets(inner, sql_of, depth + 1)}\n) AS dataset_{found[1]}"

    return _DATASET.sub(subquery, sql) if depth < _DEEPEST_DATASET else sql


def _pieces(sql: str) -> Iterator[Piece]:
    position = 0
    for _ in range(_MOST_TEMPLATES):
        found = _OPEN.search(sql, position)
        if found is None:
            break
        kind = found[0]
        yield Piece("", sql[position : found.start()])
        end = _end(sql, found.end(), _CLOSE[kind])
        if end is None:  # never closed: only the opening is taken out
            position = found.end()
            continue
        piece = Piece(kind, sql[found.end() : end].strip("-+ \t\r\n"))
        position = end + 2
        if piece.tag == "raw":
            close = _RAW_END.search(sql, position)
            yield Piece("", sql[position : close.start() if close else len(sql)])
            position = close.end() if close else len(sql)
        elif kind != "{#":
            yield piece
    yield Piece("", sql[position:])


def _end(sql: str, start: int, close: str) -> int | None:
    """Where the closing mark stands, outside of quotes if the quotes are balanced."""
    limit = min(start + _LONGEST_EXPRESSION, len(sql))
    plain = sql.find(close, start, limit)
    if plain < 0 or close == "#}":
        return plain if plain >= 0 else None
    body = _BODY.match(sql, start, limit)
    end = body.end() if body else start
    return end if end < limit and sql.startswith(close, end) else plain


def _branches(pieces: Sequence[Piece]) -> tuple[int, frozenset[int]]:
    """The largest number of branches of an `if`, and at which pieces the last branch of one begins."""
    most, lasts, open_ifs = 1, set[int](), list[list[int]]()
    for at, piece in enumerate(pieces):
        if piece.tag == "if":
            open_ifs.append([at])
        elif piece.tag in ("elif", "else") and open_ifs:
            open_ifs[-1].append(at)
        elif piece.tag == "endif" and open_ifs:
            starts = open_ifs.pop()
            most = max(most, len(starts))
            lasts.add(starts[-1])
    return most, frozenset(lasts)


def _render(pieces: Sequence[Piece], choice: int, lasts: frozenset[int]) -> str:
    """The statement with the branch of this number taken in each `if`, or its last one where it has fewer."""
    out, blocks = SqlText(), _Blocks(choice, lasts)
    for at, piece in enumerate(pieces):
        if piece.kind == "{%":
            blocks.enter(at, piece)
            out.add("" if blocks.hidden else " ")
        elif not blocks.hidden and piece.kind == "{{":
            following = pieces[at + 1]
            out.add_value("" if following.kind else following.text)
        elif not blocks.hidden:
            out.add(piece.text)
    return "".join(out.pieces)


class _Blocks:
    """Which of the blocks around the present place hide it."""

    def __init__(self, choice: int, lasts: frozenset[int]) -> None:
        self._choice, self._lasts = choice, lasts
        self._open: list[tuple[str, int, bool]] = []  # word, number of the branch, taken already
        self._visible: list[bool] = []
        self._hiding = 0

    @property
    def hidden(self) -> bool:
        """Whether text here is no part of the statement."""
        return self._hiding > 0

    def enter(self, at: int, piece: Piece) -> None:
        """Go past a tag."""
        word = piece.tag
        if word in ("if", "for", "macro") or (word == "set" and "=" not in piece.text):
            between = word == "if" and bool(_BETWEEN_ROUNDS.search(piece.text))
            visible = word == "for" or (word == "if" and self._choice == 0 and not between)
            self._push(word, 0, visible, visible)
        elif word in ("elif", "else") and self._open:
            block, number, taken = self._pop()
            number += 1
            chosen = block == "if" and not taken and (number >= self._choice or at in self._lasts)
            self._push(block, number, taken or chosen, chosen)
        elif word in ("endif", "endfor", "endmacro", "endset") and self._open:
            self._pop()

    def _push(self, word: str, number: int, taken: bool, visible: bool) -> None:
        self._open.append((word, number, taken))
        self._visible.append(visible)
        self._hiding += not visible

    def _pop(self) -> tuple[str, int, bool]:
        self._hiding -= not self._visible.pop()
        return self._open.pop()
