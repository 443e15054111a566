from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.sql import Dialect, TableName, fold, matches, parse_table_name, pattern_id
from libs.common.sql.names import fold_column
from tests.unit.common.sql_corpus import soup

_FOLDED = [
    (Dialect.POSTGRES, "Orders", False, "orders"),
    (Dialect.POSTGRES, "Orders", True, "Orders"),
    (Dialect.POSTGRES, "ÜBER", False, "Über"),
    (Dialect.POSTGRES, "a" * 70, False, "a" * 63),
    (Dialect.REDSHIFT, "Orders", False, "orders"),
    (Dialect.REDSHIFT, "Orders", True, "orders"),
    (Dialect.ANSI, "Orders", False, "orders"),
    (Dialect.SNOWFLAKE, "Orders", False, "ORDERS"),
    (Dialect.SNOWFLAKE, "Orders", True, "Orders"),
    (Dialect.ORACLE, "orders", False, "ORDERS"),
    (Dialect.BIGQUERY, "Orders", False, "Orders"),
    (Dialect.BIGQUERY, "Orders", True, "Orders"),
    (Dialect.MYSQL, "Orders", False, "Orders"),
    (Dialect.CLICKHOUSE, "Orders", False, "Orders"),
    (Dialect.TRINO, "Orders", True, "orders"),
    (Dialect.SPARK, "Orders", True, "orders"),
    (Dialect.DUCKDB, "Orders", True, "orders"),
    (Dialect.TSQL, "Orders", True, "orders"),
    (Dialect.SQLITE, "Orders", True, "orders"),
]


@pytest.mark.parametrize(("dialect", "name", "quoted", "stored"), _FOLDED)
def test_fold(dialect: Dialect, name: str, quoted: bool, stored: str) -> None:
    assert fold(name, quoted, dialect) == stored


@pytest.mark.parametrize(
    ("dialect", "name", "quoted", "stored"),
    [
        (Dialect.BIGQUERY, "Total", False, "total"),
        (Dialect.MYSQL, "Total", True, "total"),
        (Dialect.CLICKHOUSE, "Total", False, "Total"),
        (Dialect.SNOWFLAKE, "Total", False, "TOTAL"),
        (Dialect.POSTGRES, "Total", True, "Total"),
    ],
)
def test_columns_fold_by_a_rule_of_their_own(dialect: Dialect, name: str, quoted: bool, stored: str) -> None:
    assert fold_column(name, quoted, dialect) == stored


@given(dialect=soup.dialects, name=st.text(max_size=80), quoted=st.booleans())
def test_a_stored_name_stays(dialect: Dialect, name: str, quoted: bool) -> None:
    stored = fold(name, quoted, dialect)
    assert fold(stored, True, dialect) == stored


@pytest.mark.parametrize(
    ("product", "reference", "expected"),
    [
        (("orders",), ("shop", "public", "orders"), True),
        (("public", "orders"), ("shop", "public", "orders"), True),
        (("shop", "public", "orders"), ("shop", "public", "orders"), True),
        (("other", "orders"), ("shop", "public", "orders"), False),
        (("shop", "public", "orders"), ("public", "orders"), False),
        (("shop", "public", "orders"), ("orders",), False),
        (("Orders",), ("shop", "public", "orders"), False),
        (("shop",), ("shop", "public", "orders"), False),
        ((), ("orders",), False),
    ],
)
def test_matches(product: tuple[str, ...], reference: tuple[str, ...], expected: bool) -> None:
    assert matches(product, reference) is expected


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        (("shop", "public", "orders"), "shop.public.orders"),
        (("shop", "public", "Order Items"), 'shop.public."Order Items"'),
        (("SHOP", "PUBLIC", "ORDERS"), "SHOP.PUBLIC.ORDERS"),
        (("a.b", 'say "hi"'), '"a.b"."say ""hi"""'),
        (("Orders",), '"Orders"'),
        (("2024",), '"2024"'),
        (("",), '""'),
    ],
)
def test_display(parts: tuple[str, ...], shown: str) -> None:
    assert TableName(parts).display == shown


