"""Names of tables: folded as the database stores them, completed with the connector's defaults."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from libs.common.sql.dialects import TRAITS, Case, Dialect
from libs.common.sql.system import is_system_table

_LONGEST_KNOWN: Final = 128
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_$]*|[A-Z_][A-Z0-9_$]*")
_TEMPORARY: Final = re.compile(r"pg_(?:toast_)?temp(?:_\d+)?")
_POSTGRES_NAME_BYTES: Final = 63
_POSTGRES_LIKE: Final = frozenset({Dialect.POSTGRES, Dialect.REDSHIFT})
_ASCII_LOWER: Final = {code: code + 32 for code in range(65, 91)}
_ASCII_UPPER: Final = {code: code - 32 for code in range(97, 123)}
_OMITTED_SCHEMA: Final = {Dialect.SNOWFLAKE: "PUBLIC", Dialect.TSQL: "dbo"}
_DUAL: Final = frozenset({Dialect.ORACLE, Dialect.MYSQL, Dialect.MARIADB, Dialect.SNOWFLAKE, Dialect.ANSI})


class Identifier(NamedTuple):
    """One part of a name as written."""

    text: str
    quoted: bool


class DefaultNames(NamedTuple):
    """What a connector's session completes short names with, already in the dialect's stored form."""

    catalog: str | None
    schema_search_path: tuple[str, ...]


class TableName(NamedTuple):
    """A table by 1 to 3 parts (catalog, schema, table), folded by the dialect's rule."""

    parts: tuple[str, ...]

    @property
    def display(self) -> str:
        """Dotted, a part in double quotes where it is no plain word: `shop.public."Order Items"`."""
        return ".".join(_displayed(part) for part in self.parts)


class ColumnRef(NamedTuple):
    """A column of a real table, folded by the dialect's rule for columns."""

    table: TableName
    column: str


def _displayed(part: str) -> str:
    return part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"'


def fold(identifier: str, quoted: bool, dialect: Dialect) -> str:
    """The stored form of a table's, schema's or catalog's name that is written so."""
    folded = fold_case(identifier, quoted, TRAITS[dialect].tables)
    if dialect is Dialect.POSTGRES and len(folded) * 4 > _POSTGRES_NAME_BYTES:
        return folded.encode(errors="replace")[:_POSTGRES_NAME_BYTES].decode(errors="ignore")
    return folded


def fold_column(identifier: str, quoted: bool, dialect: Dialect) -> str:
    """The stored form of a column's name; some dialects treat columns and tables differently."""
    return fold_case(identifier, quoted, TRAITS[dialect].columns)


def fold_case(text: str, quoted: bool, case: Case) -> str:
    """A name as a dialect of this kind stores it."""
    if case == "lower":
        return text.lower()
    if case == "keep" or quoted:
        return text
    return text.translate(_ASCII_LOWER if case == "fold_lower" else _ASCII_UPPER)


def complete(written: Sequence[Identifier], names: DefaultNames, dialect: Dialect) -> TableName | None:
    """The full name of a table as written; None for what no product can be: temporary tables, DUAL.

    More than three parts (a linked server) keep the last three; an empty schema (`db..orders`) is the
    dialect's default one.
    """
    derive = _complete if any(len(part.text) > _LONGEST_KNOWN for part in written) else _known
    return derive(tuple(written), names, dialect)


def _complete(written: tuple[Identifier, ...], names: DefaultNames, dialect: Dialect) -> TableName | None:
    parts = tuple(fold(part.text, part.quoted, dialect) for part in written)[-3:]
    if not parts or not parts[-1] or _is_temporary(parts, dialect):
        return None
    if len(parts) == 1:
        if parts[0].lower() == "dual" and dialect in _DUAL:
            return None
        return _with_defaults(parts[0], names, dialect)
    omitted = _OMITTED_SCHEMA.get(dialect) or (names.schema_search_path or ("",))[0]
    parts = (*parts[:-2], parts[-2] or omitted, parts[-1])
    if len(parts) == 2 and names.catalog and parts[0]:
        return TableName((names.catalog, *parts))
    return TableName(tuple(part for part in parts if part))


# Most statements read the same tables.
_known: Final = lru_cache(maxsize=4_096)(_complete)


def _with_defaults(table: str, names: DefaultNames, dialect: Dialect) -> TableName:
    if dialect in _POSTGRES_LIKE and is_system_table(table, redshift=dialect is Dialect.REDSHIFT):
        schema: str | None = "pg_catalog"
    else:
        schema = next(iter(names.schema_search_path), None)
    parents = [part for part in (names.catalog, schema) if part] if schema else []
    return TableName((*parents, table))


def _is_temporary(parts: tuple[str, ...], dialect: Dialect) -> bool:
    if dialect is Dialect.TSQL:
        return parts[-1].startswith("#")
    return len(parts) > 1 and dialect in _POSTGRES_LIKE and bool(_TEMPORARY.fullmatch(parts[-2]))


def matches(product_table: tuple[str, ...], reference: tuple[str, ...]) -> bool:
    """Whether a product's table (1 to 3 parts) is the end of a full reference."""
    return bool(product_table) and reference[-len(product_table) :] == product_table


def distinct(tables: Iterable[TableName | None]) -> tuple[TableName, ...]:
    return tuple(sorted({table for table in tables if table is not None}))
