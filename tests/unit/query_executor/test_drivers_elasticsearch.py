"""Searches after their values are in place, and answers as rows."""

from typing import Any

import pytest

from services.query_executor.drivers.elasticsearch_errors import raise_for
from services.query_executor.drivers.elasticsearch_rows import as_rows, columns_of, flattened, of_aggregations, of_hits
from services.query_executor.errors import ConnectorError, QueryError, QueryValidationError
from services.query_executor.guard import Policy
from services.query_executor.statement import Engine
from tests.support.query_drivers import proved

POLICY = Policy(index="logs-*", max_rows=100)


def body(text: str, **params: Any) -> Any:
    return proved(Engine.ELASTICSEARCH, text, params, POLICY).body


def test_a_size_that_is_a_value_is_cut_to_the_limit() -> None:
    assert body('{"size": {{ n }}}', n=5000)["size"] == 100
    assert body('{"size": {{ n }}}', n=7)["size"] == 7


@pytest.mark.parametrize(
    ("text", "value"),
    [('{"sort": ["{{ x }}"]}', "_script"), ('{"size": {{ x }}}', -1)],
)
def test_a_value_that_makes_another_search_is_refused(text: str, value: Any) -> None:
    with pytest.raises(QueryValidationError):
        body(text, x=value)


def test_one_level_is_flattened() -> None:
    document = {"a": {"b": {"c": 1}, "d": None}, "e": {}, "f": [{"g": 1}]}
    assert flattened(document) == {"a.b": {"c": 1}, "a.d": None, "e": {}, "f": [{"g": 1}]}


def test_rows_of_different_documents_have_all_columns() -> None:
    hits = [{"_id": "1", "_source": {"a": None}}, {"_id": "2", "_source": {"b": True, "a": 1.5}, "fields": {"c": [1]}}]
    named = of_hits({"hits": {"hits": hits}})
    columns = columns_of(named)
    assert [(column.name, column.type) for column in columns] == [
        ("_id", "text"), ("a", "number"), ("b", "boolean"), ("c", "array"),
    ]  # fmt: skip
    assert as_rows(named, columns) == [["1", None, None, None], ["2", 1.5, True, [1]]]


def test_aggregations_side_by_side() -> None:
    buckets = {"buckets": [{"key": "x", "doc_count": 1}, {"key": 5, "key_as_string": "five", "doc_count": 2}]}
    found = list(of_aggregations({"a": buckets, "b": {"buckets": []}, "m": {"value": 9}}))
    assert found == [{"m": 9, "a": "x", "doc_count": 1}, {"m": 9, "a": "five", "doc_count": 2}]
    assert list(of_aggregations({})) == []
    ranges = {"buckets": [{"key": "*-5.0", "to": 5.0, "doc_count": 1}]}
    assert list(of_aggregations({"r": ranges})) == [{"r": "*-5.0", "doc_count": 1}]


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (500, {}, "unknown"),
        (400, {"error": "text"}, "unknown"),
        (400, {"error": {"type": "parsing_exception", "reason": "no [canary] here"}}, "parsing_exception"),
        (429, {"error": {"root_cause": [{"type": "circuit_breaking_exception"}]}}, "circuit_breaking_exception"),
    ],
)
def test_what_a_server_says_names_no_value(status: int, content: dict[str, Any], kind: str) -> None:
    with pytest.raises(QueryError) as failed:
        raise_for(status, content, {"query": {"term": {"a": "canary"}}}, 5.0)
    assert failed.value.details == {"status": status, "type": kind}
    assert "canary" not in str(failed.value)


def test_grammar_is_passed_on() -> None:
    content = {"error": {"root_cause": [{"type": "parsing_exception", "reason": "unknown query [nope]"}]}}
    with pytest.raises(QueryError, match=r"unknown query \[nope\]"):
        raise_for(400, content, {"query": {"nope": {"a": "canary"}}}, 5.0)
    with pytest.raises(ConnectorError):
        raise_for(403, content, {}, 5.0)
