"""Searches for Elasticsearch and OpenSearch: the body is walked by its grammar, so that what is not known is refused.
Keys are compared after JSON has been read, so an escaped spelling is the same word."""

import re
from collections.abc import Mapping
from typing import Any, Final

from services.query_executor.guard.lists import sections
from services.query_executor.guard.policy import MAX_ROWS, Policy, Proof
from services.query_executor.guard.refusal import refused
from services.query_executor.guard.search_aggregations import prove_aggregations
from services.query_executor.guard.search_queries import knn, prove_query
from services.query_executor.guard.walk import Walk, count, each_of, field_name
from services.query_executor.template.search import NotJson, parse, quote_bare

MAX_TEXT: Final = 64 * 1024
MAX_DEPTH: Final = 60
_LISTS: Final = sections("search_body")
_INDEX: Final = re.compile(r"(?!_all\b)[a-z0-9*][a-z0-9._*-]*(?:,[a-z0-9*][a-z0-9._*-]*)*")
_DISCLOSED: Final = (
    "A secret may only stand as the whole value of a term, terms, match or match_phrase query, not in other text, in a "
    "key or anywhere else of the search."
)


def prove_text(text: str, policy: Policy, secrets: frozenset[str]) -> Proof:
    """Prove the search that a draft's text holds, with tokens in place of its values."""
    if len(text) > MAX_TEXT:
        raise refused(f"The query is longer than {MAX_TEXT:,} characters; shorten it.")
    try:
        document = parse(quote_bare(text)[0])
    except NotJson:
        raise refused("The query is no JSON object.") from None
    prove_search(document, policy, secrets, sum(text.count(token) for token in secrets))
    return Proof(((policy.index,),) if policy.index else ())


def prove_search(
    body: Mapping[str, Any], policy: Policy, secrets: frozenset[str] = frozenset(), mentions: int = 0
) -> dict[str, Any]:
    """Refuse a body that does more than search; the body with its `size` within the policy's rows.

    `mentions`: how often the tokens of secrets stand in the text; each must be met as a leaf's value.
    """
    if policy.index is not None and not _index(policy.index):
        raise refused("The connection's index must be a pattern of lower-case names: logs-*,metrics-2024.")
    _not_deep(body)
    walk = Walk(secrets, _hits)
    for key, value in walk.allowed(body, _LISTS["body"], "the search").items():
        _part(walk, key, value)
    if walk.met != mentions:
        raise refused(_DISCLOSED)
    normal = dict(body)
    if isinstance(normal.get("size"), int):
        normal["size"] = min(normal["size"], policy.max_rows, MAX_ROWS)
    return normal


def _not_deep(body: Any) -> None:
    level = [body]
    for _ in range(MAX_DEPTH):
        inner = [value.values() if isinstance(value, Mapping) else value for value in level]
        level = [each for values in inner for each in values if isinstance(each, (Mapping, list))]
        if not level:
            return
    raise refused("The search is nested too deeply; simplify it.")


def _index(pattern: str) -> bool:
    return _INDEX.fullmatch(pattern) is not None and pattern.strip("*,") != ""


def _hits(walk: Walk, value: Any, where: str) -> None:
    """The options of inner hits and top hits."""
    for key, each in walk.allowed(value, _LISTS["hits"], where).items():
        _part(walk, key, each)


def _part(walk: Walk, key: str, value: Any) -> None:
    if key in ("query", "post_filter"):
        prove_query(walk, value)
    elif key in ("aggs", "aggregations"):
        prove_aggregations(walk, value)
    elif key in ("size", "from"):
        count(value, 2**31 - 1, key)
    elif key in ("fields", "docvalue_fields"):
        for each in each_of(value):
            walk.plain(each, key) if isinstance(each, str) else walk.options(
                each, {"field", "format", "include_unmapped"}, key
            )
    elif key in _PARTS:
        _PARTS[key](walk, value)
    else:
        walk.plain(value, key)


def _sort(walk: Walk, value: Any) -> None:
    for each in each_of(value):
        if isinstance(each, str):
            field_name(each, "sort")
            continue
        for name, options in walk.mapping(each, "sort").items():
            _sort_field(walk, field_name(name, "sort"), options)


def _sort_field(walk: Walk, name: str, options: Any) -> None:
    if isinstance(options, str):
        return
    if name == "_geo_distance":
        points = {key for key in walk.mapping(options, name) if key not in _LISTS["geo_sort"]}
        walk.options(options, _LISTS["geo_sort"] | {field_name(key, name) for key in points}, name)
        return
    for key, value in walk.allowed(options, _LISTS["sort"] | {"nested"}, "sort").items():
        if key == "nested":
            _nested(walk, value)
        else:
            walk.plain(value, "sort")


def _nested(walk: Walk, value: Any) -> None:
    for key, each in walk.allowed(value, {"path", "filter", "max_children", "nested"}, "sort.nested").items():
        if key == "filter":
            prove_query(walk, each)
        elif key == "nested":
            _nested(walk, each)
        else:
            walk.plain(each, "sort.nested")


def _source(walk: Walk, value: Any) -> None:
    if isinstance(value, dict):
        walk.options(value, {"includes", "excludes", "include", "exclude"}, "_source")
    else:
        walk.plain(value, "_source")


def _highlight(walk: Walk, value: Any) -> None:
    for key, each in walk.allowed(value, _LISTS["highlight"] | {"fields", "highlight_query"}, "highlight").items():
        if key == "fields":
            for fields in each_of(each):
                for name, options in walk.mapping(fields, "highlight.fields").items():
                    field_name(name, "highlight")
                    _highlight(walk, options)
        elif key == "highlight_query":
            prove_query(walk, each)
        else:
            walk.plain(each, "highlight")


def _suggest(walk: Walk, value: Any) -> None:
    kinds = {"term", "phrase", "completion"}
    for name, each in walk.mapping(value, "suggest").items():
        if name == "text":
            walk.plain(each, "suggest")
            continue
        for key, options in walk.allowed(each, _LISTS["suggest_text"] | kinds, "suggest").items():
            if key in kinds:
                walk.options(options, _LISTS[f"suggest_{key}"], f"suggest.{key}")
            else:
                walk.plain(options, "suggest")


def _collapse(walk: Walk, value: Any) -> None:
    known = {"field", "inner_hits", "max_concurrent_group_searches", "collapse"}
    for key, each in walk.allowed(value, known, "collapse").items():
        if key == "inner_hits":
            for hits in each_of(each):
                _hits(walk, hits, "collapse.inner_hits")
        elif key == "collapse":
            _collapse(walk, each)
        else:
            walk.plain(each, "collapse")


def _rescore(walk: Walk, value: Any) -> None:
    for each in each_of(value):
        for key, part in walk.allowed(each, _LISTS["rescore"] | {"query"}, "rescore").items():
            if key != "query":
                walk.plain(part, "rescore")
                continue
            for name, inner in walk.allowed(part, _LISTS["rescore_query"] | {"rescore_query"}, "rescore").items():
                prove_query(walk, inner) if name == "rescore_query" else walk.plain(inner, "rescore")


def _knn(walk: Walk, value: Any) -> None:
    for each in each_of(value):
        knn(walk, each)


_PARTS: Final = {
    "sort": _sort,
    "_source": _source,
    "highlight": _highlight,
    "suggest": _suggest,
    "collapse": _collapse,
    "rescore": _rescore,
    "knn": _knn,
}
