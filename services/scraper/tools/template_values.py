"""What stands in for the value of a template, by the place in the SQL where it would appear. Pure."""

import re
from dataclasses import dataclass, field
from typing import Final

# Stands in for a part of a name; no real name holds it.
MARK: Final = "__template__"

_OPENING: Final = re.compile(r"--|/\*|['\"`]")
_CLOSING: Final = {"--": "\n", "/*": "*/"}
_TAIL: Final = 200
_NAME_BEFORE: Final = re.compile(r"[\w.$\"`\]]\Z")
_NAME_AFTER: Final = re.compile(r"[\w.$(]")
_LAST_WORD: Final = re.compile(r"(\w+)\s+\Z")
_TABLE_WORDS: Final = frozenset({"from", "join", "into", "update", "table", "as", "describe", "view"})
_OPERAND_WORDS: Final = frozenset(
    {
        "select",
        "where",
        "and",
        "or",
        "on",
        "by",
        "having",
        "limit",
        "offset",
        "between",
        "like",
        "ilike",
        "then",
        "else",
    }
    | {"when", "case", "not", "distinct", "interval", "values", "set", "using", "all", "any", "some", "top", "qualify"}
    | {"rows", "is"}
)
_OPERATORS: Final = frozenset("=<>!+-*/%,([|&^~")


@dataclass(slots=True)
class SqlText:
    """SQL as it grows, and whether its end lies in a string, a quoted name or a comment."""

    pieces: list[str] = field(default_factory=list)
    _tail: str = ""
    _inside: str = ""

    def add(self, text: str) -> None:
        """Append SQL."""
        position = 0
        while position < len(text):
            if self._inside:
                close = _CLOSING.get(self._inside, self._inside)
                end = text.find(close, position)
                if end < 0:
                    break
                position, self._inside = end + len(close), ""
            else:
                found = _OPENING.search(text, position)
                if found is None:
                    break
                position, self._inside = found.end(), found[0]
        if text:
            self.pieces.append(text)
            self._tail = (self._tail + text[-_TAIL:])[-_TAIL:]

    def add_value(self, following: str) -> None:
        """Append what a parser takes for a template's value here; `following` is the text behind it."""
        self.add(self._value(following))

    def _value(self, following: str) -> str:
        if self._inside:
            return {"'": "1", "--": "", "/*": ""}.get(self._inside, MARK)
        before = _LAST_WORD.search(self._tail)
        word = before[1].lower() if before else ""
        if word in _TABLE_WORDS or _NAME_AFTER.match(following) or _NAME_BEFORE.search(self._tail):
            return MARK
        if word == "in":
            return "(1)"
        last = self._tail.rstrip()[-1:]
        # Anywhere else stands a whole clause, which may as well be absent.
        return "1" if word in _OPERAND_WORDS or last in _OPERATORS else ""
