"""All that usage analytics takes from one statement, in one call."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from libs.common.sql.anonymise import Scrubbed, scrub
from libs.common.sql.columns import columns_of
from libs.common.sql.dialects import Dialect
from libs.common.sql.fallback import tables_by_words
from libs.common.sql.names import ColumnRef, DefaultNames, TableName, complete, distinct, fold
from libs.common.sql.parse import Parsed, parse, unwrap
from libs.common.sql.patterns import Analysis, Pattern, seen
from libs.common.sql.tables import tables_of
from libs.common.sql.words import plain_words, tokenise

_FIELD: Final = "\x1f"
_PART: Final = "\x1e"
# Connectors of one dialect, each with its default schema, share patterns.
_MOST_NAMES: Final = 64


class _Found(NamedTuple):
    tables: tuple[TableName, ...]
    columns: tuple[ColumnRef, ...]
    parsed: bool


def analyse(sql: str, dialect: Dialect, names: DefaultNames) -> Analysis:
    """Anonymise a statement and find its tables and columns; never raises, whatever the text.

    Safe in threads. What depends on the text without literals alone is found once per pattern.
    """
    pattern, comment, scrubbed = seen(sql, dialect)
    found = pattern.analyses.get(names)
    if found is None:
        found = _analysed(pattern, scrubbed or scrub(sql, dialect), dialect, names)
    if comment is None:
        return found
    return Analysis(found.text, found.truncated, found.tables, found.columns, found.parsed, comment)


def _analysed(pattern: Pattern, scrubbed: Scrubbed, dialect: Dialect, names: DefaultNames) -> Analysis:
    found = Analysis(pattern.text, pattern.truncated, *_find(scrubbed, dialect, names), None)
    if not _tables_may_lie_in_literals(scrubbed.text, dialect):
        if len(pattern.analyses) >= _MOST_NAMES:
            pattern.analyses.clear()
        pattern.analyses[names] = found
    return found


def _find(scrubbed: Scrubbed, dialect: Dialect, names: DefaultNames) -> _Found:
    trees = parse(scrubbed.source, scrubbed.text, dialect)
    found = None if trees is None else _from_trees(trees, dialect, names)
    for each in trees or ():
        each.release()
    if found is None:
        return _Found(_from_words(scrubbed.text, dialect, names), (), False)
    return _Found(*_without_literals(*found, scrubbed.text, dialect), True)


def _tables_may_lie_in_literals(text: str, dialect: Dialect) -> bool:
    """Snowflake's IDENTIFIER('orders') names a table by a literal."""
    return dialect is Dialect.SNOWFLAKE and "identifier" in text.lower()


def pattern_id(tenant: UUID, connector: UUID, dialect: Dialect, text: str, tables: Iterable[TableName]) -> UUID:
    """The id of a statement's pattern: the same text over other tables is another pattern."""
    derive = _known_id if len(text) <= _LONGEST_KNOWN else _pattern_id
    return derive(tenant, connector, dialect, text, tuple(tables))


def _pattern_id(tenant: UUID, connector: UUID, dialect: Dialect, text: str, tables: tuple[TableName, ...]) -> UUID:
    full = sorted({_PART.join(table.parts) for table in tables})
    name = _FIELD.join([str(connector), dialect.value, text, *full])
    return uuid5(tenant, name.encode("utf-8", "replace").decode())


_LONGEST_KNOWN: Final = 4_096
_known_id = lru_cache(maxsize=8_192)(_pattern_id)


def _from_trees(
    trees: list[Parsed], dialect: Dialect, names: DefaultNames
) -> tuple[tuple[TableName, ...], tuple[ColumnRef, ...]] | None:
    try:
        tables = distinct(table for tree in trees for table in tables_of(tree, names, dialect))
    except Exception:  # a tree of a shape that nobody foresaw: words must do
        return None
    real = frozenset(tables)
    columns = {column for tree in trees for column in columns_of(tree.tree, names, dialect) if column.table in real}
    return tables, tuple(sorted(columns))


def _from_words(text: str, dialect: Dialect, names: DefaultNames) -> tuple[TableName, ...]:
    paths = tables_by_words(unwrap(text), dialect)
    return distinct(complete(path, names, dialect) for path in paths)


def _without_literals(
    tables: tuple[TableName, ...], columns: tuple[ColumnRef, ...], text: str, dialect: Dialect
) -> tuple[tuple[TableName, ...], tuple[ColumnRef, ...]]:
    """Drop names that stand only in a literal (`FROM 'people.parquet'`): values must not pass as names.

    Snowflake's IDENTIFIER('orders') is a name by intention.
    """
    if _tables_may_lie_in_literals(text, dialect):
        return tables, columns
    wanted = {table.parts[-1].casefold() for table in tables} | {use.column.casefold() for use in columns}
    if wanted <= plain_words(text, dialect):
        return tables, columns
    pieces = [piece for token in tokenise(text, dialect) for piece in {token.text, *token.text.split(".")}]
    written = {fold(piece, True, dialect).casefold() for piece in pieces}
    kept = tuple(table for table in tables if table.parts[-1].casefold() in written)
    return kept, tuple(column for column in columns if column.table in kept and column.column.casefold() in written)
