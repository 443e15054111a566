"""sqlglot's parsers are used again and again: what one statement leaves behind must not reach the next."""

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from libs.common.sql import DefaultNames, analyse
from libs.common.sql.dialects import Dialect
from libs.common.sql.engine import engine
from libs.common.sql.parse import parse

_NAMES = DefaultNames("shop", ("public",))
STATEMENTS = (
    "SELECT a, b FROM sales.orders AS o JOIN customers USING (id) WHERE o.total > 3 ORDER BY 1",
    "WITH x AS (SELECT * FROM t) SELECT x.a FROM x, x.items WHERE b = 'it' AND c IS NULL AND d = TRUE",
    "INSERT INTO t (a) SELECT 1; DELETE FROM t WHERE a = 2",
)
BROKEN = ("SELECT FROM WHERE (", "SELECT 'never ends", "SELECT a FROM (SELECT b")


@pytest.mark.parametrize("dialect", Dialect)
def test_a_parser_that_was_used_says_what_a_new_one_says(dialect: Dialect) -> None:
    used = engine(dialect)
    for statement in STATEMENTS:
        for broken in BROKEN:
            with pytest.raises((ParseError, TokenError)):
                used.parse(broken)
        assert used.parse(statement) == sqlglot.parse(statement, dialect=dialect.sqlglot)


def test_each_thread_has_parsers_of_its_own() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda number: parse(f"SELECT a{number} FROM t{number}", "", Dialect.POSTGRES), range(200))
        )
        engines = set(pool.map(lambda _: id(engine(Dialect.POSTGRES)), range(50)))
    assert id(engine(Dialect.POSTGRES)) not in engines
    assert [trees[0].tree.sql() for trees in found if trees] == [f"SELECT a{n} FROM t{n}" for n in range(200)]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_all_nodes_are_found_that_sqlglot_walks_through(statement: str) -> None:
    for parsed in parse(statement, statement, Dialect.BIGQUERY) or pytest.fail("not parsed"):
        assert list(map(id, parsed.nodes)) == [id(node) for node in parsed.tree.walk()]


def test_a_tree_that_was_let_go_of_is_free_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(each, exp.Expr) for each in gc.get_objects())
        for number in range(50):
            analyse(f"SELECT a{number}, sum(b) FROM t{number} WHERE c > 1 GROUP BY 1", Dialect.POSTGRES, _NAMES)
        assert sum(isinstance(each, exp.Expr) for each in gc.get_objects()) <= before + 50
    finally:
        gc.enable()
