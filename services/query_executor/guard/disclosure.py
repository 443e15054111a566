"""A secret may only be compared with a column of a table, where rows are chosen; anywhere else it could be read out."""

import re
from collections.abc import Iterator
from typing import Final

from sqlglot import exp

from services.query_executor.guard.refusal import refused
from services.query_executor.guard.relations import is_cte
from services.query_executor.statement import TOKEN_PREFIX

_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
_JOINING: Final = (exp.And, exp.Or, exp.Not, exp.Paren)
_CHOOSING: Final = (exp.Where, exp.Having, exp.PreWhere)
_MESSAGE: Final = (
    "A secret may only be compared with a column of a table (column = '{{ secret.key }}', also <>, <, >, IN, LIKE, "
    "BETWEEN) in WHERE, ON or HAVING; not selected, sorted by, joined to other text or given to a function."
)


def prove_secrets(text: str, root: exp.Expr, tokens: frozenset[str]) -> None:
    """Refuse a secret that stands anywhere else; each mention in the text must be seen in the tree."""
    if not tokens:
        return
    mentions = sum(len(re.findall(re.escape(token), text, re.IGNORECASE)) for token in tokens)
    if mentions != sum(_is_compared(node) for node in _holders(root, tokens)):
        raise refused(_MESSAGE)


def refuse_secrets(text: str, tokens: frozenset[str]) -> None:
    """For statements where no secret can stand."""
    if any(token in text for token in tokens):
        raise refused(_MESSAGE)


def _holders(root: exp.Expr, tokens: frozenset[str]) -> Iterator[exp.Expr]:
    for node in root.walk():
        whole_literal = isinstance(node, exp.Literal) and node.is_string and node.this in tokens
        if whole_literal or (isinstance(node, exp.Column) and len(node.parts) == 1 and node.name in tokens):
            yield node


def _is_compared(secret: exp.Expr) -> bool:
    value = _outside(secret)
    column = _other_side(value, value.parent)
    return column is not None and _chooses_rows(value.parent) and _is_of_table(column)


def _outside(node: exp.Expr) -> exp.Expr:
    while isinstance(node.parent, exp.Paren):
        node = node.parent
    return node


def _other_side(value: exp.Expr, comparison: exp.Expr | None) -> exp.Column | None:
    other: object = None
    if isinstance(comparison, _COMPARISONS):
        other = comparison.expression if comparison.this is value else comparison.this
    elif isinstance(comparison, (exp.Like, exp.ILike, exp.Between, exp.In)) and comparison.this is not value:
        other = comparison.this
    while isinstance(other, exp.Paren):
        other = other.this
    return other if isinstance(other, exp.Column) and isinstance(other.this, exp.Identifier) else None


def _chooses_rows(node: exp.Expr | None) -> bool:
    while node is not None and isinstance(node.parent, _JOINING):
        node = node.parent
    clause = None if node is None else node.parent
    chooses = isinstance(clause, _CHOOSING) and isinstance(clause.parent, exp.Select)  # not FILTER (WHERE …)
    return chooses or isinstance(clause, exp.Join)


def _is_of_table(column: exp.Column) -> bool:
    """Whether the column cannot be one that the author made up: of a CTE, a subquery, VALUES or a function, where
    comparing candidates with the secret would find it."""
    if column.name.lower().startswith(TOKEN_PREFIX) or (not column.table and _is_alias(column)):
        return False
    scope = column.find_ancestor(exp.Select)
    while scope is not None:
        sources = list(_sources(scope))
        named = [source for source in sources if source.alias_or_name.lower() == column.table.lower()]
        if column.table and named:
            return all(_is_table(source) for source in named)
        if not column.table and not (sources and all(_is_table(source) for source in sources)):
            return False
        scope = _around(scope)
    return not column.table


def _is_alias(column: exp.Column) -> bool:
    """Some servers let conditions use the aliases of the select list and of WITH."""
    name = column.name.lower()
    root = column.root()
    selected = any(alias.alias.lower() == name for alias in root.find_all(exp.Alias))
    return selected or any(cte.alias.lower() == name for cte in root.find_all(exp.CTE) if cte.args.get("scalar"))


def _around(query: exp.Expr) -> exp.Select | None:
    """The next query outwards whose columns are seen from inside this one. A CTE and a subquery in FROM do not see
    their neighbours, but what lies around the query that they belong to."""
    node = query
    while isinstance(node.parent, (exp.SetOperation, exp.Subquery, exp.Paren)):
        node = node.parent
    if isinstance(node.parent, exp.CTE):
        owner = node.parent.find_ancestor(exp.With)
        return _around(owner.parent) if owner is not None and owner.parent is not None else None
    outer = node.find_ancestor(exp.Select)
    is_joined = isinstance(node.parent, exp.Join) and node.arg_key == "this"
    if outer is not None and (is_joined or isinstance(node.parent, exp.From)):
        return _around(outer)
    return outer


def _sources(select: exp.Select) -> Iterator[exp.Expr]:
    if (from_ := select.args.get("from_")) is not None:
        yield from _each(from_.this)
    for join in [*(select.args.get("joins") or ()), *(select.args.get("laterals") or ())]:
        yield from _each(join.this if isinstance(join, exp.Join) else join)


def _each(source: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(source, exp.Final):
        source = source.this
    yield source
    for join in source.args.get("joins") or ():
        yield from _each(join.this)


def _is_table(source: exp.Expr) -> bool:
    return (
        isinstance(source, exp.Table)
        and isinstance(source.this, exp.Identifier)
        and not source.args.get("pivots")
        and (len(source.parts) > 1 or not is_cte(source, source.name))
    )
