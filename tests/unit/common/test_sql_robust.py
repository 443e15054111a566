"""Whatever stands in a log, an answer comes back, soon, and nothing of it is logged."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.sql import Analysis, DefaultNames, Dialect, analyse, anonymise
from libs.common.sql.anonymise import MAX_TEXT_BYTES
from tests.support.examples import examples
from tests.unit.common.sql_corpus import soup

_NAMES = DefaultNames("shop", ("public",))


def _sound(found: Analysis) -> bool:
    parts = [part for table in found.tables for part in table.parts]
    ordered = found.tables == tuple(sorted(set(found.tables))) and found.columns == tuple(sorted(set(found.columns)))
    return ordered and all(parts) and len(found.text.encode()) <= MAX_TEXT_BYTES


@settings(max_examples=examples(300))
@given(dialect=soup.dialects, sql=st.one_of(soup.anything, soup.soup))
def test_any_text_is_analysed(dialect: Dialect, sql: str) -> None:
    assert _sound(analyse(sql, dialect, _NAMES))


_DEEP = 5_000
_DEEP_STATEMENTS = {
    "parentheses": "select " + "(" * _DEEP + "1" + ")" * _DEEP + " from t",
    "open parentheses": "select 1 from t where " + "(" * _DEEP,
    "subqueries": "select * from " + "(select * from " * _DEEP + "t" + ") x" * _DEEP,
    "calls": "select " + "f(" * _DEEP + "1" + ")" * _DEEP + " from t",
    "cases": "select " + "case when a then " * _DEEP + "1" + " end" * _DEEP + " from t",
    "nots": "select " + "not " * _DEEP + "a from t",
    "signs": "select " + "- " * _DEEP + "a from t",
    "unions": " union all ".join(["select a from t"] * _DEEP),
    "conditions": "select a from t where " + " and ".join(["a = 1"] * _DEEP),
    "brackets": "select " + "[" * _DEEP + "]" * _DEEP + " from t",
    "braces": "select " + "{" * _DEEP + "}" * _DEEP + " from t",
    "nested comments": "select a from t " + "/*" * _DEEP + "*/" * _DEEP,
    "common tables": "with " + ", ".join(f"c{i} as (select * from t)" for i in range(500)) + " select * from c1",
    "glued placeholders": "select a from t where b = " + "$1@p:x%s" * _DEEP,
    "rows": "insert into t values " + ", ".join(["(" * 9 + "1" + ")" * 9] * 500),
    "joins": "select * from t " + " ".join(f"join t x{i} on true" for i in range(2_000)),
}


@pytest.mark.corpus
@pytest.mark.parametrize("dialect", [Dialect.BIGQUERY, Dialect.TSQL, Dialect.SNOWFLAKE, Dialect.CLICKHOUSE])
@pytest.mark.parametrize("sql", _DEEP_STATEMENTS.values(), ids=_DEEP_STATEMENTS)
def test_deep_statements_are_analysed(dialect: Dialect, sql: str) -> None:
    found = analyse(sql, dialect, _NAMES)
    assert _sound(found)
    assert {table.parts[-1].lower() for table in found.tables} <= {"t"}


_DOUBLING = [
    (Dialect.POSTGRES, "select * from t " + "left join t " * 40),
    (Dialect.MYSQL, "select * from t " + " ".join(f"join t x{i}" for i in range(40)) + " where x1.a = x2.a"),
    (Dialect.CLICKHOUSE, "select " + "{'a': " * 40 + "1" + "}" * 40 + " from t"),
    (Dialect.TRINO, "select cast(a as " + "row(x " * 40 + "int" + ")" * 41 + " from t"),
]


@pytest.mark.parametrize(("dialect", "sql"), _DOUBLING)
def test_what_takes_the_parser_for_ever_goes_by_words(dialect: Dialect, sql: str) -> None:
    """Each level doubles sqlglot's time: at 40 levels it would not answer within a lifetime."""
    found = analyse(sql, dialect, _NAMES)
    assert not found.parsed
    assert {table.parts[-1] for table in found.tables} == {"t"}


def test_many_ordinary_joins_are_parsed() -> None:
    sql = "select * from t " + " ".join(f"cross join u join v x{i} on x{i}.a = t.a join w using (b)" for i in range(40))
    found = analyse(sql, Dialect.POSTGRES, _NAMES)
    assert found.parsed
    assert {table.parts[-1] for table in found.tables} == {"t", "u", "v", "w"}


@pytest.mark.corpus
def test_deep_statements_keep_their_tables() -> None:
    lost = [
        name
        for name, sql in _DEEP_STATEMENTS.items()
        if [table.display for table in analyse(sql, Dialect.POSTGRES, _NAMES).tables] != ["shop.public.t"]
    ]
    assert lost == []


_PIECES = [
    *("'", '"', "`", "$$", "$a$", "/*", "*/", "--\n", "(", "in (", "values (", "- ", "?", "? ,", "in (?, ", "a.", "1."),
    *(
        "table a ",
        "using a ",
        "update a ",
        "join a ",
        ", a as (",
        ",",
        "[",
        "{a:",
        ":x",
        "with a as (",
        "from ",
        "\\",
        "'\\",
        "identified by ",
        "E'",
        "%(a",
        "q'[",
        "explain ",
    ),
]


@pytest.mark.corpus
@pytest.mark.parametrize("piece", _PIECES)
def test_long_texts_take_linear_time(piece: str) -> None:
    """A quadratic pattern would not come back from these within anyone's patience."""
    for dialect in (Dialect.POSTGRES, Dialect.MYSQL, Dialect.BIGQUERY, Dialect.ORACLE, Dialect.TSQL):
        text, _ = anonymise("select a from t " + piece * (50_000 // len(piece)), dialect)
        assert text == "?" or text.startswith("select a from t")


@pytest.mark.corpus
@pytest.mark.parametrize("piece", _PIECES)
def test_long_nonsense_is_analysed(piece: str) -> None:
    found = analyse("select a from t " + piece * (20_000 // len(piece)), Dialect.POSTGRES, _NAMES)
    assert _sound(found)


@pytest.mark.corpus
def test_very_long_statements_go_by_words() -> None:
    sql = "select * from orders where " + " or ".join(f"column_{i} = other_{i}" for i in range(60_000))
    found = analyse(sql, Dialect.POSTGRES, _NAMES)
    assert not found.parsed
    assert found.truncated
    assert [table.display for table in found.tables] == ["shop.public.orders"]


@pytest.mark.corpus
def test_a_long_list_of_values_is_parsed_without_them() -> None:
    sql = "insert into orders (a) values " + ", ".join(f"('{i}')" for i in range(200_000))
    found = analyse(sql, Dialect.POSTGRES, _NAMES)
    assert found.parsed
    assert found.text == "insert into orders (a) values (?)"
    assert [table.display for table in found.tables] == ["shop.public.orders"]


def test_sqlglot_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="sqlglot"):
        found = analyse("alter system set x = 'secret'", Dialect.POSTGRES, _NAMES)
        analyse("create materialized view v as select 'secret' with no data", Dialect.POSTGRES, _NAMES)
    assert not found.parsed
    assert caplog.records == []
