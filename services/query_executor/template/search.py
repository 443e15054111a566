"""JSON with placeholders: a search, or a JSON literal in SQL. Values are put into the parsed document, so that none can
add a key or an element."""

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from services.query_executor.statement import Origin, Scalar, Slot, token_index
from services.query_executor.template.filters import text as as_text
from services.query_executor.template.lexing import TOKEN
from services.query_executor.template.values import refuse, refuse_value

MAX_DEPTH: Final = 60
# A string that never ends is taken to the end, so that no second try begins inside it.
QUOTED: Final = r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)'
_PART: Final = re.compile(rf"{QUOTED}|{TOKEN.pattern}", re.DOTALL)
_FIELD: Final = re.compile(r"[A-Za-z_@][A-Za-z0-9_.@-]{0,254}\Z")
BETWEEN_QUOTED: Final = re.compile(r'"\s*,\s*"\Z')
_BETWEEN: Final = re.compile(r"\s*,\s*\Z")


class NotJson(ValueError):
    """The text is no JSON."""


def quote_bare(text: str) -> tuple[str, frozenset[int]]:
    """The text with quotes around the tokens that stand outside of quotes, and the slots of those."""
    bare = set[int]()

    def quoted(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        bare.add(token_index(match[1]))
        return f'"{match[0]}"'

    return _PART.sub(quoted, text), frozenset(bare)


def parse(text: str) -> Any:
    """The document. Raises NotJson, and QueryValidationError for a key that is written twice."""
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise refuse("The JSON is too deeply nested.") from None
    except ValueError as error:
        raise NotJson(str(error)) from None
    return document


def filled(document: Any, slots: Sequence[Slot], natives: frozenset[int], depth: int = 0) -> Any:
    """A new document with the values in place of their tokens."""
    if depth > MAX_DEPTH:
        raise refuse("The JSON is too deeply nested.")
    if isinstance(document, dict):
        pairs = [(_key(key, slots), filled(value, slots, natives, depth + 1)) for key, value in document.items()]
        return _object(pairs)
    if isinstance(document, list):
        return [value for element in document for value in _elements(element, slots, natives, depth + 1)]
    return _text(document, slots, natives) if isinstance(document, str) else document


def _elements(element: Any, slots: Sequence[Slot], natives: frozenset[int], depth: int) -> Iterator[Any]:
    """A list that stands as an element gives its own elements."""
    match = TOKEN.fullmatch(element) if isinstance(element, str) else None
    slot = slots[token_index(match[1])] if match else None
    if slot is None or not isinstance(slot.value, tuple):
        yield filled(element, slots, natives, depth)
    elif token_index(match[1]) in natives:  # type: ignore[index]
        yield from _list(slot)
    elif slot.separator is not None and BETWEEN_QUOTED.match(slot.separator):
        yield from (_string(slot, value) for value in slot.value)
    else:
        yield filled(element, slots, natives, depth)


def _text(text: str, slots: Sequence[Slot], natives: frozenset[int]) -> Any:
    match = TOKEN.fullmatch(text)
    if match is None:
        return TOKEN.sub(lambda found: inside(slots[token_index(found[1])]), text)
    slot = slots[token_index(match[1])]
    if token_index(match[1]) in natives:
        return _list(slot) if isinstance(slot.value, tuple) else _native(slot.value)
    return None if slot.value is None else inside(slot)


def inside(slot: Slot) -> str:
    """A value as a part of a longer text."""
    if slot.json:
        return json_text(slot)
    if slot.value is None:
        raise refuse_value(slot, "This value cannot be null: it is a part of a longer text.")
    if isinstance(slot.value, tuple):
        if slot.separator is None:
            raise refuse_value(slot, "A list cannot stand inside quotes; write it without quotes, or join it.")
        if "'" in slot.separator:
            raise refuse("A list joined with \"','\" fills a literal of its own: IN ('{{ ids|join(\"','\") }}').")
        return slot.separator.join(_string(slot, value) for value in slot.value)
    return as_text(slot.value)


def json_text(slot: Slot) -> str:
    """A value as JSON."""
    return json.dumps(_list(slot) if isinstance(slot.value, tuple) else _native(slot.value), ensure_ascii=False)


def _string(slot: Slot, value: Scalar) -> str:
    if value is None:
        raise refuse_value(slot, "A list inside quotes cannot hold null.")
    return as_text(value)


def _list(slot: Slot) -> list[Any]:
    assert isinstance(slot.value, tuple)
    if slot.separator is not None and not _BETWEEN.match(slot.separator):
        raise refuse("A list outside quotes is written {{ ids }} or joined with ','.")
    return [_native(value) for value in slot.value]


def _native(value: Scalar | tuple[Scalar, ...]) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _key(key: str, slots: Sequence[Slot]) -> str:
    if not TOKEN.search(key):
        return key
    for match in TOKEN.finditer(key):
        slot = slots[token_index(match[1])]
        if slot.origin is Origin.SECRET:
            raise refuse("A secret cannot be a key.")
        if not isinstance(slot.value, str) or not _FIELD.match("_" + slot.value):
            raise refuse_value(slot, "A key is the name of a field: letters, digits, `_`, `.`, `@` and `-`.")
    return TOKEN.sub(lambda found: str(slots[token_index(found[1])].value), key)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = dict(pairs)
    if len(document) < len(pairs):
        raise refuse("A key is written twice in one JSON object.")
    return document


def _refuse_constant(name: str) -> Any:
    raise NotJson(name)
