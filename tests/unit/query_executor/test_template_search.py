"""Placeholders in a search: in quotes they stay text, outside they keep their type; none adds a key."""

from decimal import Decimal

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.statement import Engine
from services.query_executor.template import Template, Values, bind
from services.query_executor.template.values import Value

VALUES: dict[str, Value] = {
    "x": 'a"}, "b": {"', "n": 3, "text_n": "3", "f": 1.5, "dec": Decimal("2.50"), "b": False, "no": None,
    "l": ("p", 'q"', 1), "empty": (), "c": "status", "many": ("a", "b"),
}  # fmt: skip

FILLED: list[tuple[str, object]] = [
    ('"{{ x }}"', 'a"}, "b": {"'),
    ("{{ x }}", 'a"}, "b": {"'),
    ("{{ x|tojson }}", 'a"}, "b": {"'),
    ("{{ n }}", 3),
    ('"{{ n }}"', "3"),
    ("{{ text_n }}", "3"),
    ("{{ text_n|int }}", 3),
    ("{{ f }}", 1.5),
    ("{{ dec }}", 2.5),
    ("{{ b }}", False),
    ('"{{ b }}"', "false"),
    ("{{ no }}", None),
    ('"{{ no }}"', None),
    ('"<{{ n }}-{{ c }}>"', "<3-status>"),
    ("{{ l }}", ["p", 'q"', 1]),
    ("{{ l|tojson }}", ["p", 'q"', 1]),
    ("[{{ l }}]", ["p", 'q"', 1]),
    ("[0, {{ l }}, 9]", [0, "p", 'q"', 1, 9]),
    ("[{{ l|join(', ') }}]", ["p", 'q"', 1]),
    ('["{{ l|join(\'","\') }}"]', ["p", 'q"', "1"]),
    ("[{% for i in l %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}]", ["p", 'q"', 1]),
    ('"{{ many|join(" OR ") }}"', "a OR b"),
    ("{{ empty }}", []),
    ("[{{ empty }}]", []),
    ('{"{{ c }}": 1}', {"status": 1}),
    ('{"{{ c }}.keyword": 1}', {"status.keyword": 1}),
    ('{"{{ c|ident }}": 1}', {"status": 1}),
    ("\"{{ c|one_of('status', 'x') }}\"", "status"),
    ('"\\u007b {{ n }} \\" \\n"', '{ 3 " \n'),
]

REFUSED = [
    ("{{ n }}{{ n }}", "no JSON"),
    ("1{{ n }}", "no JSON"),
    ('"{{ l }}"', "without quotes"),
    ('"a {{ no }}"', "cannot be null"),
    ("{{ c|ident }}", "inside quotes"),
    ('{"{{ x }}": 1}', "name of a field"),
    ('{"{{ n }}": 1}', "name of a field"),
    ('{"{{ secret.key }}": 1}', "cannot be a key"),
    ('{"a": 1, "a": 2}', "written twice"),
    ('{"a": 1, "\\u0061": 2}', "written twice"),
    ('{"status": 1, "{{ c }}": 2}', "written twice"),
    ('{"a": NaN}', "no JSON"),
    ("// {{ n }}\n1", "no JSON"),
    ("[" * 2_000 + "]" * 2_000, "nested"),
    ("[{{ l|join(' - ') }}]", "joined with"),
    ('"' + '\\"' * 30_000 + "{{ n }}", "no JSON"),
    ('"' + '\\"' * 30_000 + "{{ n }}\\", "no JSON"),
]


@pytest.mark.parametrize(("text", "expected"), FILLED, ids=[text for text, _ in FILLED])
def test_a_placeholder_is_filled(text: str, expected: object) -> None:
    draft = Template.compile(f'{{"query": {text}}}', Engine.ELASTICSEARCH).render(Values(VALUES))
    body = bind(draft).body

    assert body == {"query": expected}
    assert [type(value) for value in body.values()] == [type(expected)]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:40] for text, _ in REFUSED])
def test_a_placeholder_is_refused_with_a_reason(text: str, message: str) -> None:
    template = Template.compile(f'{{"query": {text}}}', Engine.ELASTICSEARCH)

    with pytest.raises(QueryValidationError) as refused:
        bind(template.render(Values(VALUES, {("key",): "s"})))

    assert message in refused.value.detail


@pytest.mark.parametrize("text", ["[{{ n }}]", "{{ n }}", "", "null"])
def test_a_search_is_an_object(text: str) -> None:
    with pytest.raises(QueryValidationError):
        Template.compile(text, Engine.ELASTICSEARCH).render(Values(VALUES))


def test_two_searches_of_one_template_share_nothing() -> None:
    template = Template.compile('{"query": {"terms": {"a": [{{ l }}]}}, "size": 5}', Engine.ELASTICSEARCH)
    first, second = (bind(template.render(Values({"l": (number,)}))).body for number in (1, 2))
    assert first is not None
    first["size"] = 6

    assert second == {"query": {"terms": {"a": [2]}}, "size": 5}
