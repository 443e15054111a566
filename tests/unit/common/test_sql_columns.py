# ruff: noqa: E501 (each row of the tables is one statement)
import pytest
from hypothesis import given, settings

from libs.common.sql import DefaultNames, Dialect, analyse
from tests.support.examples import examples
from tests.unit.common.sql_corpus import soup

_NAMES = DefaultNames("shop", ("public",))
_P = Dialect.POSTGRES

_COLUMNS = [
    (_P, "select a, o.b, orders.c from orders o where d > 1", "orders.a orders.b orders.d"),
    (_P, "select orders.a, public.orders.b, shop.public.orders.c from orders", "orders.a orders.b orders.c"),
    (_P, "select a, o.b, i.c from orders o join items i on o.id = i.order_id", "items.c items.order_id orders.b orders.id"),
    (_P, "select a from orders join items using (id)", "items.id orders.id"),
    (_P, "select * from orders", ""),
    (_P, "select o.*, count(*) from orders o", ""),
    (_P, "select count(*) as n, a from orders group by a having count(*) > 1 order by n, b", "orders.a orders.b"),
    (_P, "select distinct on (a) b, sum(c) over w from t window w as (partition by d order by e)", "t.a t.b t.c t.d t.e"),
    (_P, "select case when a > 1 then b else c end, d::int, e[1], (f).g from t", "t.a t.b t.c t.d t.e t.f"),
    (_P, "select 1 from a where exists (select 1 from b where b.a_id = a.id and kind = 'x')", "a.id b.a_id b.kind"),
    (_P, "select x from a where y in (select z from b where w = a.v)", "a.v a.x a.y b.w b.z"),
    (_P, "select (select max(k) from u where u.i = t.i) from t", "t.i u.i u.k"),
    (_P, "with x as (select a, b from t) select a, c from x", "t.a t.b"),
    (_P, "with x as (select * from t) select a, x.b from x", "t.a t.b"),
    (_P, "with x as (select a, b as c from t) select x.c, x.d from x", "t.a t.b"),
    (_P, "with x as (select * from t), y as (select * from x) select a from y", "t.a"),
    (_P, "with t as (select * from t where b = 1) select a from t", "t.a t.b"),
    (_P, "select a from (select *, 1 as n from t) s where n = 1", "t.a"),
    (_P, "select s.a from (select t.*, u.b from t join u using (id)) s", "t.a t.id u.b u.id"),
    (_P, "select x.a from t as x(a, b)", ""),
    (_P, "select a from t union select b from u order by c", "t.a u.b"),
    (_P, "with recursive r as (select id from n union all select n.id from n join r on n.p = r.id) select id from r", "n.id n.p"),
    (_P, "select a, g.n from t, generate_series(1, t.b) g(n)", "t.b"),
    (_P, "select t.a, l.b from t cross join lateral (select b, c from u where u.x = t.y) l", "t.a t.y u.b u.c u.x"),
    (_P, "select t from t", ""),
    (_P, 'select "Mixed", LOWER from "T"', "T.Mixed T.lower"),
    (_P, "insert into t (a, b) select c, d from s", "s.c s.d t.a t.b"),
    (_P, "insert into t (a) values (1) on conflict (a) do update set b = excluded.c where t.d > 1 returning e", "t.a t.b t.c t.d t.e"),
    (_P, "update t set a = s.b, c = c + 1 from s where t.id = s.id", "s.b s.id t.a t.c t.id"),
    (_P, "update t x set a = 1 where x.b = 2 returning c", "t.a t.b t.c"),
    (_P, "delete from t using u where t.id = u.id and z = 1", "t.id u.id"),
    (_P, "delete from t where a = 1", "t.a"),
    (_P, "merge into t using s on t.a = s.a when matched and s.k > 1 then update set b = s.b when not matched then insert (a, c) values (s.a, s.d)", "s.a s.b s.d s.k t.a t.b t.c"),
    (_P, "create table x as select a from t where b = 1", "t.a t.b"),
    (_P, "create view x (p, q) as select a, b from t", "t.a t.b"),
    (_P, "create table x (a int, b text)", ""),
    (_P, "create index i on t (a, lower(b)) where c", "t.a t.b t.c"),
    (_P, "copy t (a, b) from stdin", "t.a t.b"),
    (_P, "copy (select a from t) to stdout", "t.a"),
    (_P, "explain analyze select a from t", "t.a"),
    (_P, "select a from t for update", "t.a"),
    (Dialect.BIGQUERY, "select Cust.Name, o.Total from `p.d.Orders` o where Status = 'x'", "Orders.cust Orders.status Orders.total"),
    (Dialect.BIGQUERY, "select item.price from d.t o, unnest(o.items) item", "t.items"),
    (Dialect.BIGQUERY, "select * except (a) from t where b = 1", "t.b"),
    (Dialect.SNOWFLAKE, 'select v:a.b::string, t."Mixed" from t qualify row_number() over (order by e) = 1', "T.E T.Mixed T.V"),
    (Dialect.SNOWFLAKE, "select * from t pivot(sum(amount) for month in ('a', 'b')) p where p.k = 1", "T.AMOUNT T.MONTH"),
    (Dialect.MYSQL, "select `A` from T where B = 'x'", "T.a T.b"),
    (Dialect.MYSQL, "update a join b on a.x = b.x set b.y = 1", "a.x b.x b.y"),
    (Dialect.ORACLE, "select a from t where rownum < 5", "T.A"),
    (Dialect.TSQL, "update o set o.a = 1 from orders o join b on o.id = b.id", "b.id orders.a orders.id"),
    (Dialect.SPARK, "select a, c.x from t lateral view explode(items) c as x where t.z = 1", "t.items t.z"),
    (Dialect.TRINO, "select transform(xs, x -> x + 1) from t", "t.xs"),
    (Dialect.DUCKDB, "select a from 'people.parquet' where b = 1", ""),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "sql", "expected"), _COLUMNS)
def test_columns(dialect: Dialect, sql: str, expected: str) -> None:
    found = analyse(sql, dialect, _NAMES)
    assert found.parsed
    assert " ".join(sorted(f"{column.table.parts[-1]}.{column.column}" for column in found.columns)) == expected


def test_columns_are_sorted_distinct_and_of_the_statements_tables() -> None:
    found = analyse("select b.x, a.y, b.x, a.x from a, b", _P, _NAMES)
    assert [(column.table.display, column.column) for column in found.columns] == [
        ("shop.public.a", "x"),
        ("shop.public.a", "y"),
        ("shop.public.b", "x"),
    ]


@settings(max_examples=examples(200))
@given(sql=soup.postgres_statements)
def test_columns_belong_to_tables_of_the_statement(sql: str) -> None:
    found = analyse(sql, _P, _NAMES)
    assert {column.table for column in found.columns} <= set(found.tables)
    assert {column.column for column in found.columns} <= {"a", "x", "c"}


def test_no_columns_where_words_had_to_do() -> None:
    found = analyse("create policy p on orders using (a = 1)", _P, _NAMES)
    assert (found.parsed, found.columns) == (False, ())
