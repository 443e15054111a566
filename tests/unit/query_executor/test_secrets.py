"""Values of secrets: every field of the three tables, and nothing else."""

from typing import Any

import pytest
from pydantic import SecretStr

from libs.common.sealed import CannotOpen, KeyRing, encode
from services.query_executor.errors import QueryValidationError
from services.query_executor.secret_types import (
    BY_SLUG,
    ClickHouseConnection,
    Connection,
    ElasticsearchConnection,
    SqlConnection,
    is_connection,
    parse_value,
    plain_json,
)

SQL = {
    "host": "db.example.com",
    "port": 5432,
    "database": "analytics_db",
    "username": "readonly_user",
    "password": "secure_password",
}
SEARCH = {
    "host": "https://elasticsearch.example.com",
    "port": 9200,
    "index": "logs-*",
    "username": "elastic",
    "password": "secure_password",
    "max_result_rows": 10000,
}
CLICKHOUSE = SQL | {"port": 8443, "secure": True}
EXAMPLES: dict[str, dict[str, Any]] = {
    "analytics-postgres": SQL,
    "analytics-mysql": SQL | {"port": 3306},
    "analytics-redshift": SQL | {"port": 5439},
    "analytics-elasticsearch": SEARCH,
    "analytics-clickhouse": CLICKHOUSE,
}
CANARY = "canary-7f3a"


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in names}


def test_the_five_types() -> None:
    assert sorted(BY_SLUG) == sorted(EXAMPLES)


@pytest.mark.parametrize("slug", sorted(EXAMPLES))
def test_the_documented_examples_are_taken_and_survive_sealing(slug: str) -> None:
    value = parse_value(slug, EXAMPLES[slug])
    assert isinstance(value, Connection)
    assert parse_value(slug, plain_json(value)) == value
    assert plain_json(value).items() >= EXAMPLES[slug].items()
    assert value.secrets == ("secure_password",)
    assert "secure_password" not in repr(value)


def test_defaults() -> None:
    search = parse_value("analytics-elasticsearch", {"host": "http://es", "index": "logs"})
    assert isinstance(search, ElasticsearchConnection)
    assert (search.port, search.max_result_rows, search.target) == (9200, 10_000, ("es", 9200))
    click = parse_value("analytics-clickhouse", without(CLICKHOUSE, "secure"))
    assert isinstance(click, ClickHouseConnection)
    assert click.secure is True
    sql = parse_value("analytics-postgres", SQL)
    assert isinstance(sql, SqlConnection)
    assert sql.target == ("db.example.com", 5432)


