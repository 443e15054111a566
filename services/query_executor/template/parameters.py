"""The parameters of a call: read against their declarations, or as plain values where there are none."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from services.query_executor.errors import QueryValidationError
from services.query_executor.statement import Scalar
from services.query_executor.template.values import Value

MAX_LIST: Final = 5_000
MAX_TEXT: Final = 100_000
MAX_PARAMETERS: Final = 200
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z")
_BIGGEST: Final = 10**60
_TAKEN: Final = frozenset({"secret", "loop", "true", "false", "none"})
_NAMES_SECRET: Final = re.compile(r"\{[{%][^{}]{0,500}\bsecret\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[+-]?\d{1,60}(\.\d{1,60})?\Z")


class ParameterType(StrEnum):
    """What a declared parameter takes."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    ENUM = "enum"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Declared:
    """One declared parameter. `options`: of an enum. `item`: the type of a list's elements. `max_length`: of a text
    in characters, of a list in elements."""

    name: str
    type: ParameterType
    required: bool = True
    default: Value = None
    options: tuple[Scalar, ...] = ()
    item: ParameterType = ParameterType.TEXT
    max_length: int | None = None


class _Wrong(ValueError):
    """A value that a declaration does not admit; the text is the field's message."""


def declare(raw: Sequence[Mapping[str, Any]]) -> tuple[Declared, ...]:
    """The declarations as a request holds them. Raises QueryValidationError with fields `parameters.<number>`."""
    errors: dict[str, list[str]] = {}
    declared = dict[str, Declared]()
    for number, one in enumerate(raw):
        try:
            made = _declared(one)
            if made.name in declared:
                raise _Wrong("This name is declared twice.")
            declared[made.name] = made
        except _Wrong as wrong:
            errors[f"parameters.{number}"] = [str(wrong)]
    if errors or len(declared) > MAX_PARAMETERS:
        raise QueryValidationError("The declared parameters are not valid.", errors=errors)
    return tuple(declared.values())


def validate_parameters(given: Mapping[str, object], declared: Sequence[Declared] = ()) -> dict[str, Value]:
    """The values of a call: converted where declared, plain scalars and flat lists elsewhere.

    Raises QueryValidationError with a field `params.<name>` for each that is wrong or missing.
    """
    errors: dict[str, list[str]] = {}
    values: dict[str, Value] = {}
    types = {parameter.name: parameter for parameter in declared}
    if len(given) > MAX_PARAMETERS:
        raise QueryValidationError("Too many parameters.", errors={"params": [f"At most {MAX_PARAMETERS}."]})
    for name in dict.fromkeys((*given, *types)):
        try:
            if name in given:
                values[name] = _admitted(name, given[name], types.get(name))
            elif types[name].default is not None:
                values[name] = types[name].default
            elif types[name].required:
                raise _Wrong("This parameter is required.")
        except _Wrong as wrong:
            errors[f"params.{name}"] = [str(wrong)]
    if errors:
        raise QueryValidationError("The parameters are not valid.", errors=errors)
    return values


def _declared(raw: Mapping[str, Any]) -> Declared:
    unknown = set(raw) - {"name", "type", "required", "default", "options", "item", "max_length"}
    if unknown:
        raise _Wrong(f"Unknown fields: {', '.join(sorted(map(str, unknown)))}.")
    name, options = raw.get("name"), raw.get("options") or ()
    if (
        not isinstance(name, str)
        or not _NAME.match(name)
        or name.lower() in ("secret", "loop", "true", "false", "none")
    ):
        raise _Wrong("A name begins with a letter and has letters, digits and `_`; `secret` is taken.")
    if not isinstance(raw.get("required", True), bool):
        raise _Wrong("`required` is true or false.")
    kind = _type(raw.get("type", "text"))
    if (kind is ParameterType.ENUM) != bool(options) or not isinstance(options, (list, tuple)):
        raise _Wrong("An enum, and nothing else, has a list of options.")
    made = Declared(
        name, kind, raw.get("required", True), None, tuple(_plain(option) for option in options),
        _type(raw.get("item") or "text"), _length(raw.get("max_length")),
    )  # fmt: skip
    if made.item in (ParameterType.LIST, ParameterType.ENUM):
        raise _Wrong("The elements of a list are text, number, boolean, date or datetime.")
    default = raw.get("default")
    return made if default is None else _with_default(made, default)


