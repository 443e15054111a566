"""What is remembered, what is bounded, and what a message may say."""

import logging
import time

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.guard import Policy, prove
from services.query_executor.guard.prove import REMEMBERED, verdict
from services.query_executor.statement import Draft, Engine, Origin, Slot
from tests.unit.query_executor.test_guard_good import GOOD, policy


def refusal(text: str, engine: Engine = Engine.POSTGRES) -> str:
    with pytest.raises(QueryValidationError) as caught:
        prove(Draft(engine, text, ()), Policy())
    return caught.value.detail


@pytest.mark.parametrize("engine", [Engine.POSTGRES, Engine.MYSQL, Engine.CLICKHOUSE])
@pytest.mark.parametrize(
    "text",
    [
        "select " + "(" * 5000 + "1" + ")" * 5000,
        "select " + "[" * 5000,
        "select " + "{" * 5000,
        "select " + "row(" * 30 + "1" + ")" * 30,
        "select " + "case when " * 3000,
        "select " + "tuple(" * 3000,
        "select * from a " + "left join a " * 3000,
        "with x as (" * 200 + "select 1" + ") select 1" * 200,
        "select 1 from (" * 200 + "select 1" + ") x" * 200,
        "select '" + "x" * 100_000 + "'",
        "select " + "1 +" * 30_000,
    ],
    ids=lambda text: text[:24],
)
def test_what_would_hold_the_parser_is_refused(engine: Engine, text: str) -> None:
    assert refusal(text, engine)


def test_long_but_flat_statements_pass() -> None:
    prove(Draft(Engine.POSTGRES, f"select * from t where id in ({', '.join(map(str, range(5000)))})", ()), Policy())
    prove(Draft(Engine.POSTGRES, " union all ".join(f"select {i}" for i in range(500)), ()), Policy())
    prove(Draft(Engine.POSTGRES, f"select {' + '.join(map(str, range(500)))}", ()), Policy())


def test_a_repeated_query_is_not_parsed_again() -> None:
    slots = (Slot("a", Origin.PARAMETER, "x"),)
    first = prove(Draft(Engine.POSTGRES, "select 'tdmkaaaaaaaz' as repeated", slots), Policy())
    hits = verdict.cache_info().hits
    again = prove(
        Draft(Engine.POSTGRES, "select 'tdmkaaaaaaaz' as repeated", (Slot("b", Origin.PARAMETER, "x"),)), Policy()
    )
    assert again is first
    assert verdict.cache_info().hits == hits + 1


def test_policy_and_secrets_are_part_of_what_is_remembered() -> None:
    text = "select my_own(1), 'tdmkaaaaaaaz'"
    allowed = Policy(functions=frozenset({"my_own"}))
    prove(Draft(Engine.POSTGRES, text, (Slot("a", Origin.PARAMETER, "x"),)), allowed)
    with pytest.raises(QueryValidationError):
        prove(Draft(Engine.POSTGRES, text, (Slot("a", Origin.PARAMETER, "x"),)), Policy())
    with pytest.raises(QueryValidationError):
        prove(Draft(Engine.POSTGRES, text, (Slot("a", Origin.SECRET, "secret.x"),)), allowed)


def test_refusals_are_remembered_and_memory_is_bounded() -> None:
    refusal("drop table remembered")
    hits = verdict.cache_info().hits
    refusal("drop table remembered")
    assert verdict.cache_info().hits == hits + 1
    assert verdict.cache_info().maxsize == REMEMBERED


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("select a\nfrom t\nwhere where", "line 3"),
        ("select 'abc", "line 1, column 8"),
        ("select 1\n, /*!x*/ 2", "line 2, column 3"),
        ("explain select\n  pg_sleep(1)", "line 2, column 3"),
        ("select 1;\nselect 2", "line 1, column 9"),
    ],
)
def test_a_message_says_where(text: str, where: str) -> None:
    assert where in refusal(text)


@pytest.mark.parametrize(
    "text",
    ["select 'hunter2' from", "select 'hunter2", "select f('hunter2')", "drop table x -- hunter2", "call 'hunter2'"],
)
def test_a_message_holds_no_literal(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert "hunter2" not in refusal(text)
    assert "hunter2" not in caplog.text


def test_the_tables_that_are_read_are_told() -> None:
    text = (
        "with x as (select * from a.b) "
        "select * from x, c join lateral (select * from d.e.f) y on true where g in (table h)"
    )
    proof = prove(Draft(Engine.POSTGRES, text, ()), Policy())
    assert set(proof.tables) == {("a", "b"), ("c",), ("d", "e", "f"), ("h",)}
    assert proof.returns_rows
    assert not prove(Draft(Engine.POSTGRES, "explain " + text, ()), Policy()).returns_rows


def test_figures() -> None:
    drafts = [(Draft(engine, text, ()), policy(engine)) for engine, text in GOOD]
    verdict.cache_clear()
    cold = timed(drafts)
    cached = timed(drafts)
    print(f"GUARD_SPEED cold_per_s={cold:.0f} cached_per_s={cached:.0f} ratio={cached / cold:.0f}")
    assert verdict.cache_info().hits >= len(drafts)


def timed(drafts: list[tuple[Draft, Policy]]) -> float:
    start = time.process_time()
    for draft, rules in drafts:
        prove(draft, rules)
    return len(drafts) / max(time.process_time() - start, 1e-9)