@pytest.mark.parametrize(
    ("slug", "field"),
    [(slug, field) for slug in ("analytics-postgres", "analytics-mysql", "analytics-redshift") for field in SQL]
    + [("analytics-clickhouse", field) for field in SQL]
    + [("analytics-elasticsearch", field) for field in ("host", "index")],
)
def test_a_required_field_that_is_missing_is_named(slug: str, field: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        parse_value(slug, without(EXAMPLES[slug], field))
    assert refused.value.errors == {f"value.{field}": ["Field required"]}


@pytest.mark.parametrize(
    ("slug", "changes", "field"),
    [
        ("analytics-postgres", {"sslmode": "require"}, "value.sslmode"),
        ("analytics-postgres", {"dsn": "postgres://x"}, "value.dsn"),
        ("analytics-postgres", {"options": "-c x=1"}, "value.options"),
        ("analytics-postgres", {"secure": True}, "value.secure"),
        ("analytics-mysql", {"local_infile": True}, "value.local_infile"),
        ("analytics-clickhouse", {"settings": {}}, "value.settings"),
        ("analytics-elasticsearch", {"verify": False}, "value.verify"),
        ("analytics-postgres", {"host": "/var/run/postgresql"}, "value.host"),
        ("analytics-postgres", {"host": "one.example.com,two.example.com"}, "value.host"),
        ("analytics-postgres", {"host": "host:5432"}, "value.host"),
        ("analytics-postgres", {"host": "user@host"}, "value.host"),
        ("analytics-postgres", {"host": "postgres://host"}, "value.host"),
        ("analytics-postgres", {"host": "host?x=1"}, "value.host"),
        ("analytics-postgres", {"host": " "}, "value.host"),
        ("analytics-postgres", {"host": "a\nb"}, "value.host"),
        ("analytics-postgres", {"host": 5}, "value.host"),
        ("analytics-postgres", {"port": 0}, "value.port"),
        ("analytics-postgres", {"port": 65536}, "value.port"),
        ("analytics-postgres", {"port": "5432"}, "value.port"),
        ("analytics-postgres", {"port": True}, "value.port"),
        ("analytics-postgres", {"database": ""}, "value.database"),
        ("analytics-postgres", {"database": "a\x00b"}, "value.database"),
        ("analytics-postgres", {"username": None}, "value.username"),
        ("analytics-postgres", {"password": ""}, "value.password"),
        ("analytics-postgres", {"password": None}, "value.password"),
        ("analytics-clickhouse", {"secure": "yes"}, "value.secure"),
        ("analytics-elasticsearch", {"host": "elasticsearch.example.com"}, "value.host"),
        ("analytics-elasticsearch", {"host": "ftp://es"}, "value.host"),
        ("analytics-elasticsearch", {"host": "https://es:9200"}, "value.host"),
        ("analytics-elasticsearch", {"host": "https://u:p@es"}, "value.host"),
        ("analytics-elasticsearch", {"host": "https://es/path"}, "value.host"),
        ("analytics-elasticsearch", {"host": "https://es?x=1"}, "value.host"),
        ("analytics-elasticsearch", {"host": "https://a,b"}, "value.host"),
        ("analytics-elasticsearch", {"host": "https://[::1"}, "value.host"),
        ("analytics-elasticsearch", {"index": "*"}, "value.index"),
        ("analytics-elasticsearch", {"index": "_all"}, "value.index"),
        ("analytics-elasticsearch", {"index": "logs,*"}, "value.index"),
        ("analytics-elasticsearch", {"index": ".security"}, "value.index"),
        ("analytics-elasticsearch", {"index": "logs/_delete_by_query"}, "value.index"),
        ("analytics-elasticsearch", {"index": "../x"}, "value.index"),
        ("analytics-elasticsearch", {"index": "Logs"}, "value.index"),
        ("analytics-elasticsearch", {"index": ""}, "value.index"),
        ("analytics-elasticsearch", {"max_result_rows": 0}, "value.max_result_rows"),
        ("analytics-elasticsearch", {"max_result_rows": "10"}, "value.max_result_rows"),
        ("analytics-elasticsearch", {"headers": {"Host": "x"}}, "value.headers"),
        ("analytics-elasticsearch", {"headers": {"X": "a\r\nY: b"}}, "value.headers"),
        ("analytics-elasticsearch", {"headers": {"X Y": "a"}}, "value.headers"),
        ("analytics-elasticsearch", {"headers": ["X"]}, "value.headers"),
        ("analytics-elasticsearch", {"api_key": "k"}, "value"),
        ("analytics-elasticsearch", {"password": None}, "value"),
    ],
)
def test_a_wrong_field_is_named(slug: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        parse_value(slug, EXAMPLES[slug] | changes)
    assert refused.value.errors.keys() == {field}
    assert refused.value.status == 400


@pytest.mark.parametrize("index", ["logs-*", "a", "logs-2024.01,metrics-*", "a_b", "a*b*"])
def test_index_patterns(index: str) -> None:
    assert parse_value("analytics-elasticsearch", SEARCH | {"index": index})


@pytest.mark.parametrize("host", ["db", "db.example.com", "10.0.0.1", "::1", "2001:db8::1", "a_b.c", "db.example.com."])
def test_hosts(host: str) -> None:
    assert parse_value("analytics-postgres", SQL | {"host": host})


@pytest.mark.parametrize("value", [None, [], "text", 5, {"host": [CANARY]}, {"password": {"x": CANARY}}])
def test_no_error_repeats_what_was_sent(value: object) -> None:
    with pytest.raises(QueryValidationError) as refused:
        parse_value("analytics-postgres", value)
    assert CANARY not in str(refused.value) + str(refused.value.errors)


def test_an_api_key_and_headers_are_secret() -> None:
    value = without(SEARCH, "username", "password") | {"api_key": "key-123", "headers": {"X-Auth": "token-123"}}
    search = parse_value("analytics-elasticsearch", value)
    assert isinstance(search, ElasticsearchConnection)
    assert set(search.secrets) == {"key-123", "token-123"}
    assert "123" not in repr(search)
    assert parse_value("analytics-elasticsearch", plain_json(search)) == search


@pytest.mark.parametrize("value", ["text", 5, 2.5, True, {"id": 1}, {"a": {"b": {"c": "d"}}}, {"dashed-name": "x"}])
def test_other_types_hold_keys_and_values(value: object) -> None:
    assert parse_value("plain", value) == value
    assert plain_json(value) == value


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "value"),
        ([1], "value"),
        ({}, "value"),
        ({"a": None}, "value.a"),
        ({"a": [1]}, "value.a"),
        ({"a b": 1}, "value"),
        ({"": 1}, "value"),
        ({"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}, "value.a.a.a.a.a"),
    ],
)
def test_other_types_hold_nothing_else(value: object, field: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        parse_value("plain", value)
    assert refused.value.errors.keys() == {field}


def test_only_connections_begin_with_the_prefix() -> None:
    assert is_connection("analytics-oracle")
    assert not is_connection("postgres")


def test_sealed_values_belong_to_one_version_of_one_secret() -> None:
    ring = KeyRing.of({"k": SecretStr(encode(bytes(32)))})
    sealed = ring.seal(b"x", bound_to="query-secret:t:s:1")
    with pytest.raises(CannotOpen):
        ring.open(sealed, bound_to="query-secret:t:s:2")
