"""Templates in SQL: what is left is SQL, and its tables are those that the template names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.sql import DefaultNames, Dialect, analyse
from services.scraper.tools.template_values import MARK
from services.scraper.tools.templates import forms, has_template, shown, with_datasets, without_mark

_PIECES = ["{{", "}}", "{%", "%}", "{#", "#}", " if ", "else", "endif", "for", "endfor", "raw", "endraw", "set x"]
_PIECES += ["'", '"', "`", "--", "/*", "*/", "\n", " ", "select ", "from ", "t", ".", "(", ")", "{", "}", "%", "=", "-"]


def tables(sql: str) -> set[str]:
    names = DefaultNames("db", ("public",))
    found = [analyse(form, Dialect.POSTGRES, names) for form in forms(sql)]
    assert all(each.parsed for each in found), [each.text for each in found]
    return {".".join(parts) for each in found for table in each.tables if (parts := without_mark(table.parts))}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT a FROM orders WHERE day > {{ from_dttm }}", "db.public.orders"),
        ("SELECT a FROM orders WHERE day > '{{ from_dttm }}' AND x = 'it''s {{ y }}'", "db.public.orders"),
        ("SELECT a FROM orders WHERE id IN {{ filter_values('id') | where_in }}", "db.public.orders"),
        ("SELECT {{ columns }} FROM orders GROUP BY {{ columns }} LIMIT {{ n }}", "db.public.orders"),
        ("SELECT a FROM {{ schema }}.orders JOIN items i ON i.id = {{ id }}", "orders db.public.items"),
        ('SELECT a FROM "{{ schema }}"."Orders"', "Orders"),
        ("SELECT a FROM orders_{{ year }} JOIN x ON true", "db.public.x"),
        ("SELECT a FROM {{ table }}", ""),
        ("SELECT a FROM orders {{ where_clause }} ORDER BY a", "db.public.orders"),
        ("SELECT a FROM orders WHERE {{ condition }} AND b = 1", "db.public.orders"),
        ("SELECT a FROM orders {# FROM secret #} WHERE b = 1", "db.public.orders"),
        ("SELECT a FROM orders -- {{ 'x }}\n WHERE b = {{ c }}", "db.public.orders"),
        ("SELECT a FROM orders /* it's {{ x }} */ WHERE b = {{ c }}", "db.public.orders"),
        ("SELECT a FROM {% if live %}orders{% else %}orders_old{% endif %}", "db.public.orders db.public.orders_old"),
        ("SELECT a FROM {% if x %}p{% elif y %}q{% else %}r{% endif %} z", "db.public.p db.public.q db.public.r"),
        ("SELECT a FROM t {%- if x -%} WHERE b = {{ x }} {%- endif %}", "db.public.t"),
        ("{% set day = '2026' %} SELECT a FROM t WHERE d = '{{ day }}'", "db.public.t"),
        ("{% set body %} FROM nowhere {% endset %}SELECT a FROM t", "db.public.t"),
        ("{% macro m(x) %} {{ x }} FROM {% endmacro %}SELECT {{ m(1) }} FROM t", "db.public.t"),
        (
            "{% for n in l %}SELECT a FROM t{% if not loop.last %} UNION ALL {% endif %}{% endfor %}",
            "db.public.t",
        ),
        ("SELECT a FROM t WHERE x = {{ '}}' }} AND y = {{ \"{{\" }}", "db.public.t"),
        ("{% raw %}SELECT '{{ x }}' FROM t{% endraw %}", "db.public.t"),
        ("SELECT a FROM t WHERE x LIKE '{%' OR y LIKE '%}'", "db.public.t"),
        ("SELECT '{{1,2},{3,4}}'::int[] FROM t", "db.public.t"),
        ("SELECT a FROM t WHERE x = '{{ never closed'", "db.public.t"),
        ("SELECT a FROM t WHERE x BETWEEN {{ a }} AND {{ b }} AND y > {{ c }} - 1", "db.public.t"),
    ],
)
def test_tables_are_found_around_templates(sql: str, expected: str) -> None:
    assert tables(sql) == set(expected.split())


def test_sql_without_templates_stays_as_it_is() -> None:
    sql = "SELECT '{' || '%}' FROM t WHERE a = '{% b'"
    assert not has_template(sql)
    assert forms(sql) == (sql,)


@given(st.lists(st.sampled_from(_PIECES), max_size=60).map("".join))
def test_any_mixture_gives_few_and_short_forms(sql: str) -> None:
    found = forms(sql)
    assert 1 <= len(found) <= 4
    assert len(max(found, key=len)) <= len(sql) + len(MARK) * sql.count("{{")


def test_long_nonsense_takes_time_in_proportion_to_its_length() -> None:
    for piece in ("{{ '", "{% if x %}", "{% if x %}a{% elif y %}", "{{", "{#", "{{ a }}", "'", "{% endif %}"):
        assert forms(piece * (2**20 // len(piece)))


def test_a_mark_is_shown_as_a_placeholder() -> None:
    assert shown(f'SELECT a FROM {MARK}.t JOIN "{MARK}".u') == "SELECT a FROM ?.t JOIN ?.u"


def test_datasets_are_put_in_place_of_their_macro_also_in_each_other() -> None:
    datasets = {1: "SELECT a FROM t", 2: "SELECT a FROM {{ dataset(1, include_metrics=True) }}", 3: "{{ dataset(3) }}"}
    assert tables(with_datasets("SELECT * FROM {{ dataset(2) }}", datasets.get)) == {"db.public.t"}
    assert "{{ dataset(9) }}" in with_datasets("SELECT * FROM {{ dataset(9) }}", datasets.get)
    assert with_datasets("{{ dataset(3) }}", datasets.get).count("AS dataset_3") == 5
