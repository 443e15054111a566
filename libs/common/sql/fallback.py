"""Tables by words alone, for statements that no parser reads.

Works on anonymised text, so that every string is a `?`. Knows after which words a table is named,
which FROMs belong to a function, and the names that WITH introduces.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from libs.common.sql.dialects import TRAITS, Dialect
from libs.common.sql.names import Identifier, fold

Path = tuple[Identifier, ...]

_LISTS: Final = frozenset(
    {"from", "using", "table", "truncate", "view", "only", "tables", "update", "analyze", "vacuum", "lock"}
)
_STARTERS: Final = _LISTS | frozenset(
    {"join", "into", "on", "to", "references", "copy", "describe", "desc", "cluster", "overwrite", "like", "partition"}
)
_MAY_OPEN: Final = frozenset({"into", "table", "references", "on", "copy", "view", "overwrite", "analyze", "vacuum"})
_NOISE: Final = frozenset(
    {
        "only",
        "if",
        "not",
        "exists",
        "lateral",
        "table",
        "concurrently",
        "as",
        "verbose",
        "low_priority",
        "ignore",
        "full",
    }
)
_STOP: Final = frozenset(
    re.findall(
        r"\w+",
        "select where set values on using join left right inner outer cross full natural group order having limit "
        "union except intersect with when then default as from into returning window qualify fetch for partition "
        "tablesample and or not case end is null in by asc desc stdin stdout all distinct lateral row rows only "
        "cascade restrict update delete insert replace create sequence function procedure schema database role user type "
        "to",
    )
)
_CALLS_WITH_FROM: Final = frozenset({"extract", "trim", "substring", "overlay", "position", "ltrim", "rtrim"})
_FIRST_ONLY: Final = frozenset({"copy", "analyze", "vacuum", "truncate", "cluster", "describe", "desc", "lock"})
_ON_HEADS: Final = frozenset({"grant", "revoke", "index", "trigger", "policy", "rule", "constraint"})
_NO_ON_HEADS: Final = frozenset({"event", "statistics"})
_NO_TABLE_PAIRS: Final = frozenset({("alter", "default"), ("alter", "extension")})
_NO_TABLE_HEADS: Final = frozenset({"fetch", "move", "import", "call", "execute", "set", "reset"})
_NO_OBJECTS: Final = frozenset({"column", "schema", "database", "function", "conflict", "delete", "all"})
_USING_HEADS: Final = frozenset({"delete", "merge"})


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    word: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """A table as written, and where among the tokens."""

    path: Path
    at: int


def tables_by_words(text: str, dialect: Dialect) -> Iterator[Path]:
    """Every table that the words of an anonymised statement name, CTEs left out."""
    tokens = tokenise(text, dialect)
    named = _common_names(tokens, dialect)
    for reference in _references(tokens, dialect):
        if len(reference.path) == 1:
            name = fold(reference.path[0].text, reference.path[0].quoted, dialect)
            if any(seen == name and start <= reference.at <= end for seen, start, end in named):
                continue
        yield reference.path


def tokenise(text: str, dialect: Dialect) -> list[Token]:
    """Names, words and single signs of an anonymised statement."""
    found = []
    for match in _words(dialect).finditer(text):
        piece = match[0]
        quoted = piece[0] in TRAITS[dialect].identifiers and len(piece) > 1
        found.append(Token(_unquoted(piece) if quoted else piece, "" if quoted else piece.lower(), quoted))
    return found


@cache
def _words(dialect: Dialect) -> re.Pattern[str]:
    traits = TRAITS[dialect]
    dashed = r"(?:-[\w$]+)*+" if traits.dashed_names else ""
    return re.compile(rf"{traits.quoted}|[\w$#@]+{dashed}|\S", re.DOTALL)


def _unquoted(piece: str) -> str:
    close = "]" if piece[0] == "[" else piece[0]
    return piece[1:-1].replace(close * 2, close)


def _common_names(tokens: Sequence[Token], dialect: Dialect) -> list[tuple[str, int, int]]:
    """The names that WITH introduces, each with the first and last token where it hides a table."""
    recursive = any(token.word == "recursive" for token in tokens)
    closes = _closing(tokens)
    found = []
    for at, token in enumerate(tokens):
        if token.word in {"with", "recursive", ","} and at + 1 < len(tokens):
            body = _cte_body(tokens, at + 1, closes)
            if body is None:
                continue
            name = fold(tokens[at + 1].text, tokens[at + 1].quoted, dialect)
            found.append((name, at if recursive else closes.get(body, len(tokens)), _scope_end(at, closes, tokens)))
    return found


def _cte_body(tokens: Sequence[Token], at: int, closes: dict[int, int]) -> int | None:
    """The opening parenthesis of `name [(columns)] AS [NOT] [MATERIALIZED] (`, or None."""
    after = at + 1
    if after < len(tokens) and tokens[after].text == "(":
        after = closes.get(after, len(tokens)) + 1
    if after >= len(tokens) or tokens[after].word != "as":
        return None
    after += 1
    while after < len(tokens) and tokens[after].word in {"not", "materialized"}:
        after += 1
    return after if after < len(tokens) and tokens[after].text == "(" else None


def _closing(tokens: Sequence[Token]) -> dict[int, int]:
    stack: list[int] = []
    closes: dict[int, int] = {}
    for at, token in enumerate(tokens):
        if token.quoted:
            continue
        if token.text == "(":
            stack.append(at)
        elif token.text == ")" and stack:
            closes[stack.pop()] = at
    return closes


def _scope_end(at: int, closes: dict[int, int], tokens: Sequence[Token]) -> int:
    depth = 0
    for back in range(at, max(-1, at - 20_000), -1):
        if tokens[back].quoted:
            continue
        depth += (tokens[back].text == ")") - (tokens[back].text == "(")
        if depth < 0:
            return closes.get(back, len(tokens))
    return len(tokens)


def _references(tokens: Sequence[Token], dialect: Dialect) -> Iterator[Reference]:
    head = tuple(token.word for token in tokens[:16])
    if not head or head[0] in _NO_TABLE_HEADS or head[:2] in _NO_TABLE_PAIRS:
        return
    calls: list[str] = []
    for at, token in enumerate(tokens):
        if token.quoted:
            continue
        if token.text == "(":
            calls.append(tokens[at - 1].word if at else "")
        elif token.text == ")" and calls:
            calls.pop()
        elif token.word in _STARTERS and _names_a_table(tokens, at, head, calls[-1] if calls else ""):
            yield from _list(tokens, at, dialect)


def _names_a_table(tokens: Sequence[Token], at: int, heads: tuple[str, ...], call: str) -> bool:
    word, head = tokens[at].word, heads[0]
    before = tokens[at - 1].word if at else ""
    after = tokens[at + 1].word if at + 1 < len(tokens) else ""
    match word:
        case "from":
            return call not in _CALLS_WITH_FROM and before != "distinct" and head not in {"copy", "show", "revoke"}
        case "using":
            return head in _USING_HEADS and after != "("
        case "on":
            of_object = not _ON_HEADS.isdisjoint(heads[:at]) and _NO_ON_HEADS.isdisjoint(heads[:at])
            return of_object and after not in _NO_OBJECTS
        case "to":
            return "rule" in heads[:at] and before in {"insert", "update", "delete", "select"}
        case "update":
            return before not in {"for", "on", "key", "do", "then", "no", "of", "or", "grant", ","}
        case "like":
            return head == "create" and before == "("
        case "partition":
            return before in {"attach", "detach"}
        case "table" | "view" | "tables" | "only" | "overwrite" | "into" | "join" | "references":
            return before not in {"alter", "default"} or word in {"table", "view"}
        case _:
            return at == 0 and word in _FIRST_ONLY


def _list(tokens: Sequence[Token], at: int, dialect: Dialect) -> Iterator[Reference]:
    starter = tokens[at].word
    at += 1
    while True:
        at = _past_noise(tokens, at, starter)
        path, after = _path(tokens, at, dialect)
        opens = after < len(tokens) and tokens[after].text == "("
        if path and not (opens and starter not in _MAY_OPEN):
            yield Reference(path, at)
        if starter not in _LISTS:
            return
        comma = _next_comma(tokens, after if path else at)
        if comma is None:
            return
        at = comma + 1


def _past_noise(tokens: Sequence[Token], at: int, starter: str) -> int:
    if starter in {"vacuum", "analyze"} and at < len(tokens) and tokens[at].text == "(":
        while at < len(tokens) and tokens[at].text != ")":
            at += 1
        at += 1
    while at < len(tokens) and (tokens[at].word in _NOISE or _opens_join(tokens, at, starter)):
        at += 1
    return at


def _opens_join(tokens: Sequence[Token], at: int, starter: str) -> bool:
    """Whether this parenthesis holds a join, `FROM (a JOIN b …)`, rather than a query."""
    opens = starter in {"from", "join", "using"} and tokens[at].text == "(" and not tokens[at].quoted
    return opens and at + 1 < len(tokens) and (tokens[at + 1].text == "(" or _is_name(tokens[at + 1], first=True))


def _next_comma(tokens: Sequence[Token], at: int) -> int | None:
    """The comma that goes on with a list of tables: past one alias, a subquery or a call."""
    depth = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token.quoted:
            continue
        if token.text == "(":
            depth += 1
        elif token.text == ")":
            depth -= 1
            if depth < 0:
                return None
        elif depth == 0 and token.text == ",":
            return at - 1
        elif depth == 0 and (token.text == ";" or token.word in _STOP - {"as"}):
            return None
    return None


def _path(tokens: Sequence[Token], at: int, dialect: Dialect) -> tuple[Path, int]:
    """The dotted name that begins here, and the token after it; empty when none does."""
    parts: list[Identifier] = []
    while at < len(tokens) and _is_name(tokens[at], first=not parts):
        parts += _identifiers(tokens[at], dialect)
        at += 1
        if at + 1 < len(tokens) and tokens[at].text == "." and not tokens[at].quoted:
            at += 1
            if tokens[at].text == "." and not tokens[at].quoted:
                parts.append(Identifier("", False))
                at += 1
        else:
            break
    return tuple(parts), at


def _is_name(token: Token, first: bool) -> bool:
    if token.quoted:
        return True
    return bool(re.match(r"[^\W\d]|#|\d+\w*[^\W\d]", token.text)) and not (first and token.word in _STOP)


def _identifiers(token: Token, dialect: Dialect) -> list[Identifier]:
    if token.quoted and dialect is Dialect.BIGQUERY:
        return [Identifier(part, True) for part in token.text.split(".")]
    return [Identifier(token.text, token.quoted)]
