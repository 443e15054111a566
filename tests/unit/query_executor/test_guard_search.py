"""Searches are walked by their grammar: what runs code, leaves the index or is unknown is refused."""

import json
from typing import Any

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.guard import Policy, prove, prove_search
from services.query_executor.statement import Draft, Engine, Origin, Slot, token
from tests.unit.query_executor.test_guard_good import CASES

POLICY = Policy(index="logs-*")


def bodies(name: str) -> list[str]:
    return (CASES / f"{name}_elasticsearch.txt").read_text().splitlines()


def outcome(text: str, *slots: Slot) -> object:
    try:
        return prove(Draft(Engine.ELASTICSEARCH, text, slots), POLICY)
    except QueryValidationError as error:
        return error.detail


def nested(depth: int) -> dict[str, Any]:
    query: dict[str, Any] = {"match_all": {}}
    for _ in range(depth):
        query = {"bool": {"must": [query]}}
    return {"query": query}


def below(depth: int) -> dict[str, Any]:
    aggregations: dict[str, Any] = {"x": {"terms": {"field": "a"}}}
    for _ in range(depth):
        aggregations = {"x": {"terms": {"field": "a"}, "aggs": aggregations}}
    return {"aggs": aggregations}


@pytest.mark.parametrize("text", bodies("good"))
def test_a_search_that_only_reads_passes(text: str) -> None:
    assert not isinstance(outcome(text), str), outcome(text)


@pytest.mark.parametrize("text", bodies("attack"))
def test_a_search_that_does_more_is_refused(text: str) -> None:
    assert isinstance(outcome(text), str)


def test_figures() -> None:
    good, attacks = bodies("good"), bodies("attack")
    refused = sum(isinstance(outcome(text), str) for text in attacks)
    passed = sum(not isinstance(outcome(text), str) for text in good)
    print(f"GUARD_SEARCH refused={refused} of={len(attacks)} passed={passed} of={len(good)}")
    assert min(len(good), len(attacks)) >= 60


@pytest.mark.parametrize("body", [nested(40), below(11), {"query": {"bool": {"must": [{"match_all": {}}] * 20_000}}}])
def test_what_is_too_deep_or_too_large_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(QueryValidationError):
        prove_search(body, POLICY)
    assert isinstance(outcome(json.dumps(body)), str)


def test_the_size_is_brought_within_the_rows_of_the_policy() -> None:
    assert prove_search({"size": 100_000}, POLICY)["size"] == 10_000
    assert prove_search({"size": 50}, Policy(max_rows=20))["size"] == 20
    assert prove_search({"size": 7}, POLICY)["size"] == 7
    assert "size" not in prove_search({}, POLICY)


@pytest.mark.parametrize(
    "index", ["*", "_all", ".kibana", "logs/_delete_by_query", "../x", "logs?x=1", "", "Logs", "a,_all", "a,,b", "**,*"]
)
def test_an_index_that_is_no_pattern_of_names_is_refused(index: str) -> None:
    with pytest.raises(QueryValidationError):
        prove_search({}, Policy(index=index))


@pytest.mark.parametrize("index", ["logs-*", "a", "a,b-*", "logs-2024.01.*", "*-logs"])
def test_a_pattern_of_names_passes(index: str) -> None:
    prove_search({}, Policy(index=index))


SECRET = Slot("hunter2", Origin.SECRET, "secret.key")
T = token(0)


@pytest.mark.parametrize(
    "query",
    [
        {"term": {"a": T}},
        {"term": {"a": {"value": T}}},
        {"match": {"a": T}},
        {"match": {"a": {"query": T}}},
        {"match_phrase": {"a": T}},
        {"terms": {"a": ["x", T]}},
        {"bool": {"filter": [{"term": {"a": T}}]}},
        {"nested": {"path": "b", "query": {"term": {"b.a": T}}}},
    ],
)
def test_a_secret_may_be_the_value_of_a_leaf(query: dict[str, Any]) -> None:
    assert not isinstance(outcome(json.dumps({"query": query}), SECRET), str)


@pytest.mark.parametrize(
    "body",
    [
        {"_source": [T]},
        {"sort": [T]},
        {"query": {"term": {"a": f"x{T}"}}},
        {"query": {"term": {T: "a"}}},
        {"query": {"prefix": {"a": T}}},
        {"query": {"wildcard": {"a": T}}},
        {"query": {"regexp": {"a": {"value": T}}}},
        {"query": {"query_string": {"query": T}}},
        {"query": {"multi_match": {"query": T, "fields": ["a"]}}},
        {"query": {"more_like_this": {"fields": ["a"], "like": T}}},
        {"suggest": {"x": {"text": T, "term": {"field": "a"}}}},
        {"highlight": {"pre_tags": [T], "fields": {"a": {}}}},
        {"aggs": {"x": {"terms": {"field": "a", "missing": T}}}},
        {"aggs": {T: {"terms": {"field": "a"}}}},
        {"aggs": {"x": {"terms": {"field": "a"}, "meta": {"k": T}}}},
        {"query": {"term": {"a": {"value": T, "_name": T}}}},
    ],
)
def test_a_secret_anywhere_else_is_refused(body: dict[str, Any]) -> None:
    assert "secret" in str(outcome(json.dumps(body), SECRET)).lower()
