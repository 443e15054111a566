"""For any text at all: the statement stays the author's, whatever its dialect, and the value travels whole."""

import json
import re

import hypothesis.strategies as st
import pytest
import sqlglot
from hypothesis import example, given, settings

from services.query_executor.errors import QueryValidationError
from services.query_executor.statement import Draft, Engine
from services.query_executor.template import Template, Values, bind, written
from services.query_executor.template.lexing import blank_comments, lex
from services.query_executor.template.literals import literal
from tests.support.examples import examples
from tests.support.query_shapes import ATTACKS

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
VALUE = st.one_of(TEXT, st.sampled_from(ATTACKS), st.builds("{}{}{}".format, TEXT, st.sampled_from(ATTACKS), TEXT))
BENIGN = "benign"
SQL = [Engine.POSTGRES, Engine.MYSQL, Engine.REDSHIFT, Engine.CLICKHOUSE, Engine.INTERNAL]

FRAGMENTS = [
    "'a'", "''", '"b"', "`c`", "--x\n", "-- x\n", "# y\n", "/* z */", "/* a /* b */ c */", " ", "\n", "1", "a", "-",
    "/", "*", "'--'", "'/*'", "$$ -- $$", "tdmkaaaaaaaz", "'x tdmkaaaaaaaz'", "\\", "'\\''", ";",
]  # fmt: skip

PIECES = [
    "{{ v }}", "'{{ v }}'", "'", "\"", "`", "$$", "$a$", "E'", "U&'", "''", "\\", "%", "{", "}", "[", "]", "(",
    ")", ",", "::", "=>", "DATE ", "INTERVAL ", " DAY", " IN ", " NOT ", "ANY(", "ARRAY[", "ORDER BY ",
    "GROUP BY ", "LIMIT ", "SELECT ", "FROM ", " a ", "1", ":", "--", "/*", "*/", "#", "\n", " ", ";", "{{ l }}",
    "{{ l|join(',') }}", "{{ l|join(\"','\") }}", "{{ v|tojson }}", "{{ v|ident }}", "{{ v|one_of('a') }}",
    "{% if v %}", "{% endif %}", "{% for x in l %}", "{{ x }}", "{% endfor %}", "{{ v|upper }}", "{{ 'a' ~ v }}",
    "{\"k\": \"", "-- {{ v }}\n", "?", "$1", "@", "é", "😀",
]  # fmt: skip

# What arrives, by what stands around the placeholder.
TEMPLATE = (
    "SELECT a, '{{ v }}' AS label, count(*) FROM orders o /* {{ v }} */ "
    "WHERE b = '{{ v }}' AND c = {{ v }} AND d LIKE '%{{ v }}%' AND e IN ({{ l }}) AND f IN ('{{ l|join(\"','\") }}') "
    "AND g IN ({% for x in l %}'{{ x }}'{% if not loop.last %}, {% endif %}{% endfor %}) -- {{ v }}\n"
    "AND h = '<{{ v }}|{{ v }}>' {% if v == 'x' %}AND i = 1{% else %}AND i = 2{% endif %} "
    "GROUP BY a ORDER BY a LIMIT {{ n }}"
)

SEARCH = """{"query": {"bool": {"must": [{"match": {"a": "{{ v }}"}},
 {"terms": {"b": {{ l }}}}, {"term": {"c": {{ v }}}},
 {"terms": {"d": ["{{ l|join('","') }}"]}}, {"match": {"e": "<{{ v }}>"}}]}}, "size": {{ n }}}"""


def drafted(text: str, engine: Engine, value: str) -> Draft:
    return Template.compile(text, engine).render(Values({"v": value, "l": ("a", value, "z"), "n": 10}))


def tree(engine: Engine, text: str) -> object:
    return sqlglot.parse_one(text, dialect=engine.dialect)


@pytest.mark.parametrize("engine", SQL)
@settings(max_examples=examples(60))
@given(value=VALUE)
def test_no_value_changes_the_statement(engine: Engine, value: str) -> None:
    if value == "x":
        return
    draft, benign = drafted(TEMPLATE, engine, value), drafted(TEMPLATE, engine, BENIGN)
    bound = bind(draft)

    assert draft.text == benign.text
    assert bound.parts == bind(benign).parts
    literals = written(bound, lambda number, _: f" '{number}' ")
    assert tree(engine, literals) == tree(engine, written(bind(benign), lambda number, _: f" '{number}' "))
    assert [one.value for one in bound.binds] == [
        value, value, value, f"%{value}%", *["a", value, "z"] * 3, f"<{value}|{value}>", 10
    ]  # fmt: skip


