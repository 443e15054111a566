"""A statement on its way from its template to a server. The text is the author's; values travel beside it.

template: text → `Rendered` (a token stands for each value) → `Draft` (one spelling for equal templates)
guard: proves a `Draft` read-only
template: `Draft` → `Bound` (pieces of text with binds between them)
drivers: run a `Bound`
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

Scalar: TypeAlias = str | int | float | bool | Decimal | None


class Engine(StrEnum):
    """What runs a statement. `internal` is the tenant's own schema in this installation's Postgres."""

    POSTGRES = "postgres"
    MYSQL = "mysql"
    REDSHIFT = "redshift"
    ELASTICSEARCH = "elasticsearch"
    CLICKHOUSE = "clickhouse"
    INTERNAL = "internal"

    @property
    def dialect(self) -> str:
        """The dialect's name for the SQL parser; empty for Elasticsearch's JSON."""
        return {"internal": "postgres", "elasticsearch": ""}.get(self.value, self.value)


class Origin(StrEnum):
    """Where a value comes from. A secret may stand only against a column."""

    PARAMETER = "parameter"
    SECRET = "secret"  # noqa: S105 - a word, not a value
    PROFILE = "profile"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Slot:
    """One `{{ … }}` output: `path` as the author wrote it (`region`, `secret.api.key`), for messages."""

    value: Scalar | tuple[Scalar, ...] = field(repr=False)
    origin: Origin
    path: str
    separator: str | None = None  # what its author joined a list with
    json: bool = False  # its author asked for JSON
    native: bool = False  # stands outside quotes in a search, so it keeps its JSON type


TOKEN_PREFIX = "tdmk"  # noqa: S105 - begins the tokens that stand for values
TOKEN_LENGTH = 12
_LETTERS = str.maketrans("0123456789", "abcdefghij")
_DIGITS = str.maketrans("abcdefghij", "0123456789")


def token(index: int) -> str:
    """The word that stands for slot `index` in a draft: a name in every dialect, of fixed length, never a prefix
    of another. Letters only: a parser would take digits in INTERVAL '…' for the number."""
    return f"{TOKEN_PREFIX}{index:07d}z".translate(_LETTERS)


def token_index(word: str) -> int:
    """The slot that a token stands for."""
    return int(word[len(TOKEN_PREFIX) : -1].translate(_DIGITS))


@dataclass(frozen=True, slots=True)
class Draft:
    """A rendered statement: a token for each value, comments gone, identifiers and keywords written in.

    Equal templates on equal paths through their conditions give equal text whatever the values, so that what is
    proved of a text can be remembered.
    """

    engine: Engine
    text: str
    slots: tuple[Slot, ...]

    def secret_tokens(self) -> frozenset[str]:
        """Tokens that stand for secrets."""
        return frozenset(token(index) for index, slot in enumerate(self.slots) if slot.origin is Origin.SECRET)


@dataclass(frozen=True, slots=True)
class Bind:
    """A value for the server. `cast`: the type of a typed literal (`INTERVAL '{{ n }} days'` binds with `interval`)."""

    value: Scalar = field(repr=False)
    origin: Origin
    path: str
    cast: str | None = None
    quoted: bool = True  # the author wrote it inside quotes, so it is text unless the server knows better


@dataclass(frozen=True, slots=True)
class Bound:
    """`parts` are the author's text, one more than there are binds; a driver writes its placeholder between them.

    For Elasticsearch `body` holds the search with its values in place, and there are no parts.
    """

    engine: Engine
    parts: tuple[str, ...]
    binds: tuple[Bind, ...]
    body: dict[str, Any] | None = field(default=None, repr=False)
