"""What the lexer must know of each SQL dialect, as one table."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Final, Literal, Self


class Dialect(StrEnum):
    """A dialect that query logs come in; the value is what events carry."""

    ANSI = "ansi"
    ATHENA = "athena"
    BIGQUERY = "bigquery"
    CLICKHOUSE = "clickhouse"
    DATABRICKS = "databricks"
    DUCKDB = "duckdb"
    HIVE = "hive"
    MARIADB = "mariadb"
    MYSQL = "mysql"
    ORACLE = "oracle"
    POSTGRES = "postgres"
    PRESTO = "presto"
    REDSHIFT = "redshift"
    SNOWFLAKE = "snowflake"
    SPARK = "spark"
    SQLITE = "sqlite"
    TRINO = "trino"
    TSQL = "tsql"

    # That of Enum is a call of Python for each look-up, of which every statement takes several.
    __hash__ = str.__hash__

    @classmethod
    def of(cls, name: str) -> Self:
        """The dialect that a tool calls `name`; ANSI for one that is not known."""
        low = name.strip().lower()
        known = _ALIASES.get(low, low)
        return cls(known) if known in cls._value2member_map_ else cls("ansi")

    @property
    def sqlglot(self) -> str:
        """The name under which sqlglot knows this dialect."""
        return _SQLGLOT.get(self.value, self.value)


_ALIASES: Final = MappingProxyType(
    {"postgresql": "postgres", "pg": "postgres", "mssql": "tsql", "sqlserver": "tsql", "synapse": "tsql"}
    | {"sparksql": "spark", "awsathena": "athena", "bigquery-standard-sql": "bigquery", "ch": "clickhouse"}
)
_SQLGLOT: Final = MappingProxyType({"ansi": "", "mariadb": "mysql"})

Case = Literal["keep", "lower", "upper", "fold_lower", "fold_upper"]


@dataclass(frozen=True, slots=True)
class Traits:
    """How one dialect writes literals, names and comments.

    `tables` and `columns` say how names are stored: `lower` and `upper` whatever the quotes say,
    `fold_lower` and `fold_upper` only outside quotes, `keep` as written.
    """

    strings: str = "'"
    identifiers: str = '"'
    backslash: bool = False
    escape_prefixes: str = ""
    raw_prefixes: str = ""
    triple: bool = False
    q_quotes: bool = False
    dollar: Literal["", "plain", "tagged"] = ""
    nested_comments: bool = False
    line_comments: tuple[str, ...] = ("--",)
    dash_needs_blank: bool = False
    return_ends_comment: bool = False
    digit_identifiers: bool = False
    identifier_backslash: bool = False
    dashed_names: bool = False
    dollar_columns: bool = False
    dollar_names: bool = False
    at_names: bool = False
    brace_parameters: bool = False
    implicit_alias_tables: bool = False
    tables: Case = "keep"
    columns: Case = "keep"

    @property
    def quoted(self) -> str:
        """A pattern for one quoted name in anonymised text, where no string is left."""
        return _quoted(self.identifiers, self.identifier_backslash)


@cache
def _quoted(identifiers: str, backslash: bool) -> str:
    found = []
    for quote in identifiers:
        close = r"\]" if quote == "[" else quote
        plain = rf"[^{close}\\]*+" if backslash else f"[^{close}]*+"
        other = rf"(?:\\.|{close}{close})" if backslash else close * 2
        found.append(rf"{re.escape(quote)}{plain}(?:{other}{plain})*+{close}")
    return f"(?:{'|'.join(found)})"


_MYSQL: Final = Traits(
    strings="'\"",
    identifiers="`",
    backslash=True,
    line_comments=("--", "#"),
    dash_needs_blank=True,
    digit_identifiers=True,
    at_names=True,
    columns="lower",
)
_SPARK: Final = Traits(
    strings="'\"",
    identifiers="`",
    backslash=True,
    raw_prefixes="r",
    nested_comments=True,
    digit_identifiers=True,
    tables="lower",
    columns="lower",
)
_TRINO: Final = Traits(return_ends_comment=True, tables="lower", columns="lower")

TRAITS: Final = MappingProxyType(
    {
        Dialect.ANSI: Traits(
            identifiers='"`', dollar="tagged", nested_comments=True, tables="fold_lower", columns="fold_lower"
        ),
        Dialect.ATHENA: Traits(identifiers='"`', return_ends_comment=True, tables="lower", columns="lower"),
        Dialect.BIGQUERY: Traits(
            strings="'\"",
            identifiers="`",
            backslash=True,
            triple=True,
            line_comments=("--", "#"),
            identifier_backslash=True,
            dashed_names=True,
            at_names=True,
            columns="lower",
        ),
        Dialect.CLICKHOUSE: Traits(
            identifiers='"`',
            backslash=True,
            dollar="tagged",
            nested_comments=True,
            line_comments=("--", "#"),
            digit_identifiers=True,
            identifier_backslash=True,
            brace_parameters=True,
        ),
        Dialect.DATABRICKS: Traits(
            strings="'\"",
            identifiers="`",
            backslash=True,
            raw_prefixes="r",
            dollar="plain",
            nested_comments=True,
            digit_identifiers=True,
            tables="lower",
            columns="lower",
        ),
        Dialect.DUCKDB: Traits(
            escape_prefixes="e",
            dollar="tagged",
            nested_comments=True,
            return_ends_comment=True,
            dollar_names=True,
            tables="lower",
            columns="lower",
        ),
        Dialect.HIVE: _SPARK,
        Dialect.MARIADB: _MYSQL,
        Dialect.MYSQL: _MYSQL,
        Dialect.ORACLE: Traits(q_quotes=True, tables="fold_upper", columns="fold_upper"),
        Dialect.POSTGRES: Traits(
            escape_prefixes="e",
            dollar="tagged",
            nested_comments=True,
            return_ends_comment=True,
            tables="fold_lower",
            columns="fold_lower",
        ),
        Dialect.PRESTO: _TRINO,
        Dialect.REDSHIFT: Traits(
            backslash=True,
            escape_prefixes="e",
            dollar="tagged",
            nested_comments=True,
            return_ends_comment=True,
            implicit_alias_tables=True,
            tables="lower",
            columns="lower",
        ),
        Dialect.SNOWFLAKE: Traits(
            backslash=True,
            dollar="plain",
            line_comments=("--", "//"),
            dollar_columns=True,
            tables="fold_upper",
            columns="fold_upper",
        ),
        Dialect.SPARK: _SPARK,
        Dialect.SQLITE: Traits(identifiers='"`[', dollar_names=True, at_names=True, tables="lower", columns="lower"),
        Dialect.TRINO: _TRINO,
        Dialect.TSQL: Traits(identifiers='"[', nested_comments=True, at_names=True, tables="lower", columns="lower"),
    }
)