@settings(max_examples=examples(100))
@given(value=VALUE)
def test_no_value_changes_a_search(value: str) -> None:
    draft, benign = drafted(SEARCH, Engine.ELASTICSEARCH, value), drafted(SEARCH, Engine.ELASTICSEARCH, BENIGN)
    must = bind(draft).body["query"]["bool"]["must"]  # type: ignore[index]

    assert draft.text == benign.text
    assert json.loads(draft.text).keys() == {"query", "size"}
    assert must == [
        {"match": {"a": value}},
        {"terms": {"b": ["a", value, "z"]}},
        {"term": {"c": value}},
        {"terms": {"d": ["a", value, "z"]}},
        {"match": {"e": f"<{value}>"}},
    ]


@pytest.mark.parametrize("engine", SQL)
@settings(max_examples=examples(100))
@given(value=VALUE)
def test_a_name_is_a_word_or_refused(engine: Engine, value: str) -> None:
    for text in ("SELECT {{ v|ident }} FROM t", "SELECT `{{ v }}` FROM t", 'SELECT "c_{{ v }}" FROM t'):
        try:
            draft = drafted(text, engine, value)
        except QueryValidationError:
            continue
        assert re.fullmatch(r"SELECT [`\"]?\w[\w$]*[`\"]? FROM t", draft.text, re.ASCII)


@settings(max_examples=examples(100))
@given(value=VALUE)
def test_a_word_is_the_authors(value: str) -> None:
    text = "SELECT a FROM t ORDER BY a {{ v|one_of('asc', 'desc') }}"
    try:
        draft = drafted(text, Engine.POSTGRES, value)
    except QueryValidationError:
        return
    assert draft.text in ("SELECT a FROM t ORDER BY a asc", "SELECT a FROM t ORDER BY a desc")


@settings(max_examples=examples(150))
@given(value=VALUE)
def test_a_document_keeps_its_shape(value: str) -> None:
    text = """SELECT '{"k": "{{ v }}", "n": {"m": [1, {{ v }}, "{{ l|join('","') }}"]}}' """
    document = json.loads(str(bind(drafted(text, Engine.POSTGRES, value)).binds[0].value))

    assert document == {"k": value, "n": {"m": [1, value, "a", value, "z"]}}


QUOTED = {
    Engine.POSTGRES: ["'{}'", "E'{}'", "$${}$$", "$q${}$q$"],
    Engine.REDSHIFT: ["'{}'"],
    Engine.MYSQL: ["'{}'", '"{}"'],
    Engine.CLICKHOUSE: ["'{}'"],
}


@pytest.mark.parametrize(("engine", "form"), [(engine, form) for engine, forms in QUOTED.items() for form in forms])
@settings(max_examples=examples(80))
@given(before=st.text("ab '\"%_,{}[]é😀", max_size=8), after=st.text("ab '\"%_,{}[]é😀", max_size=8), value=VALUE)
def test_an_authors_literal_means_what_it_says(engine: Engine, form: str, before: str, after: str, value: str) -> None:
    quote = form[-1]
    doubled = [text.replace(quote, quote * 2) if quote != "$" else text for text in (before, after)]
    text = f"SELECT {form.format(doubled[0] + 'tdmkaaaaaaaz' + doubled[1])}"
    pieces = literal(engine, lex(engine, text)[1])

    assert "".join(piece if isinstance(piece, str) else value for piece in pieces) == before + value + after


@pytest.mark.parametrize("engine", SQL)
@settings(max_examples=examples(200))
@example(parts=["-", "-", "-- x\n"])
@example(parts=["-", "-", "/* z */", "tdmkaaaaaaaz"])
@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=12))
def test_a_text_without_comments_has_none(engine: Engine, parts: list[str]) -> None:
    try:
        blanked = blank_comments(engine, "SELECT 1 " + "".join(parts))
        lexemes = lex(engine, blanked)
    except QueryValidationError:
        return
    assert blank_comments(engine, blanked) == blanked
    position = 0
    for lexeme in lexemes:
        assert not blanked[position : lexeme.start].strip()
        position = lexeme.end
    assert not blanked[position:].strip()


@pytest.mark.parametrize("value", ["\0", "a\0b"])
def test_nul_is_refused_with_its_field(value: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        Template.compile("SELECT '{{ v }}'", Engine.POSTGRES).render(Values({"v": value}))

    assert list(refused.value.errors) == ["params.v"]


@pytest.mark.parametrize("engine", [*SQL, Engine.ELASTICSEARCH])
@settings(max_examples=examples(300))
@given(parts=st.lists(st.sampled_from(PIECES), max_size=14))
def test_whatever_the_template_no_value_is_in_the_text(engine: Engine, parts: list[str]) -> None:
    value = "ZQ'\"\\`$$QZ"
    try:
        draft = drafted("SELECT " + "".join(parts), engine, value)
        bound = bind(draft)
    except QueryValidationError:
        return
    assert "ZQ" not in (draft.text + "".join(bound.parts)).upper()
    assert len(bound.parts) == len(bound.binds) + 1 or engine is Engine.ELASTICSEARCH
    assert "tdmk" not in "".join(bound.parts)
