"""Which relations a query reads, and which of them it may."""

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from sqlglot import exp

from services.query_executor.guard.names import functions
from services.query_executor.guard.policy import Policy
from services.query_executor.guard.refusal import refused
from services.query_executor.statement import TOKEN_PREFIX, Engine

Name = tuple[str, ...]

# Metadata that the role's rights rule. Not here: passwords, files and their settings, bodies of functions, foreign
# servers' options, other people's statements.
_POSTGRES_CATALOGUE: Final = frozenset(
    """
    pg_class pg_namespace pg_attribute pg_attrdef pg_type pg_enum pg_range pg_index pg_indexes pg_constraint
    pg_description pg_shdescription pg_depend pg_inherits pg_partitioned_table pg_sequence pg_sequences pg_tables
    pg_views pg_matviews pg_stats pg_stats_ext pg_database pg_roles pg_auth_members pg_extension pg_language pg_am
    pg_collation pg_operator pg_cast pg_opclass pg_tablespace pg_trigger pg_rules pg_policies pg_timezone_names
    pg_timezone_abbrevs pg_available_extensions pg_stat_user_tables pg_stat_all_tables pg_stat_user_indexes
    pg_stat_all_indexes pg_statio_user_tables pg_statio_user_indexes pg_table_def pg_group
    """.split()
)
_REDSHIFT_CATALOGUE: Final = _POSTGRES_CATALOGUE | frozenset(
    """
    svv_tables svv_all_tables svv_columns svv_all_columns svv_redshift_tables svv_redshift_columns svv_redshift_schemas
    svv_redshift_databases svv_all_schemas svv_table_info svv_external_tables svv_external_columns
    svv_external_partitions svv_views pg_external_schema_names
    """.split()
)
_INFORMATION_SCHEMA: Final = frozenset(
    """
    tables columns schemata views table_constraints key_column_usage referential_constraints constraint_column_usage
    constraint_table_usage check_constraints sequences domains statistics partitions character_sets collations
    collation_character_set_applicability table_privileges column_privileges applicable_roles enabled_roles
    element_types view_table_usage view_column_usage information_schema_catalog_name column_domain_usage engines keywords
    sql_features sql_implementation_info st_geometry_columns
    """.split()
)
_CLICKHOUSE_SYSTEM: Final = frozenset(
    "columns one numbers numbers_mt zeros zeros_mt functions data_type_families time_zones parts parts_columns formats "
    "table_functions aggregate_function_combinators collations".split()
)
_REDSHIFT_SYSTEM: Final = re.compile(r"(?:pg|stl|stv|svl|svv|svcs|sys)_\w+")
_POSTGRES_SYSTEM: Final = re.compile(r"pg_\w+")
# Schemas that may be read in part, by their lists; those with an empty list not at all.
_SCHEMAS: Final = MappingProxyType(
    {
        "postgres": {"information_schema": _INFORMATION_SCHEMA, "pg_catalog": _POSTGRES_CATALOGUE},
        "redshift": {
            "information_schema": _INFORMATION_SCHEMA,
            "pg_catalog": _REDSHIFT_CATALOGUE,
            "pg_internal": frozenset(),
            "catalog_history": frozenset(),
        },
        "mysql": {
            "information_schema": _INFORMATION_SCHEMA,
            **dict.fromkeys(
                ("mysql", "performance_schema", "sys", "ndbinfo", "mysql_innodb_cluster_metadata"), frozenset()
            ),
        },
        "clickhouse": {
            "information_schema": _INFORMATION_SCHEMA,
            "system": _CLICKHOUSE_SYSTEM,
            "_table_function": frozenset(),
            "_temporary_and_external_tables": frozenset(),
        },
    }
)


def prove_relations(root: exp.Expr, engine: Engine, policy: Policy) -> tuple[Name, ...]:
    """Refuse relations that may not be read; what is read, CTEs left out."""
    found: dict[Name, None] = {}
    for table in root.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier):
            name = tuple(part.name for part in table.parts)
            _no_value(name)
            if len(name) > 1 or not is_cte(table, name[0]):
                prove_name(name, engine, policy)
                found[name] = None
        elif table.this is not None:
            _prove_function(table, engine)
    if engine is Engine.CLICKHOUSE:
        for name in _in_place_of_lists(root):
            prove_name(name, engine, policy)
            found[name] = None
    return tuple(found)


def prove_name(name: Name, engine: Engine, policy: Policy) -> None:
    """Refuse one relation, `schema.table` or `table`, that may not be read."""
    if engine is Engine.INTERNAL:
        if len(name) != 1 or name[0] not in (policy.tenant_tables or ()):
            raise refused(f"There is no table {'.'.join(name)} in the tenant's schema; name it without a schema.")
        return
    lower = tuple(part.lower() for part in name)
    schema, table = lower[-2] if len(lower) > 1 else "", lower[-1]
    schemas = _SCHEMAS[engine.dialect]
    if schema in schemas:
        allowed = schemas[schema]
    elif engine.dialect in ("postgres", "redshift") and schema.startswith("pg_"):
        allowed = frozenset()
    elif not schema and _system(engine).fullmatch(table):
        allowed = schemas["pg_catalog"]
    else:
        return
    if table not in allowed and not (table == "" and schema == "information_schema"):
        raise refused(
            f"The system relation {'.'.join(lower)} may not be read; of the catalogues, those that list schemas, tables and "
            "columns can (information_schema.columns)."
        )


def _system(engine: Engine) -> re.Pattern[str]:
    patterns = {"redshift": _REDSHIFT_SYSTEM, "postgres": _POSTGRES_SYSTEM}
    return patterns.get(engine.dialect, re.compile(r"(?!)"))


def _no_value(name: Name) -> None:
    if any(TOKEN_PREFIX in part.lower() for part in name):
        raise refused("A table's name cannot be a value; write {{ name|ident }}.")


def _prove_function(table: exp.Table, engine: Engine) -> None:
    """ClickHouse: functions in place of a table have a list of their own. Elsewhere the list of calls has decided."""
    if engine is not Engine.CLICKHOUSE:
        return
    function = table.this
    name = function.name.lower() if isinstance(function, exp.Anonymous) else _typed(function)
    if name not in functions(engine).tables:
        raise refused(f"The table function {name} is not allowed; numbers, values, view and generate_series are.")


def _typed(function: exp.Expr) -> str:
    known = {"ExplodingGenerateSeries": "generate_series", "GenerateSeries": "generate_series", "Values": "values"}
    return known.get(type(function).__name__, type(function).__name__.lower())


def _in_place_of_lists(root: exp.Expr) -> Iterator[Name]:
    """ClickHouse reads a table that stands alone behind IN."""
    for node in root.find_all(exp.In):
        field = node.args.get("field")
        if isinstance(field, exp.Column):
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
