"""What goes into a template and what may come out of its filters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto
from typing import TypeAlias, TypeGuard

from services.query_executor.errors import QueryValidationError, invalid
from services.query_executor.statement import Origin, Scalar, Slot

Value: TypeAlias = Scalar | tuple[Scalar, ...]
FIELD = "query_text"


@dataclass(frozen=True, slots=True)
class Values:
    """All that one execution may put into its template."""

    parameters: Mapping[str, Value] = field(default_factory=dict, repr=False)
    secrets: Mapping[tuple[str, ...], Scalar] = field(default_factory=dict, repr=False)
    profile: Mapping[str, Scalar] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Joined:
    """A list that its author joined: still a list, so that a value can not add elements."""

    values: tuple[Scalar, ...] = field(repr=False)
    separator: str


@dataclass(frozen=True, slots=True)
class Json:
    """A value that its author asked for as JSON."""

    value: Value = field(repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a column or table, checked."""

    text: str


@dataclass(frozen=True, slots=True)
class Word:
    """One of the words that the author listed."""

    text: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """A value that a filter does not admit; told at its place, which knows the parameter's name."""

    message: str


class Kind(Enum):
    """How an output enters the statement: values travel beside it, names and words are written into it."""

    VALUE = auto()
    NAME = auto()
    WORD = auto()


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a render."""

    kind: Kind
    slot: Slot


def refuse(message: str) -> QueryValidationError:
    """The template breaks a rule."""
    return invalid(FIELD, message)


def refuse_value(slot: Slot, message: str) -> QueryValidationError:
    """A value breaks a rule; the field is the parameter's where it is one."""
    name = f"params.{slot.path}" if slot.origin is Origin.PARAMETER else FIELD
    return invalid(name, message)


def is_scalar(value: object) -> TypeGuard[Scalar]:
    """Whether a value can be one bind."""
    return value is None or isinstance(value, (str, int, float, Decimal))
