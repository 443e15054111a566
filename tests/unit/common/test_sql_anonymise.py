import logging
import re

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot.tokenizer_core import TokenType

from libs.common.sql import DefaultNames, Dialect, analyse, anonymise
from libs.common.sql.anonymise import MAX_TEXT_BYTES
from tests.support.examples import examples
from tests.unit.common.sql_corpus import adversarial, soup

_LEAK = re.compile(r"LEAK(?!LESS)|4711")
_NAMES = DefaultNames("shop", ("public",))
_LITERALS = {
    TokenType.STRING,
    TokenType.NUMBER,
    TokenType.HEX_STRING,
    TokenType.BIT_STRING,
    TokenType.BYTE_STRING,
    TokenType.HEREDOC_STRING,
    TokenType.RAW_STRING,
    TokenType.NATIONAL_STRING,
    TokenType.UNICODE_STRING,
}

_EXPECTED = [
    (Dialect.POSTGRES, "SELECT  a,\n b FROM t1 WHERE c = 'x' AND d = 5 ;", "SELECT a, b FROM t1 WHERE c = ? AND d = ?"),
    (
        Dialect.POSTGRES,
        "select true, false, null, t1.c2 from orders_2024",
        "select true, false, null, t1.c2 from orders_2024",
    ),
    (Dialect.POSTGRES, "select a::int, b :: text, '5'::int", "select a::int, b :: text, ?::int"),
    (Dialect.POSTGRES, "select a[1:2], b[:n], c[m:n]", "select a[?:?], b[:n], c[m:n]"),
    (
        Dialect.POSTGRES,
        "select d->'k', d->>'k', d #> '{a}', d @> '{}', d ?| array['a']",
        "select d->?, d->>?, d #> ?, d @> ?, d ?| array[?]",
    ),
    (
        Dialect.POSTGRES,
        "select * from t where a = $1 and b = %s and c = %(x)s and d = :x",
        "select * from t where a = ? and b = ? and c = ? and d = ?",
    ),
    (Dialect.POSTGRES, "select a % s, a%s, b %(c)", "select a % s, a%s, b %(c)"),
    (
        Dialect.POSTGRES,
        "select -5, a - 5, a -5, a = -5, a - -5, (-5), f(-5, +5), a->-1",
        "select ?, a - ?, a -?, a = ?, a - ?, (?), f(?, ?), a->?",
    ),
    (Dialect.POSTGRES, "select 1 where a in (1,2, 3) and b IN( 'x' )", "select ? where a in (?) and b IN (?)"),
    (
        Dialect.POSTGRES,
        "select 1 where a in (1, null) and b in (c, 2)",
        "select ? where a in (?, null) and b in (c, ?)",
    ),
    (Dialect.POSTGRES, "select 1 where (a, b) in ((1, 2), (3, 4))", "select ? where (a, b) in ((?, ?))"),
    (Dialect.POSTGRES, "insert into t values (1, 'a'), (2, 'b'),(3,'c')", "insert into t values (?, ?)"),
    (
        Dialect.POSTGRES,
        "insert into t values (1, now()), (2, now()), (3, null)",
        "insert into t values (?, now()), (?, null)",
    ),
    (
        Dialect.POSTGRES,
        'select "it\'s", "in (?, ?)", "a  b" from "x -- y"',
        'select "it\'s", "in (?, ?)", "a  b" from "x -- y"',
    ),
    (Dialect.POSTGRES, "select a -- c\nfrom /* x */ t", "select a from t"),
    (Dialect.POSTGRES, "select a/**/from/**/t", "select a from t"),
    (
        Dialect.POSTGRES,
        "select e'a\\'b', u&'x' uescape '!', b'1', x'1f', n'y', $$z$$, $t$z$t$",
        "select ?, ? uescape ?, ?, ?, ?, ?, ?",
    ),
    (Dialect.POSTGRES, "select 'never ends from x", "select ?"),
    (Dialect.POSTGRES, "select a /* never ends from x", "select a"),
    (Dialect.POSTGRES, "alter role x password 'y' valid until 'z'", "alter role x password ? valid until ?"),
    (
        Dialect.POSTGRES,
        "select date '2024-01-01', interval '1 day', varchar(5)",
        "select date ?, interval ?, varchar(?)",
    ),
    (Dialect.POSTGRES, "", ""),
    (Dialect.POSTGRES, " ;; ", ""),
    (Dialect.POSTGRES, "select 1; select 2;", "select ?; select ?"),
    (
        Dialect.MYSQL,
        'select "a", `b c`, 2024_x.y, 5--3, @v, @@sql_mode # c',
        "select ?, `b c`, 2024_x.y, ?-?, ?, @@sql_mode",
    ),
    (Dialect.MYSQL, "select a-- c\n, b", "select a , b"),
    (
        Dialect.BIGQUERY,
        'select "a", r"\\"x", """y"z""" from my-proj-1.d.t where b = @p',
        "select ?, ?, ? from my-proj-1.d.t where b = ?",
    ),
    (
        Dialect.SNOWFLAKE,
        "select v:a.b::string, $1, $$x$$, 'a\\'b' from @s // c",
        "select v:a.b::string, $1, ?, ? from @s",
    ),
    (Dialect.TSQL, "select [a ]] 'b], N'x' from #t where x = @p1", "select [a ]] 'b], ? from #t where x = ?"),
    (Dialect.ORACLE, "select q'[it's]', nq'!a'b!' from dual where a = :1", "select ?, ? from dual where a = ?"),
    (Dialect.ORACLE, "alter user scott identified by tiger", "alter user scott identified by ?"),
    (Dialect.CLICKHOUSE, "select {x:UInt8}, a ? b : c from t", "select ?, a ? b : c from t"),
    (Dialect.SQLITE, "select ?1, :a, @b, $c from [x y]", "select ?, ?, ?, ? from [x y]"),
]


