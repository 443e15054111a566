"""How values reach Postgres: as text, converted by the input function of the type that the server expects.

The statement is prepared once to learn those types, and its text written with `(($1::text)::type)` from then on.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import asyncpg

from libs.common.db import Connection
from services.query_executor.statement import Bind, Bound, Scalar

_WHICH: Final = re.compile(r"parameter \$(\d+)")
_INTEGER: Final = 2**31
_BIGINT: Final = 2**63
_REMEMBERED: Final = 256
# The same value at two places may need two types, or one that the server can not guess.
_UNDECIDED: Final = (
    asyncpg.AmbiguousFunctionError,
    asyncpg.AmbiguousParameterError,
    asyncpg.DatatypeMismatchError,
    asyncpg.IndeterminateDatatypeError,
    asyncpg.UndefinedFunctionError,
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A text for the server, and the bind that stands for each of its parameters."""

    text: str
    places: tuple[int, ...]
    with_settings: str  # the same, where values are read from settings of the transaction

    def arguments(self, bound: Bound) -> list[str | None]:
        """Values in the order of the parameters, as text."""
        return [as_text(bound.binds[place].value) for place in self.places]


def as_text(value: Scalar) -> str | None:
    """As the server's input functions read it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _numbered(binds: Sequence[Bind], *, shared: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The number of each bind from 1, and for each number the first bind that has it."""
    known: dict[object, int] = {}
    places = list[int]()
    numbers = list[int]()
    for place, bind in enumerate(binds):
        key = (type(bind.value), bind.value, bind.cast, bind.quoted) if shared else place
        if key not in known:
            known[key] = len(known) + 1
            places.append(place)
        numbers.append(known[key])
    return tuple(numbers), tuple(places)


def _written(parts: Sequence[str], placeholders: Sequence[str]) -> str:
    pieces = [parts[0]]
    for placeholder, part in zip(placeholders, parts[1:], strict=True):
        pieces += [placeholder, part]
    return "".join(pieces)


def natural_type(bind: Bind) -> str:
    """What a value is, where the server can not tell: a quoted one is text."""
    value = bind.value
    if bind.cast is not None:
        return bind.cast
    if bind.quoted or value is None or isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        if -_INTEGER <= value < _INTEGER:
            return "integer"
        return "bigint" if -_BIGINT <= value < _BIGINT else "numeric"
    return "numeric" if isinstance(value, Decimal) else "double precision"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def type_name(kind: asyncpg.Type, bind: Bind) -> str:
    """A type as a cast names it."""
    if kind.name in ("text", "unknown"):
        return natural_type(bind)
    element, array = (kind.name[:-2], "[]") if kind.name.endswith("[]") else (kind.name, "")
    return f"{_quoted(kind.schema)}.{_quoted(element)}{array}"


def converted(number: int, kind: str, text: str = "text") -> str:
    """A parameter that travels as text. The brackets are for places that take one term (`FETCH FIRST ($1) ROWS`)."""
    return f"((${number}::{text})::{kind})" if kind != "text" else f"(${number}::{text})"


def setting_name(number: int) -> str:
    """The setting that holds a parameter where a statement takes none."""
    return f"tidemark.p{number}"


def _from_setting(number: int, kind: str) -> str:
    return f"((current_setting('{setting_name(number)}'))::{kind})"


class Binding:
    """Learns types, once for a statement; forgets those of the statement that was used longest ago. `text` is the
    server's type for texts of any length."""

    def __init__(self, text: str = "text") -> None:
        self._text = text
        self._known: OrderedDict[tuple[object, ...], Prepared] = OrderedDict()

    async def prepared(self, connection: Connection, bound: Bound) -> Prepared:
        """The text to run. Raises what the server says of the statement."""
        if not bound.binds:
            return Prepared(bound.parts[0], (), bound.parts[0])
        key = _key(bound)
        known = self._known.get(key)
        if known is None:
            known = await _learned(connection, bound, self._text)
            self._known[key] = known
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known

    def forget(self, bound: Bound) -> bool:
        """The server's objects may have changed since; whether anything was remembered."""
        return self._known.pop(_key(bound), None) is not None


def _key(bound: Bound) -> tuple[object, ...]:
    numbers, _ = _numbered(bound.binds, shared=True)
    return bound.parts, numbers, tuple((bind.cast, natural_type(bind)) for bind in bound.binds)


async def _learned(connection: Connection, bound: Bound, text: str) -> Prepared:
    """Try with shared numbers, then with a number each, then with what each value is."""
    first: asyncpg.PostgresError | None = None
    for shared in (True, False):
        numbers, places = _numbered(bound.binds, shared=shared)
        try:
            return await _with_numbers(connection, bound, numbers, places, text)
        except _UNDECIDED as error:
            first = first or error
            if len(places) == len(bound.binds):
                break
    assert first is not None
    raise first


async def _with_numbers(
    connection: Connection, bound: Bound, numbers: tuple[int, ...], places: tuple[int, ...], text_type: str
) -> Prepared:
    """The server's own types, but for parameters that it can not decide."""
    fixed = {number: bind.cast for number, bind in _binds(bound, places) if bind.cast is not None}
    while True:
        text = _written(bound.parts, [_first_form(number, fixed, text_type) for number in numbers])
        try:
            kinds = (await connection.prepare(text)).get_parameters()
            break
        except _UNDECIDED as error:
            undecided = _undecided(error, bound, places) - fixed.keys()
            if not undecided:
                raise
            fixed |= {number: natural_type(bound.binds[places[number - 1]]) for number in undecided}
    names = {number: fixed.get(number) or type_name(kinds[number - 1], bind) for number, bind in _binds(bound, places)}
    return Prepared(
        _written(bound.parts, [converted(number, names[number], text_type) for number in numbers]),
        places,
        _written(bound.parts, [_from_setting(number, names[number]) for number in numbers]),
    )


def _binds(bound: Bound, places: Sequence[int]) -> list[tuple[int, Bind]]:
    return [(number, bound.binds[place]) for number, place in enumerate(places, 1)]


def _first_form(number: int, fixed: dict[int, str], text_type: str) -> str:
    return converted(number, fixed[number], text_type) if number in fixed else f"${number}"


def _undecided(error: asyncpg.PostgresError, bound: Bound, places: Sequence[int]) -> set[int]:
    """The parameter that the message names, else all."""
    named = _WHICH.search(str(error)) if isinstance(error, asyncpg.IndeterminateDatatypeError) else None
    return {int(named[1])} if named else {number for number, _ in _binds(bound, places)}
