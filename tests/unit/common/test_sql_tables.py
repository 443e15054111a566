# ruff: noqa: E501 (each row of the tables is one statement)
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from pglast import split

from libs.common.sql import DefaultNames, Dialect, TableName, analyse
from libs.common.sql.anonymise import scrub
from libs.common.sql.fallback import tables_by_words
from libs.common.sql.names import complete
from libs.common.sql.parse import unwrap
from libs.common.sql.system import is_system_table
from tests.support.examples import examples
from tests.unit.common.sql_corpus import soup
from tests.unit.common.sql_corpus.oracle import Name, tables_by_postgres

_NAMES = DefaultNames("shop", ("public", "other"))
_CORPUS = split((Path(__file__).parent / "sql_corpus" / "postgres.sql").read_text(), with_parser=False)
_FIGURES = logging.getLogger("figures")


def _full(name: Name) -> Name:
    if len(name) == 1:
        name = ("pg_catalog" if is_system_table(name[0], redshift=False) else "public", *name)
    return name if len(name) == 3 else ("shop", *name)


def _tables(sql: str, dialect: Dialect = Dialect.POSTGRES, names: DefaultNames = _NAMES) -> set[Name]:
    return {table.parts for table in analyse(sql, dialect, names).tables}


def _by_words(sql: str, dialect: Dialect = Dialect.POSTGRES) -> set[Name]:
    paths = tables_by_words(unwrap(scrub(sql, dialect).text), dialect)
    return {table.parts for path in paths if (table := complete(path, _NAMES, dialect))}


def test_tables_equal_those_of_postgres_own_parser() -> None:
    expected = {sql: tables_by_postgres(sql) for sql in _CORPUS}
    assert len(expected) >= 250
    assert [sql for sql, tables in expected.items() if tables is None] == []
    wrong = [sql for sql, tables in expected.items() if _tables(sql) != {_full(name) for name in tables or ()}]
    refused = sum(not analyse(sql, Dialect.POSTGRES, _NAMES).parsed for sql in expected)
    _FIGURES.info("%d statements, %d by words, %d with other tables", len(expected), refused, len(wrong))
    assert wrong == []


def test_words_alone_find_almost_the_same_tables() -> None:
    expected = {sql: {_full(name) for name in tables_by_postgres(sql) or ()} for sql in _CORPUS}
    wrong = [sql for sql, tables in expected.items() if _by_words(sql) != tables]
    _FIGURES.info("%d of %d statements differ by words alone", len(wrong), len(expected))
    assert len(wrong) / len(expected) <= 0.01, wrong


@settings(max_examples=examples(300))
@given(sql=soup.postgres_statements)
def test_generated_statements_have_the_tables_of_postgres(sql: str) -> None:
    expected = tables_by_postgres(sql)
    assert expected is not None
    assert _tables(sql) == {_full(name) for name in expected}


@settings(max_examples=examples(300))
@given(sql=soup.queries)
def test_generated_queries_by_words_miss_nothing(sql: str) -> None:
    expected = tables_by_postgres(sql)
    assert expected is not None
    assert _by_words(sql) >= {_full(name) for name in expected}


_SNOWFLAKE = DefaultNames("SHOP", ("PUBLIC",))
_BIGQUERY = DefaultNames("proj", ("sales",))
_MYSQL = DefaultNames(None, ("shop",))
_TSQL = DefaultNames("shop", ("dbo",))

