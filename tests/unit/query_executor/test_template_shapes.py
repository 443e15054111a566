"""Each way to write a placeholder in SQL: what is sent and bound, or what the author is told to write instead."""

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.statement import Engine
from services.query_executor.template import Template, Values, bind, written
from services.query_executor.template.values import Value

VALUES: dict[str, Value] = {
    "x": "o'b", "w": "word", "n": 3, "b": True, "no": None, "l": ("a,b", 'c"d'), "ids": (1, 2), "empty": (), "c": "col",
    "d": "2024-01-31", "dir": "DESC",
    "nulls": ("NULL", "null", None, ""), "t": "5", "half": 1.5,
}  # fmt: skip

BOUND = [
    # in quotes and bare
    ("postgres", "a = '{{ x }}'", "a = $1", ["o'b"]),
    ("postgres", "a = {{ x }}", "a = $1", ["o'b"]),
    ("postgres", "a = {{ n }} and b = '{{ n }}'", "a = $1 and b = $2", [3, 3]),
    ("postgres", "a = {{ b }}", "a = $1", [True]),
    ("postgres", "f({{ n }}, -{{ n }})", "f($1, -$2)", [3, 3]),
    ("postgres", "'{{ d }}'::date and {{ d }}::date", "$1::date and $2::date", ["2024-01-31"] * 2),
    ("postgres", "a['{{ n }}'] and a[{{ n }}:{{ n }}]", "a[$1] and a[$2:$3]", [3, 3, 3]),
    ("postgres", "a is distinct from {{ n }}", "a is distinct from $1", [3]),
    ("postgres", "substring(a from {{ n }})", "substring(a from $1)", [3]),
    ("postgres", "EXPLAIN select '{{ x }}'", "EXPLAIN select $1", ["o'b"]),
    # part of a literal
    ("postgres", "a LIKE '%{{ x }}%'", "a LIKE $1", ["%o'b%"]),
    ("postgres", "a = '{{ w }}-{{ n }}-{{ b }}'", "a = $1", ["word-3-true"]),
    ("postgres", "a = 'it''s {{ w }}'", "a = $1", ["it's word"]),
    ("postgres", "a = '50\\% {{ w }}'", "a = $1", ["50\\% word"]),
    ("postgres", "a = {{ '%' ~ x ~ '%' }}", "a = $1", ["%o'b%"]),
    ("postgres", "a = E'it''s {{ w }}' and b = $$ {{ x }} $$ and c = $t${{ x }}$t$", "a = $1 and b = $2 and c = $3",
     ["it's word", " o'b ", "o'b"]),
    # typed literals
    ("postgres", "now() - INTERVAL '{{ n }} days'", "now() - CAST($1 AS interval)", ["3 days"]),
    ("postgres", "INTERVAL '{{ n }}' DAY", "CAST($1 AS interval)", ["3 day"]),
    ("postgres", "a > DATE '{{ d }}' and b > date'{{ d }}'", "a > CAST($1 AS date) and b > CAST($2 AS date)",
     ["2024-01-31"] * 2),
    ("postgres", "TIMESTAMP WITH TIME ZONE '{{ d }}'", "CAST($1 AS timestamp with time zone)", ["2024-01-31"]),
    ("postgres", "uuid '{{ w }}' and jsonb '{{ w }}'", "CAST($1 AS uuid) and CAST($2 AS jsonb)", ["word", "word"]),
    ("postgres", "a AT TIME ZONE '{{ w }}'", "a AT TIME ZONE $1", ["word"]),
    ("postgres", "DATE '{{ no }}'", "CAST(NULL AS date)", []),
    ("mysql", "DATE '{{ d }}' - INTERVAL {{ n }} DAY", "CAST($1 AS date) - INTERVAL $2 DAY", ["2024-01-31", 3]),
    ("mysql", "TIMESTAMP '{{ d }}'", "CAST($1 AS datetime)", ["2024-01-31"]),
    ("clickhouse", "now() - INTERVAL '{{ n }}' DAY", "now() - INTERVAL $1 DAY", [3]),
    ("clickhouse", "DATE '{{ d }}'", "CAST($1 AS Date)", ["2024-01-31"]),
    # what must be a number
    ("mysql", "1 FROM t LIMIT {{ t }}", "1 FROM t LIMIT $1", [5]),
    ("mysql", "1 FROM t LIMIT {{ n }}, '{{ t }}'", "1 FROM t LIMIT $1, $2", [3, 5]),
    ("clickhouse", "1 FROM t LIMIT {{ t }} OFFSET {{ t }}", "1 FROM t LIMIT $1 OFFSET $2", [5, 5]),
    ("clickhouse", "now() - INTERVAL {{ t }} DAY", "now() - INTERVAL $1 DAY", [5]),
    ("postgres", "1 FROM t LIMIT '{{ t }}'", "1 FROM t LIMIT $1", ["5"]),
    # lists
    ("postgres", "a IN ({{ ids }})", "a IN ($1, $2)", [1, 2]),
    ("postgres", "a IN {{ ids }}", "a IN ($1, $2)", [1, 2]),
    ("postgres", "a NOT IN ({{ ids }})", "a NOT IN ($1, $2)", [1, 2]),
    ("postgres", "a IN ({{ ids|join(', ') }})", "a IN ($1, $2)", [1, 2]),
    ("postgres", "a IN ('{{ l|join(\"','\") }}')", "a IN ($1, $2)", ["a,b", 'c"d']),
    ("postgres", "a IN ('{{ l }}')", "a IN ($1, $2)", ["a,b", 'c"d']),
    ("postgres", "a IN (0, {{ ids }}, 9)", "a IN (0, $1, $2, 9)", [1, 2]),
    ("postgres", "a IN ({% for i in l %}'{{ i }}'{% if not loop.last %}, {% endif %}{% endfor %})", "a IN ($1, $2)",
     ["a,b", 'c"d']),
    ("postgres", "a = ANY(ARRAY[{{ ids }}])", "a = ANY(ARRAY[$1, $2])", [1, 2]),
    ("postgres", "coalesce({{ ids }})", "coalesce($1, $2)", [1, 2]),
    ("postgres", "string_to_array('{{ ids|join(',') }}', ',')", "string_to_array($1, ',')", ["1,2"]),
    ("postgres", "a IN ({{ empty }})", "a IN (NULL)", []),
    ("postgres", "a IN {{ empty }}", "a IN (NULL)", []),
    ("postgres", "NOT EXISTS (SELECT 1 FROM u WHERE a IN ({{ empty }}))",
     "NOT EXISTS (SELECT 1 FROM u WHERE a IN (NULL))", []),
    ("clickhouse", "hasAny(a, [{{ l }}])", "hasAny(a, [$1, $2])", ["a,b", 'c"d']),
    # literals with a grammar of their own
    ("postgres", """a @> '{"k": "{{ x }}", "n": {{ n }}}'""", "a @> $1", ['{"k": "o\'b", "n": 3}']),
    ("postgres", """a @> '{"k": {{ x|tojson }}, "l": {{ ids }}}'""", "a @> $1", ['{"k": "o\'b", "l": [1, 2]}']),
    ("postgres", """a @> '["{{ l|join('","') }}"]'""", "a @> $1", ['["a,b", "c\\"d"]']),
    ("postgres", """a @> '{"{{ c }}": 1}'""", "a @> $1", ['{"col": 1}']),
    ("postgres", "a = ANY('{ {{ l|join(',') }} }')", "a = ANY($1)", ['{"a,b","c\\"d"}']),
    ("postgres", """a = ANY('{0,"{{ x }}",{{ no }},p{{ n }}}')""", "a = ANY($1)", ['{0,"o\'b",NULL,p3}']),
    ("postgres", "a = ANY('{ {{ nulls|join(',') }} }')", "a = ANY($1)", ['{"NULL","null",NULL,""}']),
    ("postgres", "'[{{ d }},{{ d }})'::daterange", "$1::daterange", ["[2024-01-31,2024-01-31)"]),
    ("postgres", "a @? '$.{{ w }}'", "a @? $1", ["$.word"]),
    ("postgres", "'{{ x|tojson }}'::jsonb and {{ ids|tojson }}", "$1::jsonb and $2", ['"o\'b"', "[1, 2]"]),
    # null
    ("postgres", "a = {{ no }} and b = '{{ no }}'", "a = NULL and b = NULL", []),
    # names and words
    ("postgres", 'max("{{ c }}"), max("c_{{ n }}"), max({{ c|ident }})', 'max("col"), max("c_3"), max("col")', []),
    ("mysql", "max(`{{ c }}`), max({{ c|ident }})", "max(`col`), max(`col`)", []),
    ("postgres", "1 ORDER BY {{ c|ident }} {{ dir|one_of('asc', 'desc') }}", '1 ORDER BY "col" desc', []),
    ("postgres", "'{{ c|ident }}' || '{{ dir|one_of('desc') }}'", "$1 || $2", ["col", "desc"]),
    # comments leave, with the values in them
    ("postgres", "a -- {{ x }}\n = {{ n }} /* {{ x }} /* nested */ */", "a\n= $1", [3]),
    ("mysql", "a # {{ x }}\n = {{ n }}--{{ n }}", "a\n= $1--$2", [3, 3]),
    # other dialects' quotes and escapes
    ("mysql", 'a = "{{ x }}" and b = "it""s {{ w }}"', "a = $1 and b = $2", ["o'b", 'it"s word']),
    ("mysql", r"a = 'it\'s \\ \n {{ w }}' and b LIKE '50\% {{ w }}'", "a = $1 and b LIKE $2",
     ["it's \\ \n word", "50\\% word"]),
    ("clickhouse", r"a = 'it\'s \\ {{ w }}' and \"{{ c }}\" = 1".replace('\\"', '"'), 'a = $1 and "col" = 1',
     ["it's \\ word"]),
    ("redshift", r"a = 'it''s \\ {{ w }}'", "a = $1", ["it's \\ word"]),
]  # fmt: skip

