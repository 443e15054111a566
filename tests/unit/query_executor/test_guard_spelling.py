"""The same attack in any spelling and at any place, and the same rule for a name in any list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.sql.dialects import Dialect
from libs.common.sql.lexer import spans
from services.query_executor.errors import QueryValidationError
from services.query_executor.guard import Policy, prove
from services.query_executor.guard.lists import sections
from services.query_executor.guard.names import PLAIN, functions, never
from services.query_executor.statement import Draft, Engine
from tests.unit.query_executor.test_guard_good import SQL

# Functions that each engine's server really has, with arguments that its parser takes.
DANGEROUS = {
    Engine.POSTGRES: ("pg_sleep(1)", "pg_read_file('/etc/passwd')", "set_config('a', 'b', false)", "lo_import('/x')"),
    Engine.INTERNAL: ("pg_sleep(1)", "current_setting('x')", "query_to_xml('select 1', true, true, '')"),
    Engine.REDSHIFT: ("pg_sleep(1)", "pg_cancel_backend(1)"),
    Engine.MYSQL: ("sleep(1)", "load_file('/etc/passwd')", "benchmark(1, 1)", "get_lock('a', 1)"),
    Engine.CLICKHOUSE: ("sleep(1)", "file('/etc/passwd')", "dictGet('a', 'b', 1)", "joinGet('a', 'b', 1)"),
}
PLACES = (
    "select {}",
    "select 1 + {}",
    "select a, {} as b from t",
    "select * from t where {} = 1",
    "select * from t where a = 1 or {} is not null",
    "select * from t where a in (1, {})",
    "select * from t where a between 1 and {}",
    "select * from t group by {}",
    "select a from t group by a having max({}) = 1",
    "select * from t order by {} desc",
    "select case when {} = 1 then 1 else 2 end",
    "select case a when 1 then {} end from t",
    "select coalesce(null, {})",
    "select cast({} as char(10))",
    "select max({}) over (partition by a order by b) from t",
    "select max(a) over (partition by {}) from t",
    "select (select (select {}))",
    "select * from (select {} as x) y",
    "with x as (select {} as y) select 1",
    "with a as (select 1 as x), b as (select {} as y from a) select * from b",
    "select 1 union all select {}",
    "(select 1) union all (select {})",
    "select * from t join u on t.a = {}",
    "select exists (select 1 from t where a = {})",
    "select * from t where a > all (select {})",
    "select concat('a', {}, 'b')",
    "select not ({} = 1)",
    "select - {}",
    "select '--', {} -- '",
    "select '/*', {} /* ' */",
    "select ';', {}",
    "explain select {}",
)
TENANT = Policy(tenant_tables=frozenset({"t", "u"}))
ALLOWING = frozenset(call.partition("(")[0].lower() for calls in DANGEROUS.values() for call in calls)


def is_refused(engine: Engine, text: str, functions: frozenset[str] = frozenset()) -> bool:
    try:
        prove(Draft(engine, text, ()), Policy(functions=functions, tenant_tables=TENANT.tenant_tables))
    except QueryValidationError:
        return True
    return False


@pytest.mark.parametrize("engine", SQL)
@pytest.mark.parametrize("place", PLACES)
def test_a_dangerous_function_is_refused_at_every_place(engine: Engine, place: str) -> None:
    harmless = place.format("length('x')")
    assert not is_refused(engine, harmless), harmless
    for call in DANGEROUS[engine]:
        assert is_refused(engine, place.format(call)), call
        assert is_refused(engine, place.format(call), ALLOWING), call


def quoted(engine: Engine, name: str) -> str:
    return f"`{name}`" if engine in (Engine.MYSQL, Engine.CLICKHOUSE) else f'"{name}"'


@given(engine=st.sampled_from(SQL), data=st.data())
def test_a_dangerous_function_is_refused_in_every_spelling(engine: Engine, data: st.DataObject) -> None:
    name, _, arguments = data.draw(st.sampled_from(DANGEROUS[engine])).partition("(")
    cased = "".join(data.draw(st.sampled_from((letter.lower(), letter.upper()))) for letter in name)
    written = data.draw(st.sampled_from((cased, quoted(engine, cased), f"pg_catalog.{cased}", f'"pg_catalog".{cased}')))
    gap = data.draw(st.lists(st.sampled_from((" ", "\t", "\n", "\r\n", "/**/", "/* x */", "-- x\n")), max_size=3))
    lead = data.draw(st.sampled_from(("", "1, ", "'a', ", "'', ", "'a''b', ")))
    assert is_refused(engine, f"select {lead}{written}{''.join(gap)}({arguments}", ALLOWING)


@given(text=st.text(max_size=60), engine=st.sampled_from(SQL))
def test_any_text_is_proved_or_refused(text: str, engine: Engine) -> None:
    is_refused(engine, text)
    is_refused(engine, f"select {text}")


@given(text=st.text(alphabet="'\"`\\$-/*# ;()[]{}@:U&Ee\n\rselctp_1,", max_size=40), engine=st.sampled_from(SQL))
def test_no_play_with_quotes_brings_a_function_past(text: str, engine: Engine) -> None:
    """Whatever surrounds it: either it is inside a literal, a name or a comment for two lexers, or it is refused."""
    call = DANGEROUS[engine][0]
    if not is_refused(engine, f"select {text} {call}"):
        draft = Draft(engine, f"select {text} {call}", ())
        assert call.partition("(")[0] not in prove(draft, TENANT).names
        assert is_inside(engine, draft.text, len(f"select {text} "))


def is_inside(engine: Engine, text: str, offset: int) -> bool:
    return any(span.start < offset < span.end for span in spans(text, Dialect.of(engine.dialect)))


@pytest.mark.parametrize("engine", SQL)
def test_no_list_holds_what_is_never_allowed(engine: Engine) -> None:
    lists = functions(engine)
    names = lists.scalar | lists.aggregates | lists.tables
    assert {name for name in names if never(engine, name)} == set()
    assert {name for name in names if not PLAIN.fullmatch(name)} == set()
    assert len(names) > 250


@pytest.mark.parametrize("name", ["clickhouse", "mysql", "postgres", "redshift"])
def test_no_list_holds_what_the_specification_blocks(name: str) -> None:
    blocked = {"pg_sleep", "sleep", "load_file", "file", "s3", "url", "remote", "mysql", "postgresql", "input"}
    assert frozenset().union(*sections(name).values()) & blocked == frozenset()


def test_a_secret_may_allow_a_function_by_name() -> None:
    text = "select my_function(1), app.other(2)"
    assert is_refused(Engine.POSTGRES, text)
    assert is_refused(Engine.POSTGRES, text, frozenset({"my_function"}))
    assert is_refused(Engine.POSTGRES, text, frozenset({"my_function", "other"}))
    assert not is_refused(Engine.POSTGRES, text, frozenset({"my_function", "app.other"}))
    assert not is_refused(Engine.POSTGRES, 'select MY_Function(1), "my_function"(2)', frozenset({"my_function"}))


def test_the_message_names_the_function_and_the_setting() -> None:
    with pytest.raises(QueryValidationError, match=r"my_function .*line 2, column 3.*allowed_functions"):
        prove(Draft(Engine.POSTGRES, "select\n  my_function(1)", ()), Policy())