@pytest.mark.parametrize(
    ("dialect", "text", "parts"),
    [
        (Dialect.POSTGRES, "Orders", ("orders",)),
        (Dialect.POSTGRES, " public . Orders ", ("public", "orders")),
        (Dialect.POSTGRES, '"Sales"."Order Items"', ("Sales", "Order Items")),
        (Dialect.POSTGRES, 'Shop."a.b"."say ""hi"""', ("shop", "a.b", 'say "hi"')),
        (Dialect.POSTGRES, "über.таблица", ("über", "таблица")),
        (Dialect.SNOWFLAKE, 'shop.public."orders"', ("SHOP", "PUBLIC", "orders")),
        (Dialect.BIGQUERY, "`my-proj.ds.Orders`", ("my-proj", "ds", "Orders")),
        (Dialect.BIGQUERY, "my-proj.ds.events_*", ("my-proj", "ds", "events_*")),
        (Dialect.BIGQUERY, "`my-proj`.ds.`Orders`", ("my-proj", "ds", "Orders")),
        (Dialect.MYSQL, "`Order Items`", ("Order Items",)),
        (Dialect.MYSQL, "shop.2024_orders", ("shop", "2024_orders")),
        (Dialect.TSQL, "[Sales].[Order ]] Items]", ("sales", "order ] items")),
        (Dialect.ORACLE, "hr.emp$x", ("HR", "EMP$X")),
    ],
)
def test_typed_names(dialect: Dialect, text: str, parts: tuple[str, ...]) -> None:
    assert parse_table_name(text, dialect) == TableName(parts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("a.", "missing"),
        (".a", "missing"),
        ("a..b", "missing"),
        ("a.b.c.d", "at most three"),
        ("order items", "unexpected 'i'"),
        ("orders; drop table x", "unexpected ';'"),
        ("select 1", "unexpected '1'"),
        ('"Order Items', "not closed"),
        ('"a"b', "unexpected 'b'"),
        ('""', "empty"),
        ("my-table", "unexpected '-'"),
        ("f(1)", "unexpected"),
        ("'orders'", "missing or not plain"),
        ("5", "missing or not plain"),
        ("a\0b", "NUL"),
        ("a" * 2000, "too long"),
    ],
)
def test_typed_names_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_table_name(text, Dialect.POSTGRES)


@given(dialect=soup.dialects, text=soup.anything)
def test_typing_anything_gives_a_name_or_a_value_error(dialect: Dialect, text: str) -> None:
    try:
        name = parse_table_name(text, dialect)
    except ValueError:
        return
    assert 1 <= len(name.parts) <= 3
    assert all(name.parts)


@given(parts=st.lists(st.text(alphabet='aZ_0 ."é', min_size=1, max_size=8), min_size=1, max_size=3))
def test_what_is_shown_can_be_typed(parts: list[str]) -> None:
    """Case apart: a name in capitals is shown without quotes, as Snowflake stores it."""
    name = TableName(tuple(parts))
    typed = parse_table_name(name.display, Dialect.CLICKHOUSE)
    assert typed == name


_TENANT, _CONNECTOR = UUID(int=1), UUID(int=2)
_ORDERS, _ITEMS = TableName(("shop", "public", "orders")), TableName(("shop", "public", "items"))


def test_pattern_id_is_a_function_of_its_parts() -> None:
    known = pattern_id(_TENANT, _CONNECTOR, Dialect.POSTGRES, "select ?", [_ORDERS, _ITEMS])
    assert known == pattern_id(_TENANT, _CONNECTOR, Dialect.POSTGRES, "select ?", (_ITEMS, _ORDERS, _ORDERS))
    assert known.version == 5
    others = {
        pattern_id(UUID(int=9), _CONNECTOR, Dialect.POSTGRES, "select ?", [_ORDERS, _ITEMS]),
        pattern_id(_TENANT, UUID(int=9), Dialect.POSTGRES, "select ?", [_ORDERS, _ITEMS]),
        pattern_id(_TENANT, _CONNECTOR, Dialect.REDSHIFT, "select ?", [_ORDERS, _ITEMS]),
        pattern_id(_TENANT, _CONNECTOR, Dialect.POSTGRES, "select ?, ?", [_ORDERS, _ITEMS]),
        pattern_id(_TENANT, _CONNECTOR, Dialect.POSTGRES, "select ?", [_ORDERS]),
        pattern_id(_TENANT, _CONNECTOR, Dialect.POSTGRES, "select ?", [TableName(("shop", "other", "orders")), _ITEMS]),
    }
    assert len(others | {known}) == 7


def test_pattern_id_keeps_its_value_across_versions() -> None:
    """Stored rows hold it: a change of the recipe would split every pattern in two."""
    name = f"{_CONNECTOR}\x1fpostgres\x1fselect ?\x1fshop\x1epublic\x1eorders"
    assert pattern_id(_TENANT, _CONNECTOR, Dialect.POSTGRES, "select ?", [_ORDERS]) == uuid5(_TENANT, name)
    assert str(uuid5(_TENANT, name)) == "4a707c90-77d1-5737-a419-f9b02ab282a7"


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("postgresql", Dialect.POSTGRES),
        ("Postgres", Dialect.POSTGRES),
        ("mssql", Dialect.TSQL),
        ("bigquery", Dialect.BIGQUERY),
        ("no such thing", Dialect.ANSI),
        ("", Dialect.ANSI),
    ],
)
def test_dialect_by_a_tools_name(name: str, dialect: Dialect) -> None:
    assert Dialect.of(name) is dialect
