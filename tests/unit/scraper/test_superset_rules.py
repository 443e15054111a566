"""Pure rules of Superset: dialects, default names, what charts name, patience, reading of untrusted JSON."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from libs.common.connectors import ConnectorSettings, SupersetSettings
from libs.common.sql import DefaultNames, Dialect, analyse
from services.scraper.tools.fields import inner, items, moment, real, rows, text, whole
from services.scraper.tools.http_retry import Patience, retry_after
from services.scraper.tools.superset_charts import names_as_sql, params_of, queries_in, query_context
from services.scraper.tools.superset_lists import Rison, rison
from services.scraper.tools.superset_names import Database, Dataset, database_of, dialect_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("groupby", "columns", "metrics", "metric", "adhoc_filters", "x_axis", "granularity_sqla", "row_limit")


@pytest.mark.parametrize(
    ("backend", "dialect"),
    [
        ("postgresql", Dialect.POSTGRES),
        ("PostgreSQL", Dialect.POSTGRES),
        ("cockroachdb", Dialect.POSTGRES),
        ("redshift", Dialect.REDSHIFT),
        ("awsathena", Dialect.ATHENA),
        ("mssql", Dialect.TSQL),
        ("clickhousedb", Dialect.CLICKHOUSE),
        ("motherduck", Dialect.DUCKDB),
        ("starrocks", Dialect.MYSQL),
        ("snowflake", Dialect.SNOWFLAKE),
        ("bigquery", Dialect.BIGQUERY),
        ("druid", Dialect.ANSI),
        (None, Dialect.ANSI),
    ],
)
def test_backends_speak_dialects(backend: str | None, dialect: Dialect) -> None:
    assert dialect_of(backend) is dialect


@pytest.mark.parametrize(
    ("backend", "address", "expected"),
    [
        ("postgresql", "postgresql+psycopg2://u:X@h:5432/shop", ("shop", "public")),
        ("snowflake", "snowflake://u:X@acc/sales/raw?warehouse=w", ("SALES", "RAW")),
        ("snowflake", "snowflake://u:X@acc/sales", ("SALES", "PUBLIC")),
        ("bigquery", "bigquery://my-project/sales", ("my-project", "sales")),
        ("bigquery", "bigquery://my-project", ("my-project", None)),
        ("mysql", "mysql://u:X@h/shop", (None, "shop")),
        ("trino", "trino://u@h:8080/hive/web", ("hive", "web")),
        ("mssql", "mssql+pymssql://u:X@h/Shop", ("shop", "dbo")),
        ("sqlite", "sqlite:////data/shop.db", (None, None)),
        ("oracle", "oracle://u:X@h:1521/?service_name=x", (None, None)),
        ("postgresql", "postgresql://[bad", (None, "public")),
        ("postgresql", None, (None, "public")),
    ],
)
def test_addresses_say_default_names(
    backend: str, address: str | None, expected: tuple[str | None, str | None]
) -> None:
    found = database_of({"id": 1, "database_name": "x", "backend": backend}, address)
    assert found is not None
    catalog, schema = expected
    assert found.defaults() == DefaultNames(catalog, (schema,) if schema else ())


def test_the_schema_of_a_query_comes_before_that_of_the_database() -> None:
    database = Database(1, "shop", Dialect.POSTGRES, "shop")
    assert database.defaults("sales", "other") == DefaultNames("other", ("sales",))


def _named(params: dict[str, Any], sql: str | None = None) -> set[str]:
    dataset = Dataset(1, Database(1, "shop", Dialect.POSTGRES, "shop"), "Orders", "sales", "shop", sql)
    found = analyse(names_as_sql(params, dataset), Dialect.POSTGRES, dataset.defaults)
    assert found.parsed
    return {f"{use.table.parts[-1]}.{use.column}" for use in found.columns} | {t.display for t in found.tables}


def test_settings_of_charts_name_columns_of_tables_and_through_queries() -> None:
    params = {
        "groupby": ["status", {"sqlExpression": "upper(region)", "label": "r"}],
        "all_columns": ["Order Id"],
        "x_axis": "day",
        "granularity_sqla": "created_at",
        "metrics": ["count", {"expressionType": "SIMPLE", "aggregate": "SUM", "column": {"column_name": "amount"}}],
        "metric": {"expressionType": "SQL", "sqlExpression": "sum(tax) / sum(net)"},
        "adhoc_filters": [
            {"expressionType": "SIMPLE", "subject": "channel", "operator": "==", "comparator": "x", "clause": "WHERE"},
            {"expressionType": "SQL", "sqlExpression": "kind = 'y'", "clause": "WHERE"},
        ],
    }
    columns = {"status", "region", "Order Id", "day", "created_at", "amount", "tax", "net", "channel", "kind"}
    assert _named(params) == {f"Orders.{column}" for column in columns} | {'shop.sales."Orders"'}
    assert _named({"groupby": ["a"]}, "SELECT a, b FROM t -- end") == {"t.a", "t.b", "shop.sales.t"}
    assert _named({"columns": [{"sqlExpression": "a +"}, {"sqlExpression": "coalesce(b, {{ x }})"}]}) == {
        "Orders.b",
        'shop.sales."Orders"',
    }
    assert _named({}) == {'shop.sales."Orders"'}


def test_a_query_context_asks_for_the_query_and_not_for_data() -> None:
    context = query_context({"groupby": ["a"], "metrics": ["count"], "row_limit": "50"}, 7)
    assert context["result_type"] == "query"
    assert context["datasource"] == {"id": 7, "type": "table"}
    assert context["queries"][0]["columns"] == ["a"]
    assert context["queries"][0]["row_limit"] == 50


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, JSON)), JSON)
def test_any_settings_can_be_read(params: dict[str, Any], body: Any) -> None:
    dataset = Dataset(1, Database(1, "shop", Dialect.POSTGRES), "t")
    assert names_as_sql(params, dataset)
    assert query_context(params, 1)
    assert isinstance(params_of({"params": body}), dict)
    assert queries_in(body) is None or isinstance(queries_in(body), str)


@given(JSON)
def test_any_json_gives_values_of_the_wanted_type(value: Any) -> None:
    row = {"x": value}
    assert isinstance(text(row, "x"), str | None)
    assert isinstance(inner(row, "x"), dict)
    assert all(isinstance(entry, dict) for entry in rows(row, "x"))
    assert isinstance(items(row, "x"), tuple)
    number, fraction = whole(row, "x"), real(row, "x")
    assert number is None or (0 <= number < 2**63 and not isinstance(number, bool))
    assert fraction is None or moment(fraction) is None or moment(fraction)


def test_rison_quotes_texts() -> None:
    value: Rison = {"filters": [{"col": "a'b!", "value": 1.5}], "page": 0}
    assert rison(value) == "(filters:!((col:'a!'b!!',value:1.5)),page:0)"


@given(st.integers(1, 50), st.floats(0, 1))
def test_pauses_grow_to_a_limit_and_never_meet(attempt: int, chance: float) -> None:
    patience = Patience(first_pause=0.5, longest_pause=8.0)
    full = min(0.5 * 2 ** (attempt - 1), 8.0)
    assert full / 2 <= patience.pause(attempt, chance) <= full


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("12", 12.0),
        ("-5", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Sun, 01 Mar 2026 00:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2020 00:00:00 GMT", 0.0),
        ("Sun, 99 Foo 2026", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, datetime(2026, 3, 1, tzinfo=UTC)) == seconds


def _settings(**values: object) -> SupersetSettings:
    body = {"type": "superset", "base_url": "https://bi.example.com", "username": "u", "password": "p-secret"} | values
    found: object = TypeAdapter(ConnectorSettings).validate_json(json.dumps(body))
    assert isinstance(found, SupersetSettings)
    return found


def test_settings_are_a_member_of_the_union_and_hide_the_password() -> None:
    settings = _settings(base_url="https://bi.example.com/sub/")
    assert settings.base_url == "https://bi.example.com/sub"
    assert "p-secret" not in repr(settings)


@pytest.mark.parametrize(
    "base_url",
    [
        "bi.example.com",
        "ftp://bi",
        "https://",
        "https://u:hidden@bi",
        "https://bi?x=hidden",
        "https://bi#hidden",
        "http://[x",
    ],
)
def test_base_urls_that_cannot_be_are_refused_without_repeating_them(base_url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _settings(base_url=base_url)
    problem = caught.value.errors(include_input=False, include_context=False)[0]
    assert problem["loc"][-1] == "base_url"
    assert "hidden" not in problem["msg"]
