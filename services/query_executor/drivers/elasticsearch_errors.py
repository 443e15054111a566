"""What Elasticsearch or OpenSearch says of a search, as one of the API's codes; never a value of the search."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from services.query_executor.drivers.budget import timed_out
from services.query_executor.drivers.network_errors import connector_error
from services.query_executor.errors import QueryExecutionError

_MEANINGS: Final = {
    "index_not_found_exception": "The index of the secret does not exist.",
    "search_phase_execution_exception": "The search failed on the server.",
    "circuit_breaking_exception": "The search needs more memory than the server grants it.",
    "too_many_buckets_exception": "The aggregations make more buckets than the server allows.",
    "too_many_clauses": "The search has more clauses than the server allows.",
    "es_rejected_execution_exception": "The server is busy; try again.",
    "rejected_execution_exception": "The server is busy; try again.",
    "task_cancelled_exception": "The search was stopped on the server.",
}
# Their reasons speak of the grammar and of fields, where no value of the search shows in them.
_PASSED_ON: Final = frozenset(
    {"parsing_exception", "x_content_parse_exception", "illegal_argument_exception", "query_shard_exception"}
    | {"named_object_not_found_exception", "aggregation_execution_exception", "aggregation_initialization_exception"}
)
# Keys whose values name fields.
_NAMES: Final = frozenset({"field", "fields", "path", "_source", "format"})
_LONGEST: Final = 500


def raise_for(status: int, content: Mapping[str, Any], body: Mapping[str, Any], seconds: float) -> NoReturn:
    """Raise what the answer means."""
    if status == 401:
        raise connector_error("wrong_password", "The server refuses the user, password or key of the secret.")
    if status == 403:
        raise connector_error("login_refused", "The secret's user may not search this index.")
    if status == 504:
        raise timed_out(seconds)
    kind, reason = _root(content)
    if kind in ("timeout_exception", "time_exceeded_exception") or "Time exceeded" in reason:
        raise timed_out(seconds)
    raise QueryExecutionError(_message(kind, reason, body), details={"status": status, "type": kind})


def _root(content: Mapping[str, Any]) -> tuple[str, str]:
    """The first cause that the server names."""
    error = content.get("error")
    if not isinstance(error, Mapping):
        return "unknown", ""
    causes = error.get("root_cause")
    found = causes[0] if isinstance(causes, list) and causes and isinstance(causes[0], Mapping) else error
    return str(found.get("type", "unknown")), str(found.get("reason") or error.get("reason") or "")


def _message(kind: str, reason: str, body: Mapping[str, Any]) -> str:
    if kind in _PASSED_ON and reason and not any(value in reason for value in _values(body)):
        return f"The server refuses the search: {reason[:_LONGEST]}"
    return _MEANINGS.get(kind) or f"The search failed on the server ({kind})."


def _values(part: Any) -> Iterator[str]:
    """Texts and numbers of a search that are no names."""
    if isinstance(part, Mapping):
        for key, inner in part.items():
            if key not in _NAMES:
                yield from _values(inner)
    elif isinstance(part, (list, tuple)):
        for inner in part:
            yield from _values(inner)
    elif part is not None and not isinstance(part, bool) and str(part):
        yield str(part)
