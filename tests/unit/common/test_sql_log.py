"""A generated log of six dialects: no literal comes through, a pattern is one text, tables are the parsers' own."""

import functools
import logging
import re

import pytest
import sqlglot
from sqlglot import exp

from bench.sql_log import LogRow, generate
from libs.common.sql import DefaultNames, Dialect, analyse
from libs.common.sql.anonymise import scrub
from libs.common.sql.fallback import tables_by_words
from libs.common.sql.names import complete, fold
from libs.common.sql.parse import unwrap
from tests.unit.common.sql_corpus.oracle import tables_by_postgres

_NAMES = DefaultNames(None, ())
_LEAK = re.compile("leak|4711", re.IGNORECASE)


@functools.cache
def _log() -> list[LogRow]:
    return generate(20_000, seed=5, mark="LEAK")


@functools.cache
def _patterns() -> list[LogRow]:
    """The first row of each pattern."""
    return list({row.pattern_no: row for row in reversed(_log())}.values())


@pytest.mark.corpus
def test_no_literal_comes_through() -> None:
    assert all(_LEAK.search(row.sql) for row in _log()[:100] if "'" in row.sql)
    found = [analyse(row.sql, row.dialect, _NAMES) for row in _log()]
    texts = sum(bool(_LEAK.search(analysis.text)) for analysis in found)
    names = sum(bool(_LEAK.search(repr((analysis.tables, analysis.columns)))) for analysis in found)
    print(f"SQL_LEAKS rows={len(found)} texts={texts} names={names}")
    assert (texts, names) == (0, 0)


@pytest.mark.corpus
def test_a_pattern_is_one_text() -> None:
    texts: dict[int, set[str]] = {}
    for row in _log():
        texts.setdefault(row.pattern_no, set()).add(analyse(row.sql, row.dialect, _NAMES).text)
    split = {number: found for number, found in texts.items() if len(found) > 1}
    print(f"SQL_PATTERNS rows={len(_log())} patterns={len(texts)} split={len(split)}")
    assert len(texts) > 1_000
    assert split == {}
    assert len({(row.dialect, text) for row in _patterns() for text in texts[row.pattern_no]}) == len(texts)


def _by_sqlglot(row: LogRow) -> set[str] | None:
    """Last parts of the tables that sqlglot finds, CTEs left out; None where it refuses."""
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    try:
        trees = [tree for tree in sqlglot.parse(unwrap(row.sql), dialect=row.dialect.sqlglot) if tree is not None]
    except sqlglot.ParseError:
        return None
    if any(isinstance(tree, exp.Command) for tree in trees):
        return None
    ctes = {cte.alias for tree in trees for cte in tree.find_all(exp.CTE)}
    tables = [table for tree in trees for table in tree.find_all(exp.Table) if isinstance(table.this, exp.Identifier)]
    names = {
        (table.name.split(".")[-1], bool(table.this.args.get("quoted")))
        for table in tables
        if table.db or table.name not in ctes
    }
    return {fold(name, quoted, row.dialect) for name, quoted in names}


@pytest.mark.corpus
def test_tables_are_those_of_sqlglot_and_of_postgres() -> None:
    compared = wrong = by_postgres = wrong_by_postgres = 0
    for row in _patterns():
        mine = {table.parts[-1] for table in analyse(row.sql, row.dialect, _NAMES).tables}
        expected = _by_sqlglot(row)
        if expected is not None:
            compared, wrong = compared + 1, wrong + (mine != expected)
        if row.dialect is Dialect.POSTGRES and (parsed := tables_by_postgres(row.sql)) is not None:
            by_postgres += 1
            wrong_by_postgres += mine != {name[-1] for name in parsed}
    print(
        f"SQL_TABLES patterns={len(_patterns())} sqlglot={compared} differ={wrong} "
        f"postgres={by_postgres} differ={wrong_by_postgres}"
    )
    assert compared > 0.97 * len(_patterns())
    assert by_postgres > 200
    assert (wrong, wrong_by_postgres) == (0, 0)


@pytest.mark.corpus
def test_words_alone_find_the_tables_too() -> None:
    named = {row.pattern_no: set(analyse(row.sql, row.dialect, _NAMES).tables) for row in _patterns()}
    by_words = {}
    for row in _patterns():
        paths = tables_by_words(unwrap(scrub(row.sql, row.dialect).text), row.dialect)
        by_words[row.pattern_no] = {name for path in paths if (name := complete(path, _NAMES, row.dialect))}
    rows = [row.pattern_no for row in _log() if named[row.pattern_no]]
    same = sum(named[number] == by_words[number] for number in rows)
    found = sum(bool(by_words[number]) for number in rows)
    print(f"SQL_WORDS rows={len(rows)} with_tables={found} same_tables={same} share={same / len(rows):.4f}")
    assert found >= 0.995 * len(rows)
    assert same >= 0.995 * len(rows)
