"""A search's answer as rows: hits as `_id` and their fields, or buckets flattened."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from services.query_executor.drivers import Column, Row

Named = dict[str, Any]
_NOT_METRICS: Final = frozenset({"meta", "doc_count_error_upper_bound", "sum_other_doc_count", "after_key", "bg_count"})
_KINDS: Final[dict[type, str]] = {str: "text", bool: "boolean", int: "number", float: "number", list: "array"}


def flattened(source: Mapping[str, Any]) -> Named:
    """One level: `{"a": {"b": {"c": 1}}}` has the column `a.b`, an object."""
    row = dict[str, Any]()
    for name, value in source.items():
        if isinstance(value, dict) and value:
            row |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            row[name] = value
    return row


def of_hits(answer: Mapping[str, Any]) -> list[Named]:
    """`_id`, then the document, then `fields` where the search asks for them."""
    hits: Sequence[Mapping[str, Any]] = answer.get("hits", {}).get("hits", [])
    return [
        {"_id": hit.get("_id")} | flattened(hit.get("_source") or {}) | dict(hit.get("fields") or {}) for hit in hits
    ]


def of_aggregations(aggregations: Mapping[str, Any]) -> Iterator[Named]:
    """A row for each innermost bucket, with the keys of those around it; one row where there are no buckets."""
    yield from _level(aggregations, {})


def _level(aggregations: Mapping[str, Any], around: Named) -> Iterator[Named]:
    """Aggregations side by side: their values stand in each row, their buckets below each other."""
    values, bucketed = dict(around), list[tuple[str, Any]]()
    _sort_out(aggregations, "", values, bucketed)
    if not bucketed and values:
        yield values
    for name, buckets in bucketed:
        for key, bucket in _each(buckets):
            yield from _level(_below(bucket), values | _keys(name, key, bucket))


def _sort_out(aggregations: Mapping[str, Any], prefix: str, values: Named, bucketed: list[tuple[str, Any]]) -> None:
    """Values into `values`, lists of buckets into `bucketed`; a single bucket (filter, nested) is looked into."""
    for name, result in aggregations.items():
        place = prefix + name
        if not isinstance(result, Mapping):
            continue
        if "buckets" in result:
            bucketed.append((place, result["buckets"]))
        elif "doc_count" in result:
            values[f"{place}.doc_count"] = result["doc_count"]
            _sort_out(_below(result), f"{place}.", values, bucketed)
        else:
            values |= _metrics(place, result)


def _metrics(name: str, result: Mapping[str, Any]) -> Named:
    """A single value has the aggregation's name; several (stats, percentiles) have it before theirs."""
    if "value" in result:
        return {name: result.get("value_as_string", result["value"])}
    if "values" in result and isinstance(result["values"], Mapping):
        return {f"{name}.{each}": value for each, value in result["values"].items()}
    if "values" in result:
        return {f"{name}.{pair.get('key')}": pair.get("value") for pair in result["values"]}
    if isinstance(result.get("hits"), Mapping):
        return {name: of_hits(result)}
    return {f"{name}.{each}": value for each, value in result.items() if each not in _NOT_METRICS}


def _each(buckets: Any) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Buckets of a list, or by name."""
    if isinstance(buckets, Mapping):
        yield from buckets.items()
        return
    for bucket in buckets:
        yield bucket.get("key_as_string", bucket.get("key")), bucket


def _keys(name: str, key: Any, bucket: Mapping[str, Any]) -> Named:
    """A composite key has a column for each of its sources."""
    keys = {f"{name}.{each}": value for each, value in key.items()} if isinstance(key, Mapping) else {name: key}
    return keys | {"doc_count": bucket.get("doc_count")}


def _below(bucket: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is aggregated inside a bucket."""
    return {name: inner for name, inner in bucket.items() if isinstance(inner, Mapping) and name not in ("key", "meta")}


def columns_of(rows: Sequence[Named]) -> tuple[Column, ...]:
    """In the order in which names first appear; the type is that of the first value."""
    kinds = dict[str, str]()
    for row in rows:
        for name, value in row.items():
            if not kinds.get(name):
                kinds[name] = "" if value is None else _KINDS.get(type(value), "object")
    return tuple(Column(name, kind or "null") for name, kind in kinds.items())


def as_rows(named: Sequence[Named], columns: Sequence[Column]) -> list[Row]:
    """Values in the order of the columns; null where a row lacks one."""
    names = [column.name for column in columns]
    return [[row.get(name) for name in names] for row in named]
