"""Query clauses of a search. In a leaf the keys are fields' names; everywhere else they are words of the grammar."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.query_executor.guard.lists import sections
from services.query_executor.guard.refusal import refused
from services.query_executor.guard.walk import COMMON, Walk, each_of, field_name, unknown

_LISTS: Final = sections("search_queries")
# The leaves whose value may be a secret.
_EQUAL: Final = frozenset({"term", "match", "match_phrase"})
_DECAY: Final = frozenset({"gauss", "exp", "linear"})


def prove_query(walk: Walk, value: Any) -> None:
    """Refuse a clause that is not on the lists, anywhere below."""
    clause = walk.mapping(value, "a query")
    if len(clause) != 1:
        raise refused("A query clause is an object with exactly one key, its type.")
    ((name, body),) = clause.items()
    if name in _LISTS["field"]:
        _field_clause(walk, name, body)
    elif name in _LISTS["plain"]:
        walk.options(body, _LISTS[f"plain_{name}"] | COMMON, name)
    elif name in _LISTS["geo"]:
        _geo(walk, name, body)
    elif name in _LISTS["spans"]:
        _span(walk, name, body)
    elif prove := _COMPOUND.get(name):
        prove(walk, body)
    else:
        raise unknown(name, "a query")


def queries(walk: Walk, value: Any) -> None:
    """One clause or a list of several."""
    for each in each_of(value):
        prove_query(walk, each)


def _one_field(walk: Walk, name: str, body: Any) -> Any:
    fields = [(key, value) for key, value in walk.mapping(body, name).items() if key not in COMMON]
    if len(fields) != 1:
        raise refused(f"{name} takes exactly one field.")
    field_name(fields[0][0], name)
    return fields[0][1]


def _field_clause(walk: Walk, name: str, body: Any) -> None:
    inner = _one_field(walk, name, body)
    if not isinstance(inner, dict):
        _leaf_value(walk, name, inner)
        return
    for key, value in walk.allowed(inner, _LISTS[f"field_{name}"] | COMMON, name).items():
        if key in ("value", "query"):
            _leaf_value(walk, name, value)
        else:
            walk.plain(value, name)


def _leaf_value(walk: Walk, name: str, value: Any) -> None:
    if isinstance(value, (dict, list)):
        raise refused(f"{name} takes a plain value.")
    if name in _EQUAL:
        walk.value(value, name)


def _terms(walk: Walk, body: Any) -> None:
    values = _one_field(walk, "terms", body)
    if isinstance(values, dict):
        raise refused("A terms lookup reads another document and is not allowed; list the terms.")
    walk.value(values, "terms")


def _terms_set(walk: Walk, body: Any) -> None:
    inner = walk.allowed(
        _one_field(walk, "terms_set", body),
        {"terms", "minimum_should_match_field", "minimum_should_match"} | COMMON,
        "terms_set",
    )
    walk.plain(dict(inner), "terms_set")


def _bool(walk: Walk, body: Any) -> None:
    clauses = ("must", "filter", "should", "must_not")
    known = {*clauses, "minimum_should_match", "adjust_pure_negative"} | COMMON
    for key, value in walk.allowed(body, known, "bool").items():
        if key in clauses:
            queries(walk, value)
        else:
            walk.plain(value, "bool")


def _holding(name: str, clauses: tuple[str, ...], *options: str) -> Callable[[Walk, Any], None]:
    """A clause with queries under some keys and plain options under others."""

    def prove(walk: Walk, body: Any) -> None:
        for key, value in walk.allowed(body, {*clauses, *options} | COMMON, name).items():
            if key in clauses:
                queries(walk, value)
            elif key == "inner_hits":
                walk.hits(walk, value, name)
            else:
                walk.plain(value, name)

    return prove


def _function_score(walk: Walk, body: Any) -> None:
    plain = {"boost_mode", "score_mode", "max_boost", "min_score"}
    for key, value in walk.allowed(body, {"query", "functions"} | plain | _FUNCTION | COMMON, "function_score").items():
        if key == "query":
            prove_query(walk, value)
        elif key == "functions":
            for each in each_of(value):
                for name, inner in walk.allowed(each, _FUNCTION | {"filter"}, "function_score").items():
                    _function(walk, name, inner)
        else:
            _function(walk, key, value)


_FUNCTION: Final = frozenset({"weight", "random_score", "field_value_factor"}) | _DECAY


def _function(walk: Walk, name: str, value: Any) -> None:
    if name == "filter":
        prove_query(walk, value)
    elif name in _DECAY:
        fields = {key: each for key, each in walk.mapping(value, name).items() if key != "multi_value_mode"}
        for key, options in fields.items():
            field_name(key, name)
            walk.options(options, {"origin", "scale", "offset", "decay"}, name)
    elif name == "field_value_factor":
        walk.options(value, {"field", "factor", "modifier", "missing"}, name)
    elif name == "random_score":
        walk.options(value, {"seed", "field"}, name)
    else:
        walk.plain(value, name)


def _more_like_this(walk: Walk, body: Any) -> None:
    known = (
        "fields like unlike max_query_terms min_term_freq min_doc_freq max_doc_freq min_word_length max_word_length "
        "stop_words analyzer minimum_should_match fail_on_unsupported_field boost_terms include"
    )
    for key, value in walk.allowed(body, frozenset(known.split()) | COMMON, "more_like_this").items():
        if key in ("like", "unlike") and not all(isinstance(each, str) for each in each_of(value)):
            raise refused("more_like_this may only be given text; a document would be read from an index by name.")
        walk.plain(value, "more_like_this")


def _geo(walk: Walk, name: str, body: Any) -> None:
    for key, value in walk.mapping(body, name).items():
        if key in _LISTS["geo_options"] | COMMON:
            walk.plain(value, name)
            continue
        field_name(key, name)
        if name == "geo_shape":
            walk.options(value, _LISTS["geo_shape"], name)
        else:
            walk.plain(value, name)


def _span(walk: Walk, name: str, body: Any) -> None:
    if name == "span_term":
        inner = _one_field(walk, name, body)
        walk.plain(inner, name)
        return
    inside = {"clauses", "include", "exclude", "match", "little", "big", "query"}
    for key, value in walk.allowed(body, inside | _LISTS["span_options"] | COMMON, name).items():
        if key in inside:
            queries(walk, value)
        else:
            walk.plain(value, name)


def _intervals(walk: Walk, body: Any) -> None:
    _rule(walk, _one_field(walk, "intervals", body))


_RULES: Final = {
    "match": frozenset({"query", "max_gaps", "ordered", "analyzer", "use_field"}),
    "prefix": frozenset({"prefix", "analyzer", "use_field"}),
    "wildcard": frozenset({"pattern", "analyzer", "use_field"}),
    "fuzzy": frozenset({"term", "prefix_length", "transpositions", "fuzziness", "analyzer", "use_field"}),
    "any_of": frozenset({"intervals"}),
    "all_of": frozenset({"intervals", "max_gaps", "ordered", "mode"}),
}
_RELATIONS: Final = (
    "after", "before", "contained_by", "containing", "not_contained_by", "not_containing", "not_overlapping",
    "overlapping",
)  # fmt: skip


def _rule(walk: Walk, value: Any) -> None:
    for name, body in walk.allowed(value, {*_RULES} | COMMON, "intervals").items():
        if name in COMMON:
            continue
        for key, each in walk.allowed(body, _RULES[name] | {"filter"}, f"intervals.{name}").items():
            if key == "intervals":
                for rule in each_of(each):
                    _rule(walk, rule)
            elif key == "filter":
                for inner in walk.allowed(each, _RELATIONS, "intervals.filter").values():
                    _rule(walk, inner)
            else:
                walk.plain(each, "intervals")


def _rank_feature(walk: Walk, body: Any) -> None:
    known = {"field", "saturation", "log", "sigmoid", "linear"} | COMMON
    walk.options(body, known, "rank_feature")


def knn(walk: Walk, body: Any) -> None:
    """Nearest neighbours of a vector that is written out; a model's id would call the model."""
    for key, value in walk.allowed(body, sections("search_body")["knn"] | {"filter"} | COMMON, "knn").items():
        if key == "filter":
            queries(walk, value)
        else:
            walk.plain(value, "knn")


_COMPOUND: Final[Mapping[str, Callable[[Walk, Any], None]]] = {
    "bool": _bool,
    "terms": _terms,
    "terms_set": _terms_set,
    "constant_score": _holding("constant_score", ("filter",)),
    "dis_max": _holding("dis_max", ("queries",), "tie_breaker"),
    "boosting": _holding("boosting", ("positive", "negative"), "negative_boost"),
    "nested": _holding("nested", ("query",), "path", "score_mode", "ignore_unmapped", "inner_hits"),
    "has_child": _holding(
        "has_child", ("query",), "type", "score_mode", "min_children", "max_children", "ignore_unmapped", "inner_hits"
    ),
    "has_parent": _holding("has_parent", ("query",), "parent_type", "score", "ignore_unmapped", "inner_hits"),
    "function_score": _function_score,
    "more_like_this": _more_like_this,
    "intervals": _intervals,
    "rank_feature": _rank_feature,
    "knn": knn,
}