_DIALECTS = [
    (Dialect.SNOWFLAKE, _SNOWFLAKE, "select * from orders, s.Items, db..t", {("SHOP", "PUBLIC", "ORDERS"), ("SHOP", "S", "ITEMS"), ("DB", "PUBLIC", "T")}),
    (Dialect.SNOWFLAKE, _SNOWFLAKE, 'select * from "Orders" at (offset => -60)', {("SHOP", "PUBLIC", "Orders")}),
    (Dialect.SNOWFLAKE, _SNOWFLAKE, "select f.value from t, lateral flatten(input => t.v) f, table(generator(rowcount => 5))", {("SHOP", "PUBLIC", "T")}),
    (Dialect.SNOWFLAKE, _SNOWFLAKE, "select * from identifier('a.b') join identifier('\"C d\"')", {("SHOP", "A", "B"), ("SHOP", "PUBLIC", "C d")}),
    (Dialect.SNOWFLAKE, _SNOWFLAKE, "copy into t from @stage/x", {("SHOP", "PUBLIC", "T")}),
    (Dialect.SNOWFLAKE, _SNOWFLAKE, "select * from t pivot(sum(x) for y in ('a', 'b')) qualify row_number() over (order by z) = 1", {("SHOP", "PUBLIC", "T")}),
    (Dialect.SNOWFLAKE, _SNOWFLAKE, "create or replace table x clone y", {("SHOP", "PUBLIC", "X"), ("SHOP", "PUBLIC", "Y")}),
    (Dialect.SNOWFLAKE, _SNOWFLAKE, "insert all into a into b select * from c", {("SHOP", "PUBLIC", "A"), ("SHOP", "PUBLIC", "B"), ("SHOP", "PUBLIC", "C")}),
    (Dialect.BIGQUERY, _BIGQUERY, "select * from `p.d.Orders` o, o.items i, unnest(o.tags)", {("p", "d", "Orders")}),
    (Dialect.BIGQUERY, _BIGQUERY, "select * from my-proj-1.d.t, d2.`t 2`, T3", {("my-proj-1", "d", "t"), ("proj", "d2", "t 2"), ("proj", "sales", "T3")}),
    (Dialect.BIGQUERY, _BIGQUERY, "select * from `d.events_*` where _table_suffix > '2024'", {("proj", "d", "events_*")}),
    (Dialect.BIGQUERY, _BIGQUERY, "select * except (a) from t for system_time as of timestamp '2024-01-01'", {("proj", "sales", "t")}),
    (Dialect.MYSQL, _MYSQL, "select * from `Order Items` i join db2.T straight_join u", {("shop", "Order Items"), ("db2", "T"), ("shop", "u")}),
    (Dialect.MYSQL, _MYSQL, "delete a, b from t a join u b on a.x = b.x", {("shop", "t"), ("shop", "u")}),
    (Dialect.MYSQL, _MYSQL, "update t a join u b on a.x = b.x set a.y = 'x'", {("shop", "t"), ("shop", "u")}),
    (Dialect.MYSQL, _MYSQL, "replace into t select 1 from dual", {("shop", "t")}),
    (Dialect.MYSQL, _MYSQL, "insert ignore into t (a) values (1) on duplicate key update a = values(a)", {("shop", "t")}),
    (Dialect.MYSQL, _MYSQL, "select * from 2024_orders, db.2024orders", {("shop", "2024_orders"), ("db", "2024orders")}),
    (Dialect.TSQL, _TSQL, "select * from [Order Items] i join srv.db.dbo.T, #temp, @var", {("shop", "dbo", "order items"), ("db", "dbo", "t")}),
    (Dialect.TSQL, _TSQL, "update o set a = 1 from Orders o join b on o.id = b.id", {("shop", "dbo", "orders"), ("shop", "dbo", "b")}),
    (Dialect.TSQL, _TSQL, "delete o from orders o", {("shop", "dbo", "orders")}),
    (Dialect.TSQL, _TSQL, "with c as (select * from t) delete from c", {("shop", "dbo", "t")}),
    (Dialect.TSQL, _TSQL, "select top 5 * into #x from db..t with (nolock)", {("db", "dbo", "t")}),
    (Dialect.TSQL, _TSQL, "select * from t cross apply f(t.a) x outer apply (select top 1 * from u) y", {("shop", "dbo", "t"), ("shop", "dbo", "u")}),
    (Dialect.ORACLE, DefaultNames(None, ("SALES",)), "select * from dual, orders, \"Mixed\", hr.emp@link", {("SALES", "ORDERS"), ("SALES", "Mixed"), ("HR", "EMP@LINK")}),
    (Dialect.REDSHIFT, _NAMES, "select * from orders o, o.items i, \"Mixed\", stl_query", {("shop", "public", "orders"), ("shop", "public", "mixed"), ("shop", "pg_catalog", "stl_query")}),
    (Dialect.REDSHIFT, _NAMES, "unload ('select * from hidden') to 's3://x' iam_role 'y'", set()),
    (Dialect.CLICKHOUSE, DefaultNames(None, ("default",)), "select * from Events final array join tags where x in (select y from db.T) settings a = 1", {("default", "Events"), ("db", "T")}),
    (Dialect.CLICKHOUSE, DefaultNames(None, ("default",)), "select * from numbers(10), remote('h', 'd', 't'), t", {("default", "t")}),
    (Dialect.TRINO, DefaultNames("hive", ("web",)), "select * from Logs, iceberg.s.\"T\" cross join unnest(tags) as t(x)", {("hive", "web", "logs"), ("iceberg", "s", "t")}),
    (Dialect.SPARK, DefaultNames("spark_catalog", ("default",)), "select * from A lateral view explode(x) t as y", {("spark_catalog", "default", "a")}),
    (Dialect.SPARK, DefaultNames(None, ("default",)), "insert overwrite table s.t partition (d = '1') select * from a", {("s", "t"), ("default", "a")}),
    (Dialect.DUCKDB, DefaultNames("db", ("main",)), "select * from 'people.parquet', t, read_csv('x.csv')", {("db", "main", "t")}),
    (Dialect.DUCKDB, DefaultNames("db", ("main",)), "from Orders select a", {("db", "main", "orders")}),
    (Dialect.SQLITE, DefaultNames(None, ("main",)), "insert or replace into [a b] select * from c", {("main", "a b"), ("main", "c")}),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "names", "sql", "expected"), _DIALECTS)
