"""What a chart asks: a query that Superset can be asked to write down, or SQL that stands for its names. Pure."""

from collections.abc import Iterator
from typing import Any, Final

import orjson
from sqlglot import exp

from libs.common.sql import Dialect
from services.scraper.tools.fields import Row, as_whole, inner, items, rows, text
from services.scraper.tools.superset_names import Dataset

MOST_QUERIES: Final = 20
_MOST_NAMES: Final = 500
_COLUMN_FIELDS: Final = (
    "groupby",
    "columns",
    "all_columns",
    "groupbyColumns",
    "groupbyRows",
    "order_by_cols",
    "series",
)
_SINGLE_FIELDS: Final = ("x_axis", "granularity_sqla", "entity", "source", "target", "latitude", "longitude", "geohash")
_METRIC_FIELDS: Final = ("metrics", "metrics_b", "percent_metrics", "tooltip_metrics")
_SINGLE_METRICS: Final = ("metric", "metric_2", "secondary_metric", "x", "y", "size", "timeseries_limit_metric")


def params_of(row: Row) -> dict[str, Any]:
    """A chart's parameters, which Superset keeps as JSON in a text; empty where they cannot be read."""
    try:
        params = orjson.loads(row.get("params") or "{}")
    except (orjson.JSONDecodeError, TypeError):
        return {}
    return params if isinstance(params, dict) else {}


def query_context(params: Row, dataset: int) -> dict[str, Any]:
    """A request for the SQL, and not the data, of a chart with these parameters."""
    query = {
        "columns": list(_columns(params)),
        "metrics": list(_metrics(params)),
        "filters": list(_filters(params)),
        "granularity": text(params, "granularity_sqla"),
        "extras": {"where": _clauses(params, "WHERE"), "having": _clauses(params, "HAVING")},
        "row_limit": as_whole(params.get("row_limit")) or 1000,
        "is_timeseries": False,
    }
    return {
        "datasource": {"id": dataset, "type": "table"},
        "force": False,
        "queries": [{name: value for name, value in query.items() if value is not None}],
        "result_format": "json",
        "result_type": "query",
    }


def queries_in(body: object) -> str | None:
    """The SQL in an answer of chart/data; several queries of a chart as several statements."""
    if not isinstance(body, dict):
        return None
    found = [text(result, "query") for result in rows(body, "result")[:MOST_QUERIES] if result.get("language") == "sql"]
    return ";\n".join(sql.strip().rstrip(";") for sql in found if sql) or None


def names_as_sql(params: Row, dataset: Dataset) -> str:
    """A SELECT of all columns that the parameters name, over the dataset: what is left when Superset gives no SQL."""
    dialect = dataset.database.dialect
    columns = [_quoted(name, dialect) for name in _column_names(params)]
    expressions = dict.fromkeys([*columns, *_expressions(params)])
    chosen = ", ".join(list(expressions)[:_MOST_NAMES]) or "1"
    source = _table(dataset) if dataset.sql is None else f"(\n{all_of(dataset)}\n) AS virtual_table"
    return f"SELECT {chosen} FROM {source}"  # noqa: S608 (never run)


def all_of(dataset: Dataset) -> str:
    """A query that gives what a dataset holds."""
    return dataset.sql.strip().rstrip(";") if dataset.sql else f"SELECT * FROM {_table(dataset)}"  # noqa: S608


def _table(dataset: Dataset) -> str:
    return ".".join(_quoted(part, dataset.database.dialect) for part in dataset.name)


def _quoted(name: str, dialect: Dialect) -> str:
    return exp.to_identifier(name, quoted=name != name.lower() or not name.isidentifier()).sql(dialect=dialect.sqlglot)


def _columns(params: Row) -> Iterator[Any]:
    """Columns as a query context takes them: names, or ad hoc expressions."""
    for value in (*(v for name in _COLUMN_FIELDS for v in items(params, name)), params.get("x_axis")):
        if (isinstance(value, str) and value) or (isinstance(value, dict) and value.get("sqlExpression")):
            yield value


def _metrics(params: Row) -> Iterator[Any]:
    """Metrics: names of saved ones, or ad hoc ones."""
    several = [value for name in _METRIC_FIELDS for value in items(params, name)]
    for value in (*several, *(params.get(name) for name in _SINGLE_METRICS)):
        ad_hoc = isinstance(value, dict) and value.get("expressionType") in ("SIMPLE", "SQL")
        if ad_hoc or (isinstance(value, str) and value):
            yield value


def _filters(params: Row) -> Iterator[dict[str, Any]]:
    for condition in rows(params, "adhoc_filters"):
        column, operator = text(condition, "subject"), text(condition, "operator")
        if condition.get("expressionType") == "SIMPLE" and condition.get("clause") == "WHERE" and column and operator:
            yield {"col": column, "op": operator, "val": condition.get("comparator")}


def _clauses(params: Row, clause: str) -> str:
    found = [
        text(condition, "sqlExpression")
        for condition in rows(params, "adhoc_filters")
        if condition.get("expressionType") == "SQL" and condition.get("clause") == clause
    ]
    return " AND ".join(f"({sql})" for sql in found if sql)


def _column_names(params: Row) -> Iterator[str]:
    for value in _columns(params):
        if isinstance(value, str):
            yield value
    for name in _SINGLE_FIELDS:
        value = params.get(name)
        if isinstance(value, str) and value:
            yield value
    for metric in _metrics(params):
        column = text(inner(metric, "column"), "column_name") if isinstance(metric, dict) else None
        if column and metric.get("expressionType") == "SIMPLE":
            yield column
    for condition in rows(params, "adhoc_filters"):
        subject = text(condition, "subject")
        if subject and condition.get("expressionType") == "SIMPLE":
            yield subject


def _expressions(params: Row) -> Iterator[str]:
    for value in (*_columns(params), *_metrics(params), *rows(params, "adhoc_filters")):
        sql = text(value, "sqlExpression") if isinstance(value, dict) else None
        if sql and value.get("expressionType") != "SIMPLE":
            yield f"({sql.strip()})"