def _with_default(made: Declared, default: object) -> Declared:
    value = _admitted(made.name, default, made)
    return Declared(made.name, made.type, made.required, value, made.options, made.item, made.max_length)


def _type(raw: object) -> ParameterType:
    try:
        return ParameterType(str(raw))
    except ValueError:
        raise _Wrong(f"The type is one of {', '.join(ParameterType)}.") from None


def _length(raw: object) -> int | None:
    if raw is not None and (isinstance(raw, bool) or not isinstance(raw, int) or raw < 1):
        raise _Wrong("`max_length` is a number from 1.")
    return raw


def _admitted(name: str, value: object, declared: Declared | None) -> Value:
    if name.split(".")[0].strip().lower() == "secret":
        raise _Wrong("A parameter cannot be called `secret`; secrets are written in the query.")
    if declared is None:
        return _undeclared(value)
    if value is None:
        if declared.required:
            raise _Wrong("This parameter cannot be null.")
        return None
    if declared.type is ParameterType.LIST:
        items = _items(value, declared.max_length or MAX_LIST)
        return tuple(_READERS[declared.item](item, declared) for item in items)
    return _READERS[declared.type](value, declared)


def _undeclared(value: object) -> Value:
    return tuple(map(_plain, _items(value, MAX_LIST))) if isinstance(value, (list, tuple)) else _plain(value)


def _items(value: object, most: int) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        raise _Wrong("This parameter is a list.")
    if len(value) > most:
        raise _Wrong(f"A list has at most {most} elements.")
    return value


def _plain(value: object) -> Scalar:
    if isinstance(value, str):
        return _sound(value, MAX_TEXT)
    if isinstance(value, float) and not math.isfinite(value):
        raise _Wrong("A number must be finite.")
    if isinstance(value, int) and not -_BIGGEST < value < _BIGGEST:
        raise _Wrong("A whole number has at most 60 digits.")
    if value is None or isinstance(value, (bool, int, float, Decimal)):
        return value
    raise _Wrong("A parameter is a text, a number, a boolean, null or a flat list of these.")


def _sound(value: str, most: int) -> str:
    if len(value) > most:
        raise _Wrong(f"A text has at most {most} characters.")
    if "\0" in value:
        raise _Wrong("A text cannot hold the character NUL.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _Wrong("A text cannot hold half of a surrogate pair.")
    if _NAMES_SECRET.search(value):
        raise _Wrong("A parameter cannot name a secret; secrets are written in the query.")
    return value


def _text(value: object, declared: Declared) -> Scalar:
    if not isinstance(value, str):
        raise _Wrong("This parameter is a text.")
    return _sound(
        value, declared.max_length if declared.max_length and declared.type is not ParameterType.LIST else MAX_TEXT
    )


def _number(value: object, _: Declared) -> Scalar:
    if isinstance(value, str) and _NUMBER.match(value):
        try:
            return Decimal(value) if "." in value else int(value)
        except (InvalidOperation, ValueError):
            raise _Wrong("This parameter is a number.") from None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise _Wrong("This parameter is a number.")
    return _plain(value)


def _boolean(value: object, _: Declared) -> Scalar:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise _Wrong("This parameter is true or false.")


def _date(value: object, _: Declared) -> Scalar:
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise _Wrong("This parameter is a date such as 2024-01-31.") from None


def _datetime(value: object, _: Declared) -> Scalar:
    try:
        return datetime.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise _Wrong("This parameter is a date and time such as 2024-01-31T09:30:00Z.") from None


def _enum(value: object, declared: Declared) -> Scalar:
    for option in declared.options:
        if value == option and isinstance(value, bool) == isinstance(option, bool):
            return option
    raise _Wrong(f"This parameter is one of {', '.join(map(str, declared.options))}.")


_READERS: Final[dict[ParameterType, Callable[[object, Declared], Scalar]]] = {
    ParameterType.TEXT: _text,
    ParameterType.NUMBER: _number,
    ParameterType.BOOLEAN: _boolean,
    ParameterType.DATE: _date,
    ParameterType.DATETIME: _datetime,
    ParameterType.ENUM: _enum,
}
