"""From a rendered text to a draft: comments gone, names and words written in, tokens numbered in their order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from services.query_executor.statement import TOKEN_PREFIX, Draft, Engine, Origin, Slot, token, token_index
from services.query_executor.template.filters import is_name
from services.query_executor.template.lexing import TOKEN, Lexeme, blank_comments, lex
from services.query_executor.template.search import quote_bare
from services.query_executor.template.values import Kind, Output, refuse, refuse_value

REMEMBERED: Final = 1024
REMEMBERED_LENGTH: Final = 8 * 1024  # longer texts are read anew: what is remembered has a bound


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token stands in the text: `written` if its value becomes part of the text."""

    index: int
    written: bool = False
    quote: str = ""
    inside: bool = False  # a name goes on to the left of it
    native: bool = False


@dataclass(frozen=True, slots=True)
class Outline:
    """`pieces` are the author's text, one more than there are places; `text` is the draft if nothing is written in."""

    pieces: tuple[str, ...]
    places: tuple[Place, ...]
    text: str | None


def drafted(engine: Engine, raw: str, outputs: Sequence[Output]) -> Draft:
    """The draft of a rendered text whose tokens are numbered as `outputs`."""
    if raw.lower().count(TOKEN_PREFIX) != len(outputs):
        raise refuse(f"The word {TOKEN_PREFIX!r} is reserved and cannot stand in a query.")
    kinds = tuple(output.kind for output in outputs)
    outline = (_outline if len(raw) <= REMEMBERED_LENGTH else _outline.__wrapped__)(engine, raw, kinds)
    slots = tuple(_slot(outputs[place.index].slot, place) for place in outline.places if not place.written)
    text = _text(outline, outputs) if outline.text is None else outline.text
    if text.lower().count(TOKEN_PREFIX) != len(slots):  # a name may have completed the author's text to a token
        raise refuse(f"The word {TOKEN_PREFIX!r} is reserved and cannot stand in a query.")
    return Draft(engine, text, slots)


@lru_cache(REMEMBERED)
def _outline(engine: Engine, raw: str, kinds: tuple[Kind, ...]) -> Outline:
    if engine is Engine.ELASTICSEARCH:
        text, natives = quote_bare(raw)
        places = {index: Place(index, kinds[index] is not Kind.VALUE and index in natives, native=index in natives)
                  for index in range(len(kinds))}  # fmt: skip
        if any(place.written for place in places.values()):
            raise refuse('In a search, `ident` and `one_of` stand inside quotes: {"{{ field|ident }}": 1}.')
    else:
        text = blank_comments(engine, raw)
        places = {place.index: place for lexeme in lex(engine, text) for place in _places(engine, lexeme, kinds)}
    return _cut(text, places)


def _cut(text: str, places: dict[int, Place]) -> Outline:
    pieces, found, position = list[str](), list[Place](), 0
    for match in TOKEN.finditer(text):
        pieces.append(text[position : match.start()])
        found.append(places[token_index(match[1])])
        position = match.end()
    pieces.append(text[position:])
    written = any(place.written for place in found)
    whole = "".join(piece + token(number) for number, piece in enumerate(pieces[:-1])) + pieces[-1]
    return Outline(tuple(pieces), tuple(found), None if written else whole)


def _places(engine: Engine, lexeme: Lexeme, kinds: Sequence[Kind]) -> list[Place]:
    slots = lexeme.slots
    if not slots:
        return []
    if lexeme.is_quoted_name:
        starts = [match.start() for match in TOKEN.finditer(lexeme.raw)]
        return [Place(slot, written=True, inside=start > 1) for slot, start in zip(slots, starts, strict=True)]
    if lexeme.slot is not None and kinds[lexeme.slot] is not Kind.VALUE:
        backtick = engine in (Engine.MYSQL, Engine.CLICKHOUSE)
        quote = ("`" if backtick else '"') if kinds[lexeme.slot] is Kind.NAME else ""
        return [Place(lexeme.slot, written=True, quote=quote)]
    return [Place(slot) for slot in slots]


def _slot(slot: Slot, place: Place) -> Slot:
    return replace(slot, native=True) if place.native else slot


def _text(outline: Outline, outputs: Sequence[Output]) -> str:
    pieces, number = [outline.pieces[0]], 0
    for place, piece in zip(outline.places, outline.pieces[1:], strict=True):
        if place.written:
            pieces += [place.quote, _written(outputs[place.index], place), place.quote, piece]
        else:
            pieces += [token(number), piece]
            number += 1
    return "".join(pieces)


def _written(output: Output, place: Place) -> str:
    slot = output.slot
    if output.kind is Kind.WORD and not place.inside and not place.quote:
        return str(slot.value)
    if slot.origin is Origin.SECRET:
        raise refuse("A secret cannot be a name.")
    value = str(slot.value) if not isinstance(slot.value, (tuple, type(None))) else ""
    if not is_name("_" + value if place.inside else value):
        raise refuse_value(slot, "A name has letters, digits, `_` and `$` and begins with a letter or `_`.")
    return value
