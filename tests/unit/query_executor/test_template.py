"""A template's text and values part at once: the text is the author's, the values travel beside it."""

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.statement import Engine
from services.query_executor.template import Template, Values, bind


def test_a_value_is_bound_and_not_written() -> None:
    template = Template.compile("SELECT 1 FROM t WHERE a = '{{ a }}' AND b > {{ b }}", Engine.POSTGRES)

    bound = bind(template.render(Values({"a": "x' OR '1'='1", "b": 3})))

    assert bound.parts == ("SELECT 1 FROM t WHERE a = ", " AND b > ", "")
    assert [(value.value, value.quoted) for value in bound.binds] == [("x' OR '1'='1", True), (3, False)]


def test_a_missing_parameter_is_an_error_of_its_field() -> None:
    with pytest.raises(QueryValidationError) as refused:
        Template.compile("SELECT {{ a }}, {{ b }}", Engine.POSTGRES).render(Values())

    assert refused.value.errors == {
        "params.a": ["This parameter is required."],
        "params.b": ["This parameter is required."],
    }