@pytest.mark.parametrize(("dialect", "sql", "expected"), _EXPECTED)
def test_text(dialect: Dialect, sql: str, expected: str) -> None:
    assert anonymise(sql, dialect) == (expected, False)


def test_no_adversarial_statement_leaks(caplog: pytest.LogCaptureFixture) -> None:
    statements = adversarial.statements()
    assert len(adversarial.EVERYWHERE) + len(adversarial.PER_DIALECT) >= 150
    with caplog.at_level(logging.DEBUG):
        results = [(dialect, sql, analyse(sql, dialect, _NAMES)) for dialect, sql in statements]
    leaks = [(dialect, sql) for dialect, sql, found in results if _LEAK.search(found.text)]
    named = [
        sql
        for _, sql, found in results
        if any(_LEAK.search(table.display) for table in found.tables)
        or any(_LEAK.search(column.column) for column in found.columns)
    ]
    refused = sum(not found.parsed for _, _, found in results)
    logging.getLogger("figures").info(
        "%d statements, %d refused by the parser, %d leaks", len(results), refused, len(leaks)
    )
    assert refused > 100, "statements that no parser reads belong to the table"
    assert leaks == []
    assert named == []
    assert not _LEAK.search(caplog.text)


@pytest.mark.parametrize(("dialect", "sql"), [case for case in adversarial.statements() if case[0] is Dialect.POSTGRES])
def test_adversarial_statements_are_stable(dialect: Dialect, sql: str) -> None:
    text, _ = anonymise(sql, dialect)
    assert anonymise(text, dialect) == (text, False)


@settings(max_examples=examples(400))
@given(dialect=soup.dialects, sql=st.one_of(soup.soup, soup.anything))
def test_anonymising_twice_changes_nothing(dialect: Dialect, sql: str) -> None:
    text, _ = anonymise(sql, dialect)
    assert anonymise(text, dialect) == (text, False)
    text.encode()


@pytest.mark.parametrize(
    "dialect",
    [
        Dialect.POSTGRES,
        Dialect.MYSQL,
        Dialect.BIGQUERY,
        Dialect.SNOWFLAKE,
        Dialect.SPARK,
        Dialect.TRINO,
        Dialect.ORACLE,
    ],
)
@settings(max_examples=examples(100))
@given(data=st.data())
def test_no_literal_survives_in_the_eyes_of_sqlglot(dialect: Dialect, data: st.DataObject) -> None:
    sql, _ = data.draw(soup.well_formed(dialect))
    text, _ = anonymise(sql, dialect)
    assert "zq" not in text
    assert [token for token in sqlglot.tokenize(text, dialect=dialect.sqlglot) if token.token_type in _LITERALS] == []


@pytest.mark.parametrize("dialect", [Dialect.POSTGRES, Dialect.MYSQL, Dialect.SNOWFLAKE, Dialect.TRINO])
@settings(max_examples=examples(100))
@given(data=st.data())
def test_all_but_literals_and_comments_is_kept(dialect: Dialect, data: st.DataObject) -> None:
    """Every word outside literals is still there, in order."""
    sql, _ = data.draw(soup.well_formed(dialect))
    text, _ = anonymise(sql, dialect)
    tokens = sqlglot.tokenize(sql, dialect=dialect.sqlglot)
    words = [token.text for token in tokens if token.token_type not in _LITERALS and re.match(r"\w", token.text)]
    kept = [token.text for token in sqlglot.tokenize(text, dialect=dialect.sqlglot) if re.match(r"\w", token.text)]
    assert kept == words


def test_long_text_is_cut_at_a_word() -> None:
    sql = "select " + ", ".join(f"column_é_{i}" for i in range(20_000)) + " from t where a = 'secret'"
    text, truncated = anonymise(sql, Dialect.POSTGRES)
    assert truncated
    assert MAX_TEXT_BYTES - 100 < len(text.encode()) <= MAX_TEXT_BYTES
    assert re.search(r"column_é_\d+,?$", text)
    assert anonymise(text, Dialect.POSTGRES) == (text, False)


def test_cutting_does_not_open_a_quoted_name() -> None:
    sql = "select " + ", ".join(f'"a b {i}"' for i in range(20_000))
    text, truncated = anonymise(sql, Dialect.POSTGRES)
    assert truncated
    assert text.count('"') % 2 == 0
    assert anonymise(text, Dialect.POSTGRES) == (text, False)


def test_long_lists_do_not_count_against_the_cap() -> None:
    sql = "select * from t where id in (" + ", ".join(map(str, range(100_000))) + ")"
    assert anonymise(sql, Dialect.POSTGRES) == ("select * from t where id in (?)", False)


@pytest.mark.parametrize(
    ("sql", "comment"),
    [
        ("-- Metabase:: userID: 12 queryType: native\nselect 1", "Metabase:: userID: 12 queryType: native"),
        ("/* app=superset */ select 1 /* inner */ from t -- user:7", "app=superset\nuser:7"),
        ("select 1 /* inner */ from t", None),
        ('select 1; -- Looker {"user_id":5}\n', 'Looker {"user_id":5}'),
        ("-- only", "only"),
        ("select '-- no comment'", None),
    ],
)
def test_comment_around_the_statement(sql: str, comment: str | None) -> None:
    found = analyse(sql, Dialect.POSTGRES, _NAMES)
    assert found.comment == comment
    assert comment is None or comment not in found.text
