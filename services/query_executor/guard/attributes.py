"""PostgreSQL calls a function of one argument as if it were a field: `('/etc/passwd'::text).pg_read_file` runs. So a
name behind a dot is a column only where a table, a subquery or a CTE stands before it."""

import re
from collections.abc import Iterator
from typing import Final

from sqlglot import exp

from services.query_executor.guard.names import functions, never
from services.query_executor.guard.policy import Policy
from services.query_executor.guard.refusal import refused
from services.query_executor.statement import Engine

# Fields of rows that functions of the lists give: jsonb_each, WITH ORDINALITY, ROW(…).
_FIELDS: Final = re.compile(r"key|value|ordinality|f[0-9]{1,3}")
_SOURCES: Final = (exp.Table, exp.Subquery, exp.Values, exp.Lateral, exp.Unnest)


def prove_attributes(root: exp.Expr, engine: Engine, policy: Policy) -> None:
    """Refuse a name behind a dot that may be a function which the lists and the policy do not allow."""
    if engine.dialect not in ("postgres", "redshift"):
        return
    relations, made = _relations(root), _made(root)
    for qualifier, name in _dotted(root):
        if qualifier not in relations or qualifier in made:
            _prove(name, {qualifier, *made.get(qualifier, ())} - {""}, engine, policy)
        elif name.startswith(("pg_", "lo_")) and never(engine, name):
            raise _refusal(name)


def _dotted(root: exp.Expr) -> Iterator[tuple[str, str]]:
    """Each name behind a dot, with the name of what stands before it, empty for an expression."""
    for node in root.find_all(exp.Dot):
        if isinstance(node.expression, exp.Identifier):
            yield "", node.expression.name.lower()
    for column in root.find_all(exp.Column):
        if column.table and not isinstance(column.this, exp.Star):
            yield column.table.lower(), column.name.lower()


def _prove(name: str, columns: set[str], engine: Engine, policy: Policy) -> None:
    if never(engine, name):
        raise _refusal(name)
    known = name in columns or _FIELDS.fullmatch(name) or functions(engine).allow(name) or name in policy.functions
    if not known and engine is not Engine.REDSHIFT:  # there, a dot goes into a SUPER value
        raise refused(
            "A field of a value that is no table's can be a function. Name the columns (AS x (a, b)) or select from a "
            "subquery; if the field is safe, add its name to allowed_functions of the connection's secret."
        )


def _refusal(name: str) -> Exception:
    return refused(f"The function {name} is never allowed, not even written as a field.")


def _relations(root: exp.Expr) -> set[str]:
    """What tables, subqueries and CTEs are called in the statement."""
    return {source.alias_or_name.lower() for source in root.find_all(*_SOURCES) if not _is_made(source)}


def _made(root: exp.Expr) -> dict[str, set[str]]:
    """Aliases of functions in place of tables, with the columns that are written with them."""
    found: dict[str, set[str]] = {}
    for source in root.find_all(*_SOURCES):
        if _is_made(source) and source.alias:
            found.setdefault(source.alias.lower(), set()).update(_columns(source))
    return found


def _is_made(source: exp.Expr) -> bool:
    if isinstance(source, exp.Table):
        return not isinstance(source.this, exp.Identifier)
    return isinstance(source, exp.Unnest) or (isinstance(source, exp.Lateral) and not _is_query(source.this))


def _is_query(node: object) -> bool:
    return isinstance(node, (exp.Subquery, exp.Select))


def _columns(source: exp.Expr) -> Iterator[str]:
    alias = source.args.get("alias")
    yield from (column.name.lower() for column in (alias.columns if isinstance(alias, exp.TableAlias) else ()))
    for column in source.find_all(exp.ColumnDef, exp.JSONColumnDef):
        yield column.name.lower()
