"""A pattern is analysed once, and its literals change nothing."""

from libs.common.sql import DefaultNames, Dialect, analyse

NAMES = DefaultNames("shop", ("public",))


def test_literals_do_not_change_what_is_found() -> None:
    first = analyse("SELECT total FROM orders WHERE id = 1", Dialect.POSTGRES, NAMES)
    second = analyse("SELECT total FROM orders WHERE id = 'x; FROM people'", Dialect.POSTGRES, NAMES)
    assert first == second


def test_default_names_are_part_of_what_is_known() -> None:
    sql = "SELECT a FROM t"
    here = analyse(sql, Dialect.POSTGRES, DefaultNames("shop", ("public",)))
    there = analyse(sql, Dialect.POSTGRES, DefaultNames("shop", ("sales",)))
    assert [table.display for table in (*here.tables, *there.tables)] == ["shop.public.t", "shop.sales.t"]


def test_the_dialect_is_part_of_what_is_known() -> None:
    sql = "SELECT a FROM Orders"
    names = DefaultNames(None, ())
    found = [analyse(sql, dialect, names).tables[0].parts for dialect in (Dialect.POSTGRES, Dialect.SNOWFLAKE)]
    assert found == [("orders",), ("ORDERS",)]


def test_a_table_named_by_a_literal_is_found_each_time() -> None:
    found = [analyse(f"SELECT * FROM IDENTIFIER('{name}')", Dialect.SNOWFLAKE, NAMES).tables for name in ("A", "B")]
    assert found[0] != found[1]


def test_the_comment_is_that_of_the_statement() -> None:
    found = [analyse(f"/* user {user} */ SELECT 1 FROM t", Dialect.POSTGRES, NAMES) for user in ("ada", "ben")]
    assert [analysis.comment for analysis in found] != [None, None]
    assert found[0].comment != found[1].comment
