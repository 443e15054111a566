"""Literals that have a grammar of their own: JSON, Postgres arrays and ranges, paths. A value fills one place of it and
can add neither keys nor elements."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from services.query_executor.statement import Engine, Slot, token
from services.query_executor.template.filters import text as as_text
from services.query_executor.template.search import BETWEEN_QUOTED, QUOTED, NotJson, filled, inside, parse, quote_bare
from services.query_executor.template.values import refuse, refuse_value

Pieces = tuple[str | int, ...]
_POSTGRES: Final = (Engine.POSTGRES, Engine.REDSHIFT, Engine.INTERNAL)
_QUOTED: Final = re.compile(QUOTED, re.DOTALL)
_PATH: Final = re.compile(r"\s*(?:strict|lax)?\s*\$[.\[]", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Za-z0-9_]+\Z")
_PLAIN_ELEMENT: Final = re.compile(r"[A-Za-z0-9_.:+-]+\Z")


class Grammar(Protocol):
    """How values fill a literal."""

    def text(self, slots: Sequence[Slot]) -> str:
        """The literal's text with the values in place."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Text without structure."""

    pieces: Pieces

    def text(self, slots: Sequence[Slot]) -> str:
        """Prefix, values and suffix, one after the other."""
        return "".join(piece if isinstance(piece, str) else inside(slots[piece]) for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Path:
    """A JSON path: a value is one word of it."""

    pieces: Pieces

    def text(self, slots: Sequence[Slot]) -> str:
        """As plain text, of words only."""
        for piece in self.pieces:
            if isinstance(piece, int) and not _WORD.match(inside(slots[piece])):
                raise refuse_value(slots[piece], "Inside a JSON path a value is one word of letters, digits and `_`.")
        return Plain(self.pieces).text(slots)


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON document; `natives` are the slots that stand outside its quotes."""

    document: object
    natives: frozenset[int]

    def text(self, slots: Sequence[Slot]) -> str:
        """The document with the values as its strings and scalars."""
        return json.dumps(filled(self.document, slots, self.natives), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Element:
    """One element of an array literal, quoted by the author or not."""

    pieces: Pieces
    quoted: bool

    def text(self, slots: Sequence[Slot]) -> str:
        """The element, in quotes if it must be."""
        if len(self.pieces) > 1 or isinstance(self.pieces[0], str):
            return _element(Plain(self.pieces).text(slots))
        slot = slots[self.pieces[0]]
        if isinstance(slot.value, tuple) and (not self.quoted or BETWEEN_QUOTED.match(slot.separator or "")):
            return ",".join("NULL" if value is None else _element(as_text(value)) for value in slot.value)
        return "NULL" if slot.value is None and not self.quoted else _element(inside(slot))


@dataclass(frozen=True, slots=True)
class Array:
    """A Postgres array, range or row literal."""

    parts: tuple[str | Element, ...]

    def text(self, slots: Sequence[Slot]) -> str:
        """The author's structure around quoted elements."""
        return "".join(part if isinstance(part, str) else part.text(slots) for part in self.parts)


def grammar(engine: Engine, pieces: Pieces, *, is_range: bool = False) -> Grammar:
    """How a literal with text around its slots is to be filled."""
    written = "".join(piece if isinstance(piece, str) else token(piece) for piece in pieces).strip()
    if _PATH.match(written):
        return Path(pieces)
    if engine in _POSTGRES and "=>" in written:
        raise refuse("A placeholder cannot stand in an hstore literal; write hstore('key', '{{ value }}').")
    if written[:1] in "{[" and written[-1:] in "}]":
        try:
            quoted, natives = quote_bare(written)
            return Json(parse(quoted), natives)
        except NotJson:
            pass
    if engine in _POSTGRES and (is_range or (written[:1] == "{" and _closes_last(written))):
        return Array(_parts(pieces, "[]()," if is_range else "{},"))
    if engine is Engine.CLICKHOUSE and written[:1] == "[" and written[-1:] == "]":
        raise refuse("A placeholder cannot stand in a quoted array; write [{{ a }}, {{ b }}] or [{{ list }}].")
    return Plain(pieces)


def _closes_last(written: str) -> bool:
    depth = 0
    for position, character in enumerate(_QUOTED.sub(lambda match: "x" * len(match[0]), written)):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return position == len(written) - 1
    return False


def _parts(pieces: Pieces, structure: str) -> tuple[str | Element, ...]:
    """The literal cut into structure and elements."""
    parts, element, quoted = list[str | Element](), list[str | int](), False
    for piece in pieces:
        for unit in re.findall(r"\\.|.", piece, re.DOTALL) if isinstance(piece, str) else [piece]:
            if unit == '"':
                parts += _flushed(element, quoted=quoted)
                quoted = not quoted
            elif isinstance(unit, str) and unit in structure and not quoted:
                parts += [*_flushed(element, quoted=False), unit]
            else:
                element.append(unit if isinstance(unit, int) else unit[-1])
    return (*parts, *_flushed(element, quoted=False))


def _flushed(element: list[str | int], *, quoted: bool) -> list[str | Element]:
    """What has gathered since the last border, and nothing gathered from now on."""
    joined = list[str | int]()
    for unit in element:
        if joined and isinstance(unit, str) and isinstance(joined[-1], str):
            joined[-1] += unit
        else:
            joined.append(unit)
    element.clear()
    if not quoted:
        joined = _stripped(joined)
    if not joined and not quoted:
        return []
    if all(isinstance(unit, str) for unit in joined):
        whole = "".join(map(str, joined))
        return [whole if not quoted else _quoted(whole)]
    return [Element(tuple(joined), quoted)]


def _stripped(units: list[str | int]) -> list[str | int]:
    if units and isinstance(units[0], str):
        units[0] = units[0].lstrip()
    if units and isinstance(units[-1], str):
        units[-1] = units[-1].rstrip()
    return [unit for unit in units if unit != ""]


def _element(value: str) -> str:
    return value if _PLAIN_ELEMENT.match(value) and value.upper() != "NULL" else _quoted(value)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
