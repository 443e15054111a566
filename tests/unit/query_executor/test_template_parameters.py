"""The parameters of a call against their declarations."""

from decimal import Decimal
from typing import Any

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.statement import Engine
from services.query_executor.template import Template, bind
from services.query_executor.template.parameters import Declared, ParameterType, declare, validate_parameters

ACCEPTED: list[tuple[dict[str, Any], object, object]] = [
    ({"type": "text"}, "a'b", "a'b"),
    ({"type": "text", "max_length": 3}, "abc", "abc"),
    ({"type": "number"}, 3, 3),
    ({"type": "number"}, 1.5, 1.5),
    ({"type": "number"}, "3", 3),
    ({"type": "number"}, "-1.50", Decimal("-1.50")),
    ({"type": "boolean"}, True, True),
    ({"type": "boolean"}, "false", False),
    ({"type": "date"}, "2024-02-29", "2024-02-29"),
    ({"type": "datetime"}, "2024-02-29T10:00:00Z", "2024-02-29T10:00:00+00:00"),
    ({"type": "enum", "options": ["a", 1]}, 1, 1),
    ({"type": "list"}, ["a", "b"], ("a", "b")),
    ({"type": "list", "item": "number"}, [1, "2"], (1, 2)),
    ({"type": "list"}, [], ()),
    ({"type": "text", "required": False}, None, None),
]

REJECTED: list[tuple[dict[str, Any], object]] = [
    ({"type": "text"}, 3),
    ({"type": "text"}, None),
    ({"type": "text"}, "a\0"),
    ({"type": "text"}, "\ud800"),
    ({"type": "text"}, "{{ secret.key }}"),
    ({"type": "text"}, "{%if secret.key%}"),
    ({"type": "text"}, "x" * 100_001),
    ({"type": "text", "max_length": 3}, "abcd"),
    ({"type": "number"}, "1 OR 1=1"),
    ({"type": "number"}, "1e9"),
    ({"type": "number"}, True),
    ({"type": "number"}, float("nan")),
    ({"type": "number"}, 10**60),
    ({"type": "boolean"}, "yes"),
    ({"type": "boolean"}, 1),
    ({"type": "date"}, "2023-02-29"),
    ({"type": "date"}, "now"),
    ({"type": "datetime"}, "yesterday"),
    ({"type": "enum", "options": ["a", 1]}, "b"),
    ({"type": "enum", "options": ["a", 1]}, True),
    ({"type": "list"}, "a"),
    ({"type": "list"}, [["a"]]),
    ({"type": "list", "item": "number"}, ["x"]),
    ({"type": "list", "max_length": 1}, ["a", "b"]),
    ({"type": "list"}, ["a"] * 5_001),
    ({"type": "list"}, ["{{ secret.key }}"]),
]


@pytest.mark.parametrize(("declared", "value", "expected"), ACCEPTED)
def test_a_value_of_its_type_is_read(declared: dict[str, Any], value: object, expected: object) -> None:
    read = validate_parameters({"p": value}, declare([{"name": "p", **declared}]))["p"]

    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(("declared", "value"), REJECTED)
def test_a_value_of_another_type_is_an_error_of_its_field(declared: dict[str, Any], value: object) -> None:
    with pytest.raises(QueryValidationError) as refused:
        validate_parameters({"p": value}, declare([{"name": "p", **declared}]))

    assert list(refused.value.errors) == ["params.p"]


def test_all_errors_are_told_at_once() -> None:
    declared = declare(
        [{"name": "a", "type": "number"}, {"name": "b", "type": "text"}, {"name": "c", "required": False}]
    )

    with pytest.raises(QueryValidationError) as refused:
        validate_parameters({"a": "x", "free": {"k": 1}}, declared)

    assert refused.value.errors.keys() == {"params.a", "params.b", "params.free"}
    assert refused.value.errors["params.b"] == ["This parameter is required."]


def test_defaults_stand_in_for_what_is_left_out() -> None:
    declared = declare([{"name": "a", "type": "number", "default": "7"}, {"name": "b", "required": False}])

    assert validate_parameters({}, declared) == {"a": 7}
    assert validate_parameters({"a": 8, "b": "x"}, declared) == {"a": 8, "b": "x"}


def test_without_declarations_scalars_and_flat_lists_are_taken_as_they_are() -> None:
    given: dict[str, object] = {"a": "x", "b": 1, "c": 1.5, "d": True, "e": None, "f": ["x", 1, None]}

    assert validate_parameters(given) == {**given, "f": ("x", 1, None)}


@pytest.mark.parametrize("value", [{"k": 1}, [[1]], [{"k": 1}], float("inf"), object()])
def test_objects_are_no_parameters(value: object) -> None:
    with pytest.raises(QueryValidationError) as refused:
        validate_parameters({"p": value})

    assert list(refused.value.errors) == ["params.p"]


@pytest.mark.parametrize("name", ["secret", "SECRET", "secret.key", "secret.user_profile.id", " secret"])
def test_no_parameter_passes_for_a_secret(name: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        validate_parameters({name: "x"})

    assert list(refused.value.errors) == [f"params.{name}"]


@pytest.mark.parametrize(
    "raw",
    [
        {"name": "1a"},
        {"name": "_a"},
        {"name": "a.b"},
        {"name": "secret"},
        {"name": None},
        {},
        {"name": "a", "type": "json"},
        {"name": "a", "required": "yes"},
        {"name": "a", "type": "enum"},
        {"name": "a", "type": "text", "options": ["x"]},
        {"name": "a", "type": "list", "item": "list"},
        {"name": "a", "max_length": 0},
        {"name": "a", "max_length": True},
        {"name": "a", "type": "number", "default": "x"},
        {"name": "a", "surprise": 1},
        {"name": "a", "type": "enum", "options": [{"k": 1}]},
        {"name": "a", "type": "enum", "options": "ab"},
    ],
)
def test_a_declaration_is_checked(raw: dict[str, Any]) -> None:
    with pytest.raises(QueryValidationError) as refused:
        declare([{"name": "fine"}, raw])

    assert list(refused.value.errors) == ["parameters.1"]


def test_a_name_is_declared_once() -> None:
    with pytest.raises(QueryValidationError) as refused:
        declare([{"name": "a"}, {"name": "a"}])

    assert list(refused.value.errors) == ["parameters.1"]


def test_declarations_give_values_to_try_a_template_with() -> None:
    declared = declare(
        [
            {"name": "n", "type": "number"},
            {"name": "d", "type": "date"},
            {"name": "e", "type": "enum", "options": ["asc", "desc"]},
            {"name": "l", "type": "list"},
            {"name": "b", "type": "boolean"},
        ]
    )
    assert declared[0] == Declared("n", ParameterType.NUMBER)
    template = Template.compile(
        "SELECT a FROM t WHERE a > {{ n + 1 }} AND d = '{{ d }}' AND c IN ({{ l }}) {% if b %}AND b{% endif %} "
        "ORDER BY a {{ e|one_of('asc', 'desc') }}",
        Engine.POSTGRES,
    )

    assert [one.value for one in bind(template.render_dummy(declared)).binds] == [2, "2024-01-01", "x"]