REFUSED = [
    # glued
    ("postgres", "orders_{{ w }}", "glued"),
    ("postgres", "1{{ n }}", "glued"),
    ("postgres", "{{ n }}{{ n }}", "glued"),
    ("postgres", "a.{{ w }}", "glued"),
    ("postgres", "{{ w }}.a", "glued"),
    ("postgres", "a::{{ w }}", "glued"),
    ("postgres", "${{ n }}", ""),
    ("postgres", "@{{ w }}", "glued"),
    ("postgres", "'a'{{ x }}", "glued"),
    ("postgres", "a_'{{ x }}'", "glued"),
    ("mysql", "_utf8mb4'{{ x }}'", "glued"),
    ("postgres", "'{{ x }}'\n'b'", "next to another literal"),
    ("postgres", "orders_{{ c|ident }}", "glued"),
    # names, words, functions, tables
    ("postgres", "1 FROM {{ w }}", "|ident"),
    ("postgres", "1 AS {{ w }}", "|ident"),
    ("postgres", "{{ w }}(1)", "|ident"),
    ("postgres", "1 FROM t ORDER BY a {{ dir }}", "|one_of('asc', 'desc')"),
    ("postgres", "1 FROM t ORDER BY {{ c }}", "|ident"),
    ("postgres", "1 FROM t ORDER BY a, '{{ c }}' DESC", "|ident"),
    ("postgres", "1 FROM t GROUP BY {{ n }}", "|ident"),
    ("postgres", '"{{ x }}"', "letters, digits"),
    ("postgres", "{{ x|ident }}", "letters, digits"),
    ("postgres", "{{ 'a\n'|ident }}", "letters, digits"),
    ("postgres", '"{{ n }}"', "begins with a letter"),
    ("postgres", "{{ w|one_of('asc', 'desc') }}", "one of asc, desc"),
    ("postgres", "{{ w|one_of('word; --') }}", "takes words"),
    ("postgres", "{{ w|one_of(x) }}", "takes words"),
    # literals
    ("postgres", "U&'{{ x }}'", "U&'…'"),
    ("postgres", "B'{{ n }}'", "B'…'"),
    ("postgres", "X'{{ n }}'", "X'…'"),
    ("postgres", "N'{{ n }}'", "N'…'"),
    ("postgres", "E'\\n{{ x }}'", "cannot hold backslashes"),
    ("mysql", "'\\{{ x }}'", "no backslash"),
    ("clickhouse", "'\\x41{{ x }}'", "escape"),
    ("redshift", "'\\d{{ x }}'", "escape"),
    ("postgres", "'a {{ no }}'", "cannot be null"),
    ("postgres", "INTERVAL '{{ n }}' YEAR TO MONTH", "two fields"),
    ("postgres", "INTERVAL '{{ w }}' DAY", "A number belongs here"),
    ("clickhouse", "INTERVAL '{{ n }} days'", "INTERVAL {{ n }} DAY"),
    ("clickhouse", "INTERVAL '{{ w }}' DAY", "A number belongs here"),
    ("clickhouse", "'[{{ x }}, y]'", "[{{ a }}, {{ b }}]"),
    ("postgres", "'a=>{{ x }}'::hstore", "hstore("),
    ("postgres", "a @? '$.{{ x }}'", "one word"),
    ("postgres", """'{"{{ x }}": 1}'""", "name of a field"),
    ("postgres", """'{"col": 1, "{{ c }}": 2}'""", "written twice"),
    ("postgres", """'{"a": 1, "a": {{ n }}}'""", "written twice"),
    ("postgres", "now() - INTERVAL {{ n }} DAY", "INTERVAL '{{ n }} days'"),
    ("postgres", "DATE {{ d }}", "DATE '{{ d }}'"),
    ("mysql", "1 FROM t LIMIT {{ w }}", "A number belongs here"),
    ("mysql", "1 FROM t LIMIT '1.5'".replace("1.5", "{{ half }}"), "whole number"),
    # lists
    ("postgres", "a = 'x{{ l|join(\"','\") }}'", "a literal of its own"),
    ("postgres", "a = {{ ids }}", "A list cannot stand here"),
    ("postgres", "a = '{{ ids }}'", "A list cannot stand here"),
    ("postgres", "a = ANY({{ ids }})", "ARRAY[{{ ids }}]"),
    ("postgres", "a = 'x{{ ids }}'", "inside quotes"),
    ("postgres", "a IN ({{ ids|join(' - ') }})", "joined with"),
    ("postgres", "a NOT IN ({{ empty }})", "NOT IN an empty list"),
    ("postgres", "a NOT IN {{ empty }}", "NOT IN an empty list"),
    ("postgres", "NOT a IN ({{ empty }})", "NOT IN an empty list"),
    ("postgres", "NOT (b OR a IN ({{ empty }}))", "NOT IN an empty list"),
    ("postgres", "NOT (b OR (c AND a IN ({{ empty }})))", "NOT IN an empty list"),
    ("postgres", "coalesce({{ empty }})", "cannot be empty"),
    # what servers read as their own
    ("postgres", "$1 = {{ n }}", "placeholder of the server"),
    ("mysql", "? = {{ n }}", "placeholder of the server"),
    ("clickhouse", "{p0:String} = {{ n }}", "placeholder of the server"),
    ("mysql", "1 --/* {{ n }} */{{ n }}", "glued to an operator"),
    ("mysql", "/*!50000 1 */", "Executable comments"),
    ("mysql", "/*M!100000 1 */", "Executable comments"),
    ("mysql", "/*+ MAX_EXECUTION_TIME(0) */ 1", "Executable comments"),
    ("postgres", "/*+ x */ 1", "Executable comments"),
    ("postgres", "'{{ x }}", "never closed"),
]


