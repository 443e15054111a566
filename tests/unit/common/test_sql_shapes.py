"""What is looked up by a statement's shape is what the lexer would have said."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.recent import Recent
from libs.common.sql import DefaultNames, Dialect, analyse, anonymise
from libs.common.sql.anonymise import scrub
from libs.common.sql.patterns import forget
from libs.common.sql.shapes import HOLE, shaper
from tests.support.examples import examples
from tests.unit.common.sql_corpus import adversarial, soup

_NAMES = DefaultNames("shop", ("public",))


def _filled(shape: str) -> str:
    """A statement of this shape; two strings side by side would be one, and Oracle's q wants its brackets."""
    return re.sub(f"(?<={HOLE}){HOLE}", "?1", shape).replace(HOLE, "'[x]'")


def _agrees(sql: str, dialect: Dialect) -> bool:
    """Whether any statement of this shape has the text that this one has; true where there is no shape."""
    if HOLE in sql:
        return True
    engine = shaper(dialect)
    found = engine.shape(sql, engine.draft(sql)[0])
    if found is None:
        return True
    said = scrub(sql, dialect)
    others = [found.text, engine.canonical(found.text)]
    texts = {scrub(_filled(other), dialect).text for other in others}
    return texts == {said.text} and found.comment == said.comment


def _draft_agrees(sql: str, dialect: Dialect) -> bool:
    """Whether a draft that is taken for a shape is this statement's shape."""
    engine = shaper(dialect)
    if HOLE in sql or not engine._is_shape(engine.draft(sql)[0]):
        return True
    text, comment = engine.draft(sql)
    said = scrub(sql, dialect)
    return scrub(_filled(text), dialect).text == said.text and comment == said.comment


@settings(max_examples=examples(6_000))
@given(dialect=soup.dialects, sql=st.one_of(soup.soup, soup.soup, soup.anything))
def test_statements_of_one_shape_have_one_text(dialect: Dialect, sql: str) -> None:
    assert _agrees(sql, dialect)
    assert _draft_agrees(sql, dialect)


def test_adversarial_statements_of_one_shape_have_one_text() -> None:
    statements = adversarial.statements()
    assert [case for case in statements if not (_agrees(case[1], case[0]) and _draft_agrees(case[1], case[0]))] == []
    shaped = sum(shaper(dialect).shape(sql, shaper(dialect).draft(sql)[0]) is not None for dialect, sql in statements)
    print(f"SQL_SHAPES adversarial={len(statements)} with_shape={shaped}")
    assert shaped > len(statements) / 2


@settings(max_examples=examples(300))
@given(dialect=soup.dialects, statements=st.lists(st.one_of(soup.soup, soup.anything), min_size=2, max_size=6))
def test_memory_changes_nothing(dialect: Dialect, statements: list[str]) -> None:
    """Whatever was seen before, the answer is that of an empty memory."""
    afresh = []
    for sql in statements:
        forget()
        afresh.append(anonymise(sql, dialect))
    assert [anonymise(sql, dialect) for sql in statements * 2] == afresh * 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select e?'a'", "select e'x'?"),
        ("select u&5", "select u&'5'"),
        ("select x?1", "select x'1'"),
        ('select "a  b"', 'select "a b"'),
        ("select a -- c\n, 1", "select a , 'x'"),
        ("select a->'b'", "select a->>'b'"),
    ],
)
def test_what_looks_alike_keeps_its_own_text(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        forget()
        anonymise(first, Dialect.POSTGRES)
        assert anonymise(second, Dialect.POSTGRES)[0] == scrub(second, Dialect.POSTGRES).text


def test_threads_share_what_is_known() -> None:
    statements = [f"select c{at % 50} from t{at % 50} where a = {at}" for at in range(2_000)]
    forget()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda sql: analyse(sql, Dialect.POSTGRES, _NAMES), statements))
    assert {analysis.text for analysis in found} == {f"select c{at} from t{at} where a = ?" for at in range(50)}
    assert all(analysis.tables[0].parts[-1] == f"t{at % 50}" for at, analysis in enumerate(found))


def test_a_memory_is_bounded_by_count_and_size() -> None:
    memory = Recent[int, str](10, 1_000)
    for at in range(100):
        memory.put(at, "x", 1)
    assert memory.get(99) == "x"
    assert sum(memory.get(at) is not None for at in range(100)) <= 20
    for at in range(100):
        memory.put(at, "y", 400)
    assert sum(memory.get(at) is not None for at in range(99)) <= 6


def test_what_is_asked_for_stays() -> None:
    memory = Recent[str, int](10, 1_000_000)
    memory.put("popular", 1, 1)
    for at in range(200):
        memory.put(f"rare {at}", at, 1)
        assert memory.get("popular") == 1
