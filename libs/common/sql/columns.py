"""The columns that can be placed in one real table."""

from collections.abc import Iterator

from sqlglot import exp

from libs.common.sql.dialects import Dialect
from libs.common.sql.names import ColumnRef, DefaultNames


def columns_of(tree: exp.Expr, names: DefaultNames, dialect: Dialect) -> Iterator[ColumnRef]:
    return iter(())