@pytest.mark.parametrize(("engine", "text", "sent", "values"), BOUND, ids=[f"{one[0]}-{one[1][:40]}" for one in BOUND])
def test_a_shape_is_bound(engine: str, text: str, sent: str, values: list[object]) -> None:
    draft = Template.compile(f"SELECT {text}", Engine(engine)).render(Values(VALUES))
    bound = bind(draft)

    assert written(bound, lambda number, _: f"${number + 1}").split() == f"SELECT {sent}".split()
    assert [value.value for value in bound.binds] == values


@pytest.mark.parametrize(("engine", "text", "message"), REFUSED, ids=[f"{one[0]}-{one[1][:40]}" for one in REFUSED])
def test_a_shape_is_refused_with_a_reason(engine: str, text: str, message: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        bind(Template.compile(f"SELECT {text}", Engine(engine)).render(Values(VALUES)))

    assert message in refused.value.detail
    assert "o'b" not in refused.value.detail


@pytest.mark.parametrize(("engine", "text"), [(one[0], one[1]) for one in BOUND])
def test_a_shape_can_be_tried_without_values(engine: str, text: str) -> None:
    template = Template.compile(f"SELECT {text}", Engine(engine))
    draft = template.render_dummy()

    assert len(bind(draft).binds) <= len(draft.slots)
    assert draft.text.startswith(("SELECT", "EXPLAIN"))


def test_equal_templates_give_equal_text_whatever_the_values() -> None:
    template = Template.compile("SELECT '{{ x }}' WHERE a IN ({{ ids }}) AND {{ c|ident }} > {{ n }}", Engine.POSTGRES)

    texts = {
        template.render(Values({"x": x, "ids": ids, "c": "a", "n": n})).text
        for x, ids, n in [("a", (1, 2), 3), ("'; DROP TABLE t; --", (), None), (None, ("x",) * 50, -1.5)]
    }
    assert len(texts) == 1


def test_a_name_cannot_make_a_token() -> None:
    template = Template.compile("SELECT \"t{{ c }}\", '{{ x }}'", Engine.POSTGRES)

    with pytest.raises(QueryValidationError, match="reserved"):
        template.render(Values({"c": "dmkaaaaaaaz", "x": "a"}))


def test_the_author_cannot_make_a_token_of_pieces() -> None:
    template = Template.compile("SELECT td{# #}mkaaaaaaaz, '{{ x }}'", Engine.POSTGRES)

    with pytest.raises(QueryValidationError, match="reserved"):
        template.render(Values({"x": "a"}))


def test_a_literal_that_holds_a_secret_is_secret() -> None:
    template = Template.compile("SELECT 1 WHERE a = '{{ x }}{{ secret.key }}'", Engine.POSTGRES)
    bound = bind(template.render(Values({"x": "a"}, {("key",): "b"})))

    assert [(value.origin.value, value.path) for value in bound.binds] == [("secret", "secret.key")]
