"""What stands around each placeholder: its neighbours, the bracket around it, the clause that it is an item of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from sqlglot import TokenType

from services.query_executor.template.lexing import Lexeme

_OPENERS: Final = {"(": ")", "[": "]", "{": "}"}
_CLAUSE_ENDS: Final = frozenset(
    [
        "LIMIT",
        "OFFSET",
        "HAVING",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "WINDOW",
        "FETCH",
        "FOR",
        "ROWS",
        "RANGE",
        "GROUPS",
        "WHERE",
        "SELECT",
        "FROM",
        "QUALIFY",
        "SETTINGS",
    ]
)
_NOT_ENDS: Final = frozenset(
    ["AND", "OR", "WHERE", "ON", "THEN", "WHEN", "HAVING", "SELECT", ",", "ELSE", "CASE", "END"]
)
_NOT_OF_OPERATOR: Final = frozenset(["IN", "LIKE", "ILIKE", "BETWEEN", "NULL", "SIMILAR", "REGEXP", "RLIKE"])


class Bracket(Enum):
    """What opened the bracket around a placeholder."""

    NONE = auto()
    GROUP = auto()
    IN = auto()
    ANY = auto()
    CALL = auto()
    ARRAY = auto()


@dataclass(slots=True)
class Frame:
    """An open bracket. `negated`: whether a NOT stands before it or before what it belongs to."""

    bracket: Bracket
    negated: bool
    pending_not: bool = False
    clause: str = ""
    empty: bool = True


@dataclass(frozen=True, slots=True)
class Context:
    """A lexeme with a placeholder, and what is around it."""

    lexeme: Lexeme
    before: Sequence[Lexeme]
    after: Sequence[Lexeme]
    bracket: Bracket
    negated: bool
    clause: str

    @property
    def previous(self) -> str:
        """The word before, in upper case."""
        return self.before[-1].word if self.before else ""

    @property
    def following(self) -> str:
        """The word after, in upper case."""
        return self.after[0].word if self.after else ""


def contexts(lexemes: Sequence[Lexeme]) -> Iterator[Context]:
    """One context for each lexeme that holds a placeholder."""
    frames = [Frame(Bracket.NONE, negated=False)]
    for number, lexeme in enumerate(lexemes):
        if lexeme.slots:
            frame = frames[-1]
            before, after = lexemes[max(0, number - 4) : number], lexemes[number + 1 : number + 5]
            negated = frame.negated or _negates(before) or frame.pending_not
            yield Context(lexeme, before, after, frame.bracket, negated, frame.clause)
        _step(frames, lexemes, number)


def _step(frames: list[Frame], lexemes: Sequence[Lexeme], number: int) -> None:
    word, frame = lexemes[number].word, frames[-1]
    if word in _OPENERS:
        frames.append(_opened(frame, lexemes[max(0, number - 2) : number], word))
    elif word in _OPENERS.values() and len(frames) > 1:
        frames.pop()
    elif lexemes[number].kind in (TokenType.ORDER_BY, TokenType.GROUP_BY):
        frame.clause = word.split()[0]
    elif word in _CLAUSE_ENDS:
        frame.clause = ""
    if word == "SELECT":
        frame.negated = frame.negated and not frame.empty
    if word == "NOT":
        frame.pending_not = number + 1 < len(lexemes) and lexemes[number + 1].word not in _NOT_OF_OPERATOR
    elif word in _NOT_ENDS:
        frame.pending_not = False
    frame.empty = frame.empty and word in _OPENERS


def _opened(outer: Frame, before: Sequence[Lexeme], opener: str) -> Frame:
    last = before[-1] if before else None
    negated = outer.negated or outer.pending_not or _negates(before)
    if opener == "[":
        return Frame(Bracket.ARRAY, negated)
    if last is None:
        return Frame(Bracket.GROUP, negated)
    if last.word == "IN":
        return Frame(Bracket.IN, negated)
    if last.word in ("ANY", "ALL", "SOME"):
        return Frame(Bracket.ANY, negated)
    is_call = last.kind is TokenType.VAR or last.is_quoted_name or (last.raw.isidentifier() and not last.word.isspace())
    return Frame(Bracket.CALL if is_call else Bracket.GROUP, negated)


def _negates(before: Sequence[Lexeme]) -> bool:
    words = [lexeme.word for lexeme in before[-2:]]
    return words[-2:] == ["NOT", "IN"] or words[-1:] == ["NOT"]
