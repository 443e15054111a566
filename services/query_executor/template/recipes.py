"""How each kind of place is filled with the values of one call."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from services.query_executor.statement import Bind, Origin, Scalar, Slot
from services.query_executor.template.context import Bracket
from services.query_executor.template.filters import Dummy
from services.query_executor.template.filters import text as as_text
from services.query_executor.template.nested import Grammar
from services.query_executor.template.search import inside, json_text
from services.query_executor.template.typed import Typed
from services.query_executor.template.values import refuse_value

_BETWEEN: Final = re.compile(r"\s*,\s*\Z")
_BETWEEN_QUOTED: Final = re.compile(r"'\s*,\s*'\Z|\"\s*,\s*\"\Z")
_NUMBER: Final = re.compile(r"\s*[+-]?\d{1,18}(?:\.\d{1,9})?\s*\Z")
_NO_LIST: Final = (
    "A list cannot stand here; it may stand in IN ({{ ids }}), in a function's arguments or in ARRAY[{{ ids }}]."
)
_NO_EMPTY: Final = "This list cannot be empty here."
_EMPTY_NOT_IN: Final = (
    "This list cannot be empty: NOT IN an empty list holds for every row; leave the condition out instead."
)


class Writer:
    """Collects the statement's pieces and the binds between them."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots
        self._parts = [""]
        self._binds = list[Bind]()

    def text(self, text: str) -> None:
        """Text of the author's."""
        self._parts[-1] += text

    def bind(self, slot: Slot, value: Scalar, *, cast: str | None = None, quoted: bool) -> None:
        """One value; null is written as a word."""
        if isinstance(value, str) and "\0" in value:
            raise refuse_value(slot, "A value cannot hold the character NUL.")
        if value is None:
            self.text(f"CAST(NULL AS {cast})" if cast else "NULL")
            return
        self._binds.append(Bind(value, slot.origin, slot.path, cast, quoted))
        self._parts.append("")

    def binds(self, slot: Slot, values: Sequence[Scalar], *, quoted: bool) -> None:
        """Several values with commas between them."""
        for number, value in enumerate(values):
            if number:
                self.text(", ")
            self.bind(slot, value, quoted=quoted)

    def done(self) -> tuple[tuple[str, ...], tuple[Bind, ...]]:
        """Parts and binds."""
        return tuple(self._parts), tuple(self._binds)


class Recipe(Protocol):
    """Fills one place of a statement."""

    def write(self, writer: Writer) -> None:
        """Write the place with the call's values."""


@dataclass(frozen=True, slots=True)
class Bare:
    """A placeholder without quotes. `place`: the bracket that a list would fill."""

    slot: int
    place: Bracket | None
    negated: bool
    number: bool

    def write(self, writer: Writer) -> None:
        """One bind, or one for each element of a list."""
        slot = writer.slots[self.slot]
        if slot.json:
            writer.bind(slot, json_text(slot), quoted=True)
        elif isinstance(slot.value, tuple):
            if slot.separator is not None and not _BETWEEN.match(slot.separator):
                raise refuse_value(slot, "A list outside quotes is written {{ ids }} or joined with ','.")
            _write_list(writer, slot, self.place, negated=self.negated, quoted=False)
        else:
            writer.bind(slot, _whole_number(slot) if self.number else slot.value, quoted=False)


@dataclass(frozen=True, slots=True)
class Quoted:
    """A literal that is one placeholder and nothing else."""

    slot: int
    kind: Typed
    place: Bracket | None
    negated: bool

    def write(self, writer: Writer) -> None:
        """One bind with the value as it is, or one for each element of a list that may stand here."""
        slot = writer.slots[self.slot]
        if slot.json:
            writer.bind(slot, json_text(slot), cast=self.kind.cast, quoted=True)
        elif isinstance(slot.value, tuple):
            if slot.separator is not None and not _BETWEEN_QUOTED.match(slot.separator):
                writer.bind(slot, inside(slot), cast=self.kind.cast, quoted=True)
            else:
                _write_list(writer, slot, self.place, negated=self.negated, quoted=True)
        elif self.kind.number:
            writer.bind(slot, _whole_number(slot), quoted=False)
        elif self.kind.unit and slot.value is not None:
            writer.bind(slot, f"{_spelled_number(slot)} {self.kind.unit}", cast=self.kind.cast, quoted=True)
        else:
            writer.bind(slot, slot.value, cast=self.kind.cast, quoted=True)


@dataclass(frozen=True, slots=True)
class Composed:
    """A literal with text around its placeholders, or with several of them. A secret among them makes it secret."""

    slots: tuple[int, ...]
    grammar: Grammar
    kind: Typed

    def write(self, writer: Writer) -> None:
        """One bind with the whole text."""
        own = [writer.slots[number] for number in self.slots]
        secret = [slot for slot in own if slot.origin is Origin.SECRET]
        slot = (secret or own)[0]
        value = self.grammar.text(writer.slots)
        if self.kind.number:
            slot = Slot(value, slot.origin, slot.path)
            writer.bind(slot, _whole_number(slot), quoted=False)
        else:
            unit = f" {self.kind.unit}" if self.kind.unit else ""
            writer.bind(slot, value + unit, cast=self.kind.cast, quoted=True)


def _write_list(writer: Writer, slot: Slot, place: Bracket | None, *, negated: bool, quoted: bool) -> None:
    assert isinstance(slot.value, tuple)
    if place is None:
        raise refuse_value(slot, _NO_LIST)
    is_in = place in (Bracket.IN, Bracket.NONE)
    if not slot.value and place is not Bracket.ARRAY:
        if negated or not is_in:
            raise refuse_value(slot, _EMPTY_NOT_IN if is_in else _NO_EMPTY)
        writer.text("(NULL)" if place is Bracket.NONE else "NULL")
        return
    writer.text("(" if place is Bracket.NONE else "")
    writer.binds(slot, slot.value, quoted=quoted)
    writer.text(")" if place is Bracket.NONE else "")


def _spelled_number(slot: Slot) -> str:
    spelled = "1" if isinstance(slot.value, Dummy) else as_text(slot.value)
    if not _NUMBER.match(spelled):
        raise refuse_value(slot, "A number belongs here.")
    return spelled.strip()


def _whole_number(slot: Slot) -> int | None:
    if slot.value is None:
        return None
    spelled = _spelled_number(slot)
    if "." in spelled:
        raise refuse_value(slot, "A whole number belongs here.")
    return int(spelled)
