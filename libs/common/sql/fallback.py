"""Tables by words alone, for statements that no parser reads.

Works on anonymised text, so that every string is a `?`. Knows after which words a table is named,
which FROMs belong to a function, and the names that WITH introduces.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.common.sql.dialects import Dialect
from libs.common.sql.names import Identifier, fold
from libs.common.sql.words import Token, closing, common_names, tokenise

Path = tuple[Identifier, ...]


_MAX_OPENING: Final = 50


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_LISTS: Final = _set("from using table truncate view tables update analyze vacuum lock inherits")
_STARTERS: Final = _LISTS | _set("join into on to references copy describe desc cluster overwrite like partition")
_MAY_OPEN: Final = _set("into table references on copy view overwrite analyze vacuum")
_NOISE: Final = _set("only of if not exists lateral table concurrently as verbose low_priority ignore full")
_STOP: Final = _set(
    "select where set values on using join left right inner outer cross full natural group order having limit "
    "union except intersect with when then default as from into returning window qualify fetch for partition "
    "tablesample and or not case end is null in by asc desc stdin stdout all distinct lateral row rows only to "
    "cascade restrict update delete insert replace create sequence function procedure schema database role user type"
)
_IN_JOINS: Final = _set(
    "as join left right inner outer cross full natural on using and or not in is null case when then else end "
    "lateral only distinct type role user"
)
_CALLS_WITH_FROM: Final = frozenset({"extract", "trim", "substring", "overlay", "position", "ltrim", "rtrim"})
_FIRST_ONLY: Final = frozenset({"copy", "analyze", "vacuum", "truncate", "cluster", "describe", "desc", "lock"})
_ON_HEADS: Final = frozenset({"grant", "revoke", "index", "trigger", "policy", "rule", "constraint"})
_NO_ON_HEADS: Final = frozenset({"event", "statistics"})
_NO_TABLE_PAIRS: Final = frozenset({("alter", "default"), ("alter", "extension")})
_NO_TABLE_HEADS: Final = frozenset({"fetch", "move", "import", "call", "execute", "set", "reset"})
_NO_OBJECTS: Final = frozenset({"column", "schema", "database", "function", "conflict", "delete", "all"})
_TABLE_LISTS: Final = frozenset({"drop", "truncate", "lock", "grant", "revoke"})
_TEMPORARY: Final = frozenset({"temp", "temporary"})
_USING_HEADS: Final = frozenset({"delete", "merge"})


@dataclass(frozen=True, slots=True)
class Reference:
    """A table as written, where among the tokens, and whether the statement writes to it."""

    path: Path
    at: int
    written_to: bool


def tables_by_words(text: str, dialect: Dialect) -> Iterator[Path]:
    """Every table that the words of an anonymised statement name, CTEs left out."""
    tokens = tokenise(text, dialect)
    closes = closing(tokens)
    named = common_names(tokens, closes, dialect)
    for reference in _references(tokens, closes, dialect):
        if len(reference.path) == 1 and not reference.written_to:
            name = fold(reference.path[0].text, reference.path[0].quoted, dialect)
            if any(hiding.start <= reference.at <= hiding.end for hiding in named.get(name, ())):
                continue
        yield reference.path


def _references(tokens: Sequence[Token], closes: Mapping[int, int], dialect: Dialect) -> Iterator[Reference]:
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
        elif token.word in _STARTERS and _names_a_table(tokens, at, head, calls[-1] if calls else "", len(calls)):
            yield from _list(tokens, at, closes, dialect)


def _names_a_table(tokens: Sequence[Token], at: int, heads: tuple[str, ...], call: str, depth: int) -> bool:
    word, head = tokens[at].word, heads[0]
    before = tokens[at - 1].word if at else ""
    after = tokens[at + 1].word if at + 1 < len(tokens) else ""
    match word:
        case "from":
            of_query = before != "distinct" and (depth > 0 or head not in {"copy", "show", "revoke"})
            return of_query and call not in _CALLS_WITH_FROM
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
            return before in {"attach", "detach"} or after == "of"
        case "table" | "view" | "tables" | "overwrite" | "into" | "join" | "references":
            return before not in {"alter", "default"} or word in {"table", "view"}
        case "inherits":
            return head == "create"
        case _:
            return at == 0 and word in _FIRST_ONLY


def _list(tokens: Sequence[Token], at: int, closes: Mapping[int, int], dialect: Dialect) -> Iterator[Reference]:
    starter, before = tokens[at].word, tokens[at - 1].word if at else ""
    written_to = starter in {"into", "update"} or (starter == "from" and before == "delete")
    temporary = starter in {"table", "view"} and before in _TEMPORARY
    stops = _STOP - _IN_JOINS | _LISTS - {"using"} if starter == "from" else _STOP - {"as"} | _LISTS
    at += 1
    while True:
        begin, at = at, _past_noise(tokens, at, starter)
        depth = sum(token.text == "(" for token in tokens[begin:at]) if _opens_join(tokens, begin, starter) else 0
        if at < len(tokens) and tokens[at].word in _TEMPORARY and starter == "into":
            return
        path, after = _path(tokens, at, dialect)
        opens = after < len(tokens) and tokens[after].text == "("
        if path and not temporary and not (opens and starter not in _MAY_OPEN):
            yield Reference(path, at, written_to)
        comma = _next_comma(tokens, after if path else at, closes, depth, stops) if _goes_on(starter, tokens) else None
        if comma is None:
            return
        at = comma + 1


def _goes_on(starter: str, tokens: Sequence[Token]) -> bool:
    """Whether a comma after this word's table introduces another one."""
    if starter != "table":
        return starter in _LISTS
    return tokens[0].word in _TABLE_LISTS or any(token.word == "publication" for token in tokens[:2])


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
    if starter not in {"from", "join", "using", "inherits"} or at >= len(tokens) or tokens[at].text != "(":
        return False
    inner = next((token for token in tokens[at : at + _MAX_OPENING] if token.quoted or token.text != "("), None)
    return inner is not None and not tokens[at].quoted and _is_name(inner, first=True)


def _next_comma(
    tokens: Sequence[Token], at: int, closes: Mapping[int, int], depth: int, stops: frozenset[str]
) -> int | None:
    """The comma that goes on with a list of tables: past one alias, a subquery, a call or joins.

    `depth` counts the parentheses around a join in which the search begins.
    """
    while at < len(tokens):
        token = tokens[at]
        if token.quoted:
            pass
        elif token.text == "(":
            at = closes.get(at, len(tokens))
        elif token.text == ")":
            depth -= 1
            if depth < 0:
                return None
        elif depth == 0 and token.text == ",":
            return at
        elif depth == 0 and (token.text == ";" or token.word in stops):
            return None
        at += 1
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
