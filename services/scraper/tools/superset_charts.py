"""What a chart asks: a query that Superset can be asked to write down, or SQL that stands for its names. Pure."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import orjson
from sqlglot import exp, parse_one

from libs.common.sql import Dialect
from services.scraper.tools.fields import Row, as_whole, inner, items, rows, text
from services.scraper.tools.superset_names import Dataset
from services.scraper.tools.templates import forms

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
    """SQL that names what a chart names, for when Superset gives none: of a table, all columns in the parameters."""
    if dataset.sql:
        return dataset.sql
    dialect = dataset.database.dialect
    columns = [exp.column(_identifier(name)) for name in dict.fromkeys(_column_names(params))]
    chosen = [*columns, *_expressions(params, dialect)][:_MOST_NAMES] or [exp.Literal.number(1)]
    return exp.select(*chosen).from_(_table(dataset)).sql(dialect.sqlglot)


def all_of(dataset: Dataset) -> str:
    """A query that gives what a dataset holds."""
    if dataset.sql:
        return dataset.sql.strip().rstrip(";")
    return exp.select(exp.Star()).from_(_table(dataset)).sql(dataset.database.dialect.sqlglot)


def _table(dataset: Dataset) -> exp.Table:
    catalog, schema, table = [None, None, *(_identifier(part) for part in dataset.name)][-3:]
    return exp.Table(this=table, db=schema, catalog=catalog)


def _identifier(name: str) -> exp.Identifier:
    """SQLAlchemy writes what a database folds in lower case; all else needs its quotes."""
    return exp.to_identifier(name, quoted=name != name.lower() or not name.isidentifier())


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


def _expressions(params: Row, dialect: Dialect) -> Iterator[exp.Expr]:
    """Ad hoc SQL; what cannot be parsed names nothing."""
    for value in (*_columns(params), *_metrics(params), *rows(params, "adhoc_filters")):
        sql = text(value, "sqlExpression") if isinstance(value, dict) else None
        if sql and value.get("expressionType") != "SIMPLE":
            with suppress(Exception):  # whatever a parser does with text that anybody may have typed
                yield parse_one(forms(sql)[0], dialect=dialect.sqlglot)
