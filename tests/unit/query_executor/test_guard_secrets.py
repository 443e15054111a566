"""A secret may stand against a column of a table where rows are chosen, and nowhere else."""

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.guard import Policy, prove
from services.query_executor.statement import Draft, Engine, Origin, Slot, token

SECRET = Slot("hunter2", Origin.SECRET, "secret.api_key")
S = token(0)


def outcome(text: str, engine: Engine = Engine.POSTGRES, origin: Origin = Origin.SECRET) -> object:
    slots = (Slot("hunter2", origin, "secret.api_key"),) * 3
    try:
        return prove(Draft(engine, text.replace("S!", S), slots), Policy())
    except QueryValidationError as error:
        return error.detail


@pytest.mark.parametrize(
    "text",
    [
        "select * from users where api_key = 'S!'",
        "select * from users where 'S!' = api_key",
        "select * from users where api_key = S!",
        "select * from users where (api_key) = ('S!')",
        "select * from users u where u.api_key <> 'S!' and u.a = 1",
        "select * from users where a = 1 or not (api_key = 'S!')",
        "select * from users where api_key in ('S!', 'x')",
        "select * from users where api_key not in ('S!')",
        "select * from users where level < 'S!' and level >= 'S!'",
        "select * from users where api_key like 'S!'",
        "select * from users where level between 'S!' and 'x'",
        "select * from users u join orders o on o.user_id = u.id and u.api_key = 'S!'",
        "select a, count(*) from users group by a having a = 'S!'",
        "select * from a where exists (select 1 from users u where u.k = 'S!' and u.id = a.id)",
        "select * from (select * from users where api_key = 'S!') x",
        "with x as (select * from users where api_key = 'S!') select * from x",
        "with x as (select * from u where api_key = 'S!' union select * from old) select * from x union select 1",
        "select 1 from (select 'a' as c) d join (select * from users where api_key = 'S!') u on u.id = d.c",
        "with x as (select 1) select * from users where api_key = 'S!'",
        "select * from users u, (select 1 as one) x where u.api_key = 'S!'",
        "select 1 from users where api_key = 'S!' union select 2 from users where api_key = 'S!'",
        "explain select * from users where api_key = 'S!'",
    ],
)
def test_a_secret_may_choose_rows(text: str) -> None:
    assert not isinstance(outcome(text), str), outcome(text)


