"""Which relations a query reads, and which of them it may."""

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from sqlglot import exp

from services.query_executor.guard.lists import sections
from services.query_executor.guard.names import functions
from services.query_executor.guard.policy import Policy
from services.query_executor.guard.refusal import refused
from services.query_executor.statement import TOKEN_PREFIX, Engine

Name = tuple[str, ...]

_LISTS: Final = sections("catalogues")
_NOTHING: Final = frozenset[str]()
# Some servers of ClickHouse open a file or a host that stands in place of a table.
_PATH: Final = re.compile(r"[/\\:]|^[^.]+\.\w+$")
_REDSHIFT_SYSTEM: Final = re.compile(r"(?:pg|stl|stv|svl|svv|svcs|sys)_\w+")
_POSTGRES_SYSTEM: Final = re.compile(r"pg_\w+")
# Schemas that may be read in part, by their lists; those with an empty list not at all.
_SCHEMAS: Final = MappingProxyType(
    {
        "postgres": {"information_schema": _LISTS["information_schema"], "pg_catalog": _LISTS["postgres"]},
        "redshift": {
            "information_schema": _LISTS["information_schema"],
            "pg_catalog": _LISTS["postgres"] | _LISTS["redshift"],
            "pg_internal": _NOTHING,
            "catalog_history": _NOTHING,
        },
        "mysql": {
            "information_schema": _LISTS["information_schema"],
            **dict.fromkeys(
                ("mysql", "performance_schema", "sys", "ndbinfo", "mysql_innodb_cluster_metadata"), _NOTHING
            ),
        },
        "clickhouse": {
            "information_schema": _LISTS["information_schema"],
            "system": _LISTS["clickhouse"],
            "_table_function": _NOTHING,
            "_temporary_and_external_tables": _NOTHING,
        },
    }
)


def prove_relations(root: exp.Expr, engine: Engine, policy: Policy) -> tuple[Name, ...]:
    """Refuse relations that may not be read; what is read, CTEs left out."""
    found: dict[Name, None] = {}
    for table in root.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier):
            name = tuple(_folded(part, engine) for part in table.parts)
            _no_value(name)
            if len(name) > 1 or not is_cte(table, name[0]):
                prove_name(name, engine, policy)
                found[name] = None
        elif table.this is not None:
            _prove_function(table, engine, policy)
    if engine is Engine.CLICKHOUSE:
        for name in _in_place_of_lists(root):
            prove_name(name, engine, policy)
            found[name] = None
    return tuple(found)


def _folded(part: exp.Expr, engine: Engine) -> str:
    """Tables of a tenant's schema are looked up as the server would; elsewhere a name stays as it was written."""
    return part.name.lower() if engine is Engine.INTERNAL and not part.args.get("quoted") else part.name


def prove_name(name: Name, engine: Engine, policy: Policy) -> None:
    """Refuse one relation, `schema.table` or `table`, that may not be read."""
    if engine is Engine.INTERNAL:
        if len(name) != 1 or name[0] not in (policy.tenant_tables or ()):
            raise refused(f"There is no table {'.'.join(name)} in the tenant's schema; name it without a schema.")
        return
    lower = tuple(part.lower() for part in name)
    if engine is Engine.CLICKHOUSE and any(_PATH.search(part) for part in lower):
        raise refused("A table may not be named as a file or an address.")
    schema, table = lower[-2] if len(lower) > 1 else "", lower[-1]
    schemas = _SCHEMAS[engine.dialect]
    if schema in schemas:
        allowed = schemas[schema]
    elif engine.dialect in ("postgres", "redshift") and schema.startswith("pg_"):
        allowed = _NOTHING
    elif not schema and _system(engine).fullmatch(table):
        allowed = schemas["pg_catalog"]
    else:
        return
    if table not in allowed and not (table == "" and schema == "information_schema"):
        raise refused(
            f"The system relation {'.'.join(lower)} may not be read; those that list "
            "schemas, tables and columns can (information_schema.columns)."
        )


def _system(engine: Engine) -> re.Pattern[str]:
    patterns = {"redshift": _REDSHIFT_SYSTEM, "postgres": _POSTGRES_SYSTEM}
    return patterns.get(engine.dialect, re.compile(r"(?!)"))


def _no_value(name: Name) -> None:
    if any(TOKEN_PREFIX in part.lower() for part in name):
        raise refused("A table's name cannot be a value; write {{ name|ident }}.")


def _prove_function(table: exp.Table, engine: Engine, policy: Policy) -> None:
    """ClickHouse: functions in place of a table have a list of their own. Elsewhere the list of calls has decided."""
    if engine is not Engine.CLICKHOUSE:
        return
    function = table.this
    name = function.name.lower() if isinstance(function, exp.Anonymous) else _typed(function)
    if name not in functions(engine).tables and name not in policy.functions:
        raise refused(f"The table function {name} is not allowed; numbers, values, view and generate_series are.")


def _typed(function: exp.Expr) -> str:
    known = {"ExplodingGenerateSeries": "generate_series", "GenerateSeries": "generate_series", "Values": "values"}
    return known.get(type(function).__name__, type(function).__name__.lower())


def _in_place_of_lists(root: exp.Expr) -> Iterator[Name]:
    """ClickHouse reads a table that stands alone behind IN, in brackets or not."""
    for node in root.find_all(exp.In):
        listed = [each.unnest() for each in node.expressions]
        field = node.args.get("field") or (listed[0] if len(listed) == 1 else None)
        if isinstance(field, exp.Column) and TOKEN_PREFIX not in field.name.lower():
            yield tuple(part.name for part in field.parts)


def is_cte(table: exp.Expr, name: str) -> bool:
    """Whether `name` is a CTE where `table` stands: one of an enclosing WITH, of the same WITH only when earlier or
    recursive."""
    child, node = table, table.parent
    inside: exp.Expr | None = None
    while node is not None:
        if isinstance(node, exp.CTE):
            inside = node
        with_ = node.args.get("with_")
        if with_ is not None and child is not with_:
            if _holds(with_.expressions, name):
                return True
        elif isinstance(node, exp.With) and inside is not None:
            visible = node.expressions if node.args.get("recursive") else node.expressions[: _index(node, inside)]
            if _holds(visible, name):
                return True
        child, node = node, node.parent
    return False


def _index(with_: exp.With, cte: exp.Expr) -> int:
    return next(index for index, each in enumerate(with_.expressions) if each is cte)


def _holds(ctes: list[exp.Expr], name: str) -> bool:
    return any(cte.alias.lower() == name.lower() and not cte.args.get("scalar") for cte in ctes)
