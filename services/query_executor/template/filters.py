"""The filters and tests that templates may use: each is total, cheap and works on plain values only."""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from jinja2.filters import do_default
from jinja2.runtime import Undefined
from jinja2.tests import TESTS as JINJA_TESTS

from services.query_executor.statement import TOKEN_PREFIX, Scalar
from services.query_executor.template.values import Joined, Json, Name, Unfit, Word, is_scalar, refuse

MAX_VALUE = 1_000_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*\Z")
_WORD = re.compile(r"[A-Za-z0-9_., ]{1,200}\Z")


class Dummy(str):
    """Stands for a parameter while a template is tried without values: fits every filter and comparison."""

    __slots__ = ()

    def __lt__(self, other: object) -> bool:
        return True

    __le__ = __gt__ = __ge__ = __lt__

    def __neg__(self) -> int:
        return -1

    def __pos__(self) -> int:
        return 1


def text(value: object) -> str:
    """A scalar as text, as it would stand inside a literal."""
    if isinstance(value, Undefined):
        return str(value)  # raises: the parameter is missing
    if isinstance(value, str):
        return value
    if value is None or not is_scalar(value):
        raise refuse("A filter for text was given a list, a name or null.")
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def bounded(value: str) -> str:
    """A text that is not too long to go on with."""
    if len(value) > MAX_VALUE:
        raise refuse(f"A value may have at most {MAX_VALUE} characters.")
    return value


def concat(values: Sequence[object]) -> str:
    """What `~` does."""
    return bounded("".join(map(text, values)))


def items(value: object) -> tuple[Scalar, ...]:
    """The elements of a list; a text is no list."""
    if isinstance(value, Joined):
        return value.values
    if isinstance(value, Undefined):
        return tuple(value)
    if isinstance(value, Dummy):
        return (value,)
    if not isinstance(value, (list, tuple)) or not all(map(is_scalar, value)):
        raise refuse("A loop, `join` or another filter for lists was given something that is not a list.")
    return tuple(value)


def number(value: object) -> Any:
    """A number as it is; a text as the number that it spells."""
    if isinstance(value, Dummy):
        return 1
    if isinstance(value, (int, float, Decimal)):
        return value
    spelled = text(value).strip()
    if len(spelled) > 60 or not re.fullmatch(r"[+-]?\d+(\.\d+)?", spelled):
        raise refuse("A filter for numbers was given something that is not a number.")
    return Decimal(spelled) if "." in spelled else int(spelled)


def ident(value: object) -> Name | Unfit:
    """The name of a column or table, to be quoted by the dialect."""
    name = text(value)
    if not is_name(name):
        return Unfit("`ident` takes a name of letters, digits, `_` and `$` that begins with a letter or `_`.")
    return Name(name)


def is_name(name: str) -> bool:
    """Whether a value may be written into a statement as a name."""
    return len(name) <= 128 and bool(_NAME.match(name)) and TOKEN_PREFIX not in name.lower()


def one_of(value: object, *choices: object) -> Word | Unfit:
    """The choice that the value names, whatever its case, in the author's spelling."""
    words = [choice for choice in choices if isinstance(choice, str) and _WORD.match(choice)]
    if not words or len(words) < len(choices) or any(TOKEN_PREFIX in word.lower() for word in words):
        raise refuse("`one_of` takes words of letters, digits, `_`, `.`, `,` and blanks: one_of('asc', 'desc').")
    if isinstance(value, Dummy):
        return Word(words[0])
    wanted = text(value).lower()
    for word in words:
        if word.lower() == wanted:
            return Word(word)
    return Unfit(f"`one_of` takes one of {', '.join(words)}.")


def join(value: object, separator: object = "") -> Joined:
    """The list, remembering what to put between its elements."""
    return Joined(items(value), text(separator))


def like_escape(value: object) -> str:
    """The text with the wildcards of LIKE made plain."""
    return bounded(re.sub(r"([\\%_])", r"\\\1", text(value)))


def rounded(value: object, digits: object = 0) -> Any:
    """The number with at most 20 digits after the point."""
    if not isinstance(digits, int) or not 0 <= digits <= 20:
        raise refuse("`round` takes between 0 and 20 digits.")
    return round(number(value), digits)


def replaced(value: object, old: object, new: object) -> str:
    """The text with one part in place of another."""
    whole, part, instead = text(value), text(old), text(new)
    if (whole.count(part) + 1) * len(instead) > MAX_VALUE:
        raise refuse(f"A value may have at most {MAX_VALUE} characters.")
    return bounded(whole.replace(part, instead))


def unique(value: object) -> tuple[Scalar, ...]:
    """The list without repetitions, in its order."""
    return tuple(dict.fromkeys(items(value)))


def ordered(value: object) -> tuple[Scalar, ...]:
    """The list in order."""
    return tuple(sorted(items(value), key=_rank))


def _rank(item: Scalar) -> tuple[int, Any]:
    """Numbers, then texts, then null."""
    return (2, 0) if item is None else (int(isinstance(item, str)), item)


def tojson(value: object) -> Json:
    """The value with its type: outside the quotes of a JSON document it stands as it is, elsewhere as JSON text."""
    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, Dummy):
        return Json(str.__str__(value))
    return Json(value if is_scalar(value) else items(value))


def _text_filter(method: Callable[[str], str]) -> Callable[[object], str]:
    def apply(value: object) -> str:
        return value if isinstance(value, Dummy) else bounded(method(text(value)))

    return apply


FILTERS: dict[str, Callable[..., Any]] = {
    "abs": lambda value: abs(number(value)),
    "capitalize": _text_filter(str.capitalize),
    "d": do_default,
    "default": do_default,
    "first": lambda value: items(value)[0],
    "float": lambda value: float(number(value)),
    "ident": ident,
    "int": lambda value: int(number(value)),
    "join": join,
    "last": lambda value: items(value)[-1],
    "length": lambda value: len(text(value)) if is_scalar(value) else len(items(value)),
    "like_escape": like_escape,
    "lower": _text_filter(str.lower),
    "max": lambda value: ordered(value)[-1],
    "min": lambda value: ordered(value)[0],
    "one_of": one_of,
    "replace": replaced,
    "reverse": lambda value: tuple(reversed(items(value))),
    "round": rounded,
    "sort": ordered,
    "string": text,
    "title": _text_filter(str.title),
    "tojson": tojson,
    "trim": _text_filter(str.strip),
    "unique": unique,
    "upper": _text_filter(str.upper),
}

_JINJA_TESTS: Mapping[str, Any] = JINJA_TESTS
TESTS: dict[str, Callable[..., Any]] = {
    name: _JINJA_TESTS[name]
    for name in (
        "boolean", "defined", "undefined", "none", "number", "string", "sequence", "iterable", "integer", "float",
        "true", "false", "in", "even", "odd", "divisibleby", "eq", "ne", "lt", "le", "gt", "ge", "==", "!=", "<", "<=",
        ">", ">=", "equalto", "greaterthan", "lessthan",
    )
}  # fmt: skip
