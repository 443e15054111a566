"""Tokens of anonymised text, and the names that WITH introduces in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from libs.common.sql.dialects import TRAITS, Dialect
from libs.common.sql.names import fold


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    word: str
    quoted: bool


def tokenise(text: str, dialect: Dialect) -> list[Token]:
    """Names, words and single signs of an anonymised statement."""
    found = []
    for match in _words(dialect, signs=True).finditer(text):
        piece = match[0]
        quoted = piece[0] in TRAITS[dialect].identifiers and len(piece) > 1
        found.append(Token(_unquoted(piece) if quoted else piece, "" if quoted else piece.lower(), quoted))
    return found


def plain_words(text: str, dialect: Dialect) -> set[str]:
    """What stands in a statement as a word or within simple quotes, part by part, case folded."""
    found = set(_words(dialect, signs=False).findall(text.casefold()))
    quotes = TRAITS[dialect].identifiers
    for piece in [piece for piece in found if piece[0] in quotes]:
        found.update((piece[1:-1], *piece[1:-1].split(".")))
    return found


@cache
def _words(dialect: Dialect, *, signs: bool) -> re.Pattern[str]:
    traits = TRAITS[dialect]
    dashed = r"(?:-[\w$]+)*+" if traits.dashed_names else ""
    sign = r"|\S" if signs else ""
    return re.compile(rf"{traits.quoted}|[\w$#@]+{dashed}{sign}", re.DOTALL)


def _unquoted(piece: str) -> str:
    close = "]" if piece[0] == "[" else piece[0]
    return piece[1:-1].replace(close * 2, close)


@dataclass(frozen=True, slots=True)
class Hiding:
    """Where a name that WITH introduces hides a table: from one token to another."""

    start: int
    end: int


def common_names(tokens: Sequence[Token], closes: Mapping[int, int], dialect: Dialect) -> dict[str, list[Hiding]]:
    """The names that WITH introduces, each with the stretches of tokens where it hides a table."""
    found: dict[str, list[Hiding]] = {}
    opened, recursive = [0], [False]
    for at, token in enumerate(tokens[:-1]):
        if token.quoted:
            continue
        if token.text == "(":
            opened.append(at)
            recursive.append(False)
        elif token.text == ")" and len(opened) > 1:
            opened.pop()
            recursive.pop()
        elif token.word == "with":
            recursive[-1] = tokens[at + 1].word == "recursive"
        if token.word in {"with", "recursive", ","} and (body := _cte_body(tokens, at + 1, closes)) is not None:
            name = fold(tokens[at + 1].text, tokens[at + 1].quoted, dialect)
            start = opened[-1] if recursive[-1] else closes.get(body, len(tokens))
            end = closes.get(opened[-1], len(tokens)) if len(opened) > 1 else len(tokens)
            found.setdefault(name, []).append(Hiding(start, end))
    return found


def _cte_body(tokens: Sequence[Token], at: int, closes: Mapping[int, int]) -> int | None:
    """The opening parenthesis of `name [(columns)] AS [NOT] [MATERIALIZED] (`, or None."""
    after = at + 1
    if after < len(tokens) and tokens[after].text == "(":
        after = closes.get(after, len(tokens)) + 1
    if after >= len(tokens) or tokens[after].word != "as":
        return None
    after += 1
    while after < len(tokens) and tokens[after].word in {"not", "materialized"}:
        after += 1
    return after if after < len(tokens) and tokens[after].text == "(" else None


def closing(tokens: Sequence[Token]) -> dict[int, int]:
    """The closing parenthesis of each opening one."""
    stack: list[int] = []
    closes: dict[int, int] = {}
    for at, token in enumerate(tokens):
        if token.quoted:
            continue
        if token.text == "(":
            stack.append(at)
        elif token.text == ")" and stack:
            closes[stack.pop()] = at
    return closes
