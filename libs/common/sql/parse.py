"""One statement to sqlglot's trees, or to nothing; what only wraps a query is taken off before."""

import logging
import re
from typing import Final, NamedTuple

from sqlglot import exp

from libs.common.sql.dialects import Dialect
from libs.common.sql.engine import engine

# A parser that holds the interpreter for seconds is worse than words alone.
_MAX_PARSED: Final = 256 * 1024
_MAX_SOURCE: Final = 64 * 1024
# Time grows with the square of the nesting in some dialects, and the recursion limit is not far.
_MAX_NESTING: Final = 100
# Here it doubles with each level: nested `{` (ClickHouse) and `row(` (Trino), joins without a condition.
_MAX_DOUBLING: Final = 10
_VERBS: Final = r"(?:select|with|insert|update|delete|merge|create|values|replace|table)\b"
_WRAPPERS: Final = (
    re.compile(rf"\s*explain\b(?:[^;(]|\((?!\s*{_VERBS})){{0,300}}?(?=\(*\s*{_VERBS})", re.IGNORECASE),
    re.compile(
        r"\s*prepare\s+(?:\"[^\"]*\"|\w+)\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\)\s*)?(?:as|from)\s+", re.IGNORECASE
    ),
    re.compile(r"\s*declare\s+(?:\"[^\"]*\"|\w+)\s[\w\s]{0,100}?\bcursor\b[\w\s]{0,100}?\bfor\s+", re.IGNORECASE),
)
# What holds no other node. An identifier may, by which sqlglot's own walk goes too.
_LEAVES: Final = frozenset({exp.Literal, exp.Null, exp.Boolean})
_BRACKETS: Final = re.compile(r"\brow\s*\(|[(\[{}\])]", re.IGNORECASE)
_JOINS: Final = re.compile(r"\b(?:cross|natural(?:\s+\w+)?)\s+join\b|\b(?:join|on|using)\b", re.IGNORECASE)
_WITH_DATA: Final = re.compile(r"\bwith\s+(?:no\s+)?data\s*;?\s*\Z", re.IGNORECASE)
_CREATE_AS: Final = re.compile(r"\s*create\b[^;]*\bas\b", re.IGNORECASE)


class Parsed(NamedTuple):
    """One statement's tree, and all of its nodes, which are walked once."""

    tree: exp.Expr
    nodes: list[exp.Expr]

    def release(self) -> None:
        """Let go of the tree: its nodes know their parents, and only the collector would free what is a circle."""
        for node in self.nodes:
            node.parent = None


def _mute() -> None:
    """sqlglot warns with the statement's text, literals included, when it falls back to Command."""
    logging.getLogger("sqlglot").addFilter(lambda record: False)


_mute()


def parse(source: str, anonymised: str, dialect: Dialect) -> list[Parsed] | None:
    """The trees of a statement; None where sqlglot refuses it or only keeps it as a Command.

    `source` still holds the literals, `anonymised` has `?` for each. What the first does not yield
    the second may: with `?`, then with a number or a string in its place.
    """
    if too_costly(anonymised):
        return None
    candidates = [source] if len(source) <= _MAX_SOURCE else []
    if len(anonymised) <= _MAX_PARSED:
        candidates.append(anonymised)
    if len(anonymised) <= _MAX_SOURCE:
        candidates += [anonymised.replace("?", "1"), anonymised.replace("?", "'1'")]
    try:
        found = (_parse(unwrap(candidate), dialect) for candidate in dict.fromkeys(candidates))
        return next((trees for trees in found if trees), None)
    except RecursionError:  # another candidate is nested as deeply
        return None


def too_costly(anonymised: str) -> bool:
    """Whether the parser would take too long over this, or recurse too deeply; literals must be gone."""
    return _too_deep(anonymised) or _too_many_bare_joins(anonymised)


def _too_deep(text: str) -> bool:
    if text.count("(") + text.count("[") <= _MAX_NESTING and "{" not in text and "row" not in text.lower():
        return False
    opened: list[bool] = []
    doubling = 0
    for bracket in _BRACKETS.findall(text):
        if bracket[-1] in "([{":
            opened.append(bracket not in "([")
            doubling += opened[-1]
        elif opened:
            doubling -= opened.pop()
        if len(opened) > _MAX_NESTING or doubling > _MAX_DOUBLING:
            return True
    return False


def _too_many_bare_joins(text: str) -> bool:
    if text.lower().count("join") <= _MAX_DOUBLING:
        return False
    bare = 0
    for word in _JOINS.findall(text):
        if len(word) <= len("using"):
            bare = bare + 1 if word.lower() == "join" else max(bare - 1, 0)
        if bare > _MAX_DOUBLING:
            return True
    return False


def unwrap(text: str) -> str:
    """The query inside EXPLAIN, PREPARE or DECLARE CURSOR; CREATE … AS without its WITH [NO] DATA."""
    for wrapper in _WRAPPERS:
        if match := wrapper.match(text):
            text = text[match.end() :]
    if _CREATE_AS.match(text):
        text = _WITH_DATA.sub("", text)
    return text


def _nodes(tree: exp.Expr) -> list[exp.Expr]:
    """As `tree.walk()`, in half of its time."""
    nodes = [tree]
    for node in nodes:  # which grows
        if node.__class__ not in _LEAVES:
            nodes.extend(node.iter_expressions())
    return nodes


def _parse(text: str, dialect: Dialect) -> list[Parsed] | None:
    own = engine(dialect)
    try:
        trees = [tree for tree in own.parse(text) if tree is not None]
        found = [Parsed(tree, _nodes(tree)) for tree in trees]
    except RecursionError:
        raise
    except Exception:  # sqlglot raises what it likes on odd input, and its messages quote the statement
        return None
    if not found or any(exp.Command in map(type, each.nodes) for each in found):
        return None
    return found
