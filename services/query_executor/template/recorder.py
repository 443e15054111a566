"""What one render puts out: a token in the text for each value, the value beside it."""

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from jinja2.runtime import Undefined

from services.query_executor.statement import TOKEN_PREFIX, Origin, Scalar, Slot, token
from services.query_executor.template.filters import bounded, items
from services.query_executor.template.rewrite import Site
from services.query_executor.template.values import (
    Joined,
    Json,
    Kind,
    Name,
    Output,
    Unfit,
    Value,
    Values,
    Word,
    is_scalar,
    refuse,
)
from services.query_executor.template.values import refuse_value as refuse_slot

RECORDER: Final = "_recorder"
MAX_OUTPUTS: Final = 10_000
MAX_ELEMENTS: Final = 20_000
MAX_SECONDS: Final = 2.0
MAX_SIZE: Final = 10_000_000
_BIGGEST: Final = 10**60


class Token(str):
    """Stands for an output in the text of one render."""

    __slots__ = ()


class Recorder:
    """Takes the outputs of one render. `missing` collects the parameters that were needed and not given."""

    def __init__(self, sites: Sequence[Site], values: Values) -> None:
        self.outputs: list[Output] = []
        self.missing: list[str] = []
        self.prefix = TOKEN_PREFIX + secrets.token_hex(8)
        self._sites = sites
        self._values = values
        self._elements = 0
        self._size = 0
        self._deadline = time.monotonic() + MAX_SECONDS

    def output(self, value: Any, site: int) -> Token:
        """The token that stands for a value."""
        place = self._sites[site]
        if isinstance(value, Undefined):
            self.missing.append(place.path)
            return self._token(Kind.VALUE, Slot(None, place.origin, place.path))
        if isinstance(value, Unfit):
            raise refuse_slot(Slot(None, place.origin, place.path), value.message)
        if isinstance(value, (Name, Word)):
            kind = Kind.NAME if isinstance(value, Name) else Kind.WORD
            return self._token(kind, Slot(value.text, place.origin, place.path))
        return self._token(Kind.VALUE, _slot(value, place))

    def secret(self, site: int) -> Token:
        """The token that stands for a secret: its value has never been in the template."""
        place = self._sites[site]
        if place.secret not in self._values.secrets:
            raise refuse(f"There is no {place.path}.")
        return self._token(Kind.VALUE, Slot(self._values.secrets[place.secret], Origin.SECRET, place.path))

    def stray(self, value: Any) -> Token:
        """The token of an output that the rewriting did not foresee."""
        return self._token(Kind.VALUE, _slot(value, Site("an expression", Origin.PARAMETER)))

    def elements(self, value: Any, path: str) -> Iterator[Scalar]:
        """A loop's elements, counted over the whole render."""
        for element in items(value):
            self._elements += 1
            if self._elements > MAX_ELEMENTS:
                raise refuse(f"The loops of a template may take at most {MAX_ELEMENTS} turns.")
            self.check_time()
            yield element

    def check_time(self) -> None:
        """Refuse a template that takes too long."""
        if time.monotonic() > self._deadline:
            raise refuse("The template took too long.")

    def _token(self, kind: Kind, slot: Slot) -> Token:
        if len(self.outputs) >= MAX_OUTPUTS:
            raise refuse(f"A template may put out at most {MAX_OUTPUTS} values.")
        self._size += sum(map(_size, slot.value)) if isinstance(slot.value, tuple) else _size(slot.value)
        if self._size > MAX_SIZE:
            raise refuse(f"The values of a query may have at most {MAX_SIZE} characters in all.")
        self.outputs.append(Output(kind, slot))
        return Token(token(len(self.outputs) - 1).replace(TOKEN_PREFIX, self.prefix, 1))


def _size(value: Scalar) -> int:
    return len(value) if isinstance(value, str) else 1


def _slot(value: Any, place: Site) -> Slot:
    if isinstance(value, Json):
        return Slot(_checked(value.value, place), place.origin, place.path, json=True)
    if isinstance(value, Joined):
        return Slot(_checked(value.values, place), place.origin, place.path, separator=value.separator)
    return Slot(_checked(value, place), place.origin, place.path)


def _checked(value: Any, place: Site) -> Value:
    if isinstance(value, (list, tuple)) and all(map(is_scalar, value)):
        return tuple(_checked(element, place) for element in value)  # type: ignore[misc]
    if not is_scalar(value):
        raise refuse_slot(
            Slot(None, place.origin, place.path), "A value is a text, a number, a boolean, null or a list."
        )
    if isinstance(value, str):
        if "\0" in value:
            raise refuse_slot(Slot(None, place.origin, place.path), "A value cannot hold the character NUL.")
        return bounded(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise refuse_slot(Slot(None, place.origin, place.path), "A number must be finite.")
    if isinstance(value, int) and not -_BIGGEST < value < _BIGGEST:
        raise refuse_slot(Slot(None, place.origin, place.path), "A whole number has at most 60 digits.")
    return value