def test_tables_by_dialect(dialect: Dialect, names: DefaultNames, sql: str, expected: set[Name]) -> None:
    assert _tables(sql, dialect, names) == expected


def test_names_without_defaults_stay_short() -> None:
    assert _tables("select * from a, s.b", names=DefaultNames(None, ())) == {("a",), ("s", "b")}
    assert _tables("select * from a, s.b", names=DefaultNames("shop", ())) == {("a",), ("shop", "s", "b")}


def test_temporary_tables_are_none() -> None:
    assert _tables("select * from pg_temp.a, pg_temp_3.b, c") == {("shop", "public", "c")}
    assert _by_words("create temp table a as select * from b") == {("shop", "public", "b")}


def test_extension_views_are_ordinary() -> None:
    assert _tables("select * from pg_stat_statements, pg_stat_activity") == {
        ("shop", "public", "pg_stat_statements"),
        ("shop", "pg_catalog", "pg_stat_activity"),
    }


def test_several_statements_in_one_text() -> None:
    found = analyse("begin; insert into a select * from b; commit", Dialect.POSTGRES, _NAMES)
    assert found.parsed
    assert [table.display for table in found.tables] == ["shop.public.a", "shop.public.b"]


@pytest.mark.parametrize("placeholder", ["%s", "%(x)s", ":x", "$1", "?"])
def test_driver_placeholders_do_not_stop_the_parser(placeholder: str) -> None:
    found = analyse(f"select a from t where b = {placeholder} limit {placeholder}", Dialect.POSTGRES, _NAMES)
    assert found.parsed
    assert found.tables == (TableName(("shop", "public", "t")),)


def test_command_fallback_counts_as_not_parsed() -> None:
    found = analyse("create policy p on orders using (a in (select b from users))", Dialect.POSTGRES, _NAMES)
    assert not found.parsed
    assert {table.parts[-1] for table in found.tables} == {"orders", "users"}


def test_tables_are_sorted_and_distinct() -> None:
    found = analyse("select * from b, a, b x, public.a, shop.public.b", Dialect.POSTGRES, _NAMES)
    assert [table.parts[-1] for table in found.tables] == ["a", "b"]