@pytest.mark.parametrize(
    "text",
    [
        "select 'S!'",
        "select S!",
        "select 'S!' as x from users",
        "select api_key = 'S!' from users",
        "select case when api_key = 'S!' then 1 end from users",
        "select count(*) filter (where api_key = 'S!') from users",
        "select * from users where upper(api_key) = 'S!'",
        "select * from users where api_key = upper('S!')",
        "select * from users where api_key = 'S!' || 'x'",
        "select * from users where api_key = 'xS!'",
        "select * from users where api_key = 'S! '",
        "select * from users where api_key like '%S!%'",
        "select * from users where 'S!' like api_key",
        "select * from users where 'S!' = 'a'",
        "select * from users where 'S!' = 'S!'",
        "select * from users where S! = S!",
        "select * from users where api_key = cast('S!' as text)",
        "select * from users where api_key = 'S!'::text",
        "select * from users where api_key = (select 'S!')",
        "select * from users where api_key = (select key from keys where 'S!' > key limit 1) || 'S!'",
        "select * from users where length('S!') = 7",
        "select * from users where 'S!' in (select x from y)",
        "select * from users where 'S!' between a and b",
        "select * from users where a + 1 = 'S!'",
        "select * from users where data->>'k' = 'S!'",
        "select * from users where substring(api_key from 1 for 1) = 'S!'",
        "select * from users where case when api_key = 'S!' then true else false end",
        "select * from users where (api_key = 'S!') is true",
        "select * from users where coalesce(api_key = 'S!', false)",
        "select * from users where (api_key = 'S!') = (1 = 1)",
        "select * from users order by 'S!'",
        "select * from users order by api_key = 'S!'",
        "select a from users group by 'S!', a",
        "select sum(a) over (partition by api_key = 'S!') from users",
        "select * from users limit 'S!'",
        "values ('S!')",
        "select * from (values ('S!')) v(x)",
        "select * from generate_series(1, 'S!')",
        "select * from unnest(array['S!']) x",
        # candidates that the author made up
        "select x from (values ('a'), ('b')) v(x) where x < 'S!'",
        "select x from (values ('a'), ('b')) v(x) where v.x < 'S!'",
        "with v(x) as (values ('a')) select x from v where x < 'S!'",
        "with v as (select 'a' as x) select v.x from v where v.x = 'S!'",
        "select g from generate_series(1, 9999) g where g = 'S!'",
        "select c from (select chr(g) as c from generate_series(32, 126) g) d where c < 'S!'",
        "select d.c from (select 'a' as c) d where exists (select 1 from users where d.c < 'S!')",
        "select c from (select 'a' as c) d where exists (select 1 from users where c < 'S!')",
        "select c from (select 'a' as c) d where exists (select 1 from (select 1 from users where c < 'S!') z)",
        "select c from (select 'a' as c) d where exists (with z as (select 1 from u where c < 'S!') select * from z)",
        "select c from (select 'a' as c) d where exists (select 1 from users union select 1 from users where c < 'S!')",
        "select 1 from users u join (select 'a' as c) d on d.c = 'S!'",
        "select 1 from users u left join lateral (select 'a' as c) d on true where d.c = 'S!'",
        "select 1 from users u, lateral unnest(array['a']) c where c = 'S!'",
        "select 'a' as x where x = 'S!'",
        "select 'a' as x from users having 'a' = 'S!'",
        'select * from "S!"',
        'select "S!" from users',
        'select a as "S!" from users',
        "select * from users /* S! */",
        "select * from users where api_key = $$S!$$ and a = $$x S!$$",
        "show S!",
    ],
)
def test_a_secret_anywhere_else_is_refused(text: str) -> None:
    assert isinstance(outcome(text), str)


@pytest.mark.parametrize("engine", [Engine.MYSQL, Engine.CLICKHOUSE, Engine.REDSHIFT])
def test_the_rule_holds_in_each_dialect(engine: Engine) -> None:
    assert not isinstance(outcome("select * from users where api_key = 'S!'", engine), str)
    assert "A secret may only be compared" in str(outcome("select concat('S!', 'x') from users", engine))
    assert "A secret may only be compared" in str(outcome("select 'S!' from users", engine))


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        (Engine.CLICKHOUSE, "select x from users array join ['a', 'b'] as x where x < 'S!'"),
        (Engine.CLICKHOUSE, "with 'a' as x select 1 from users where x < 'S!'"),
        (Engine.CLICKHOUSE, "select 'a' as x from users where x < 'S!'"),
        (Engine.CLICKHOUSE, "select 1 from users where ('a' as x) = 'b' or x < 'S!'"),
        (Engine.CLICKHOUSE, "select arrayExists(x -> x < 'S!', ['a']) from users"),
        (Engine.CLICKHOUSE, "select 1 from users where arrayExists(x -> x < 'S!', ['a'])"),
        (Engine.MYSQL, "select 'a' as x from users having x < 'S!'"),
        (Engine.REDSHIFT, "select 'a' as x from users where x < 'S!'"),
    ],
)
def test_columns_made_by_a_clause_are_no_columns_of_a_table(engine: Engine, text: str) -> None:
    assert "A secret may only be compared" in str(outcome(text, engine))


@pytest.mark.parametrize("origin", [Origin.PARAMETER, Origin.PROFILE, Origin.CONSTANT])
def test_other_values_stand_anywhere(origin: Origin) -> None:
    assert not isinstance(outcome("select 'S!', upper(S!), 'a S! b'", origin=origin), str)


def test_the_message_says_where_a_secret_may_stand() -> None:
    assert "compared with a column of a table" in str(outcome("select 'S!'"))
