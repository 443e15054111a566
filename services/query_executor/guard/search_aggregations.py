"""Aggregations of a search: each has a name of the author's, one type, and others below it."""

from collections.abc import Mapping
from typing import Any, Final

from services.query_executor.guard.lists import sections
from services.query_executor.guard.refusal import refused
from services.query_executor.guard.search_queries import prove_query
from services.query_executor.guard.walk import MAX_BUCKETS, Walk, count, each_of, unknown

MAX_DEPTH: Final = 10
_TYPES: Final = sections("search_aggregations")
_BELOW: Final = ("aggs", "aggregations")
_SIZES: Final = ("size", "shard_size")
_SOURCES: Final = ("terms", "histogram", "date_histogram", "geotile_grid")
_SOURCE_OPTIONS: Final = frozenset(
    {"field", "missing_bucket", "missing_order", "order", "interval", "calendar_interval", "fixed_interval", "format"}
    | {"time_zone", "offset", "precision", "bounds"}
)


def prove_aggregations(walk: Walk, value: Any, depth: int = 0) -> None:
    """Refuse a type or an option that is not on the lists, anywhere below."""
    if depth > MAX_DEPTH:
        raise refused("The aggregations are nested too deeply.")
    for body in walk.mapping(value, "aggregations").values():
        parts = walk.mapping(body, "an aggregation")
        types = [key for key in parts if key not in (*_BELOW, "meta")]
        if len(types) != 1:
            raise refused("An aggregation has exactly one type.")
        _aggregation(walk, types[0], parts[types[0]])
        if "meta" in parts:
            walk.plain(parts["meta"], "meta")
        for key in _BELOW:
            if key in parts:
                prove_aggregations(walk, parts[key], depth + 1)


def _aggregation(walk: Walk, name: str, body: Any) -> None:
    if name not in _TYPES:
        raise unknown(name, "an aggregation")
    if name == "filter":
        prove_query(walk, body)
    elif name == "top_hits":
        walk.hits(walk, body, name)
    else:
        for key, value in walk.allowed(body, _TYPES[name], name).items():
            _option(walk, name, key, value)


def _option(walk: Walk, name: str, key: str, value: Any) -> None:
    if key in _SIZES:
        count(value, MAX_BUCKETS, f"{name}.{key}")
    elif key == "filters":
        for each in value.values() if isinstance(value, Mapping) else each_of(value):
            prove_query(walk, each)
    elif key == "background_filter":
        prove_query(walk, value)
    elif key == "sources":
        for each in each_of(value):
            _source(walk, each)
    elif key == "sort":
        walk.hits(walk, {"sort": value}, name)
    elif name == "weighted_avg" and key in ("value", "weight"):
        walk.options(value, {"field", "missing"}, f"{name}.{key}")
    elif name == "multi_terms" and key == "terms":
        for each in each_of(value):
            walk.options(each, {"field", "missing", "value_type", "format"}, name)
    else:
        walk.plain(value, f"{name}.{key}")


def _source(walk: Walk, value: Any) -> None:
    for body in walk.mapping(value, "composite.sources").values():
        for options in walk.allowed(body, _SOURCES, "composite.sources").values():
            walk.options(options, _SOURCE_OPTIONS, "composite.sources")
