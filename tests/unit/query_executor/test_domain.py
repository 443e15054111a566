"""Pure rules of query_executor."""

from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.auth import Principal
from services.query_executor.domain import (
    LimitRules,
    execution_key,
    free_slug,
    key_meant,
    profile_of,
    saved_queries_connector,
    scalar_at,
    slugs_for,
)
from services.query_executor.drivers import Limits
from services.query_executor.errors import SecretNotFound, SecretResolutionError
from services.query_executor.secret_types import SecretSettings

ID = UUID("0190c0de-0000-7000-8000-000000000001")
RULES = LimitRules(rows=10_000, rows_ceiling=50_000, bytes=1000, seconds=30.0, seconds_ceiling=300.0)


@pytest.mark.parametrize(
    ("name", "taken", "slug"),
    [
        ("Daily Sales Report", (), "daily-sales-report"),
        ("Daily Sales Report", ("daily-sales-report",), "daily-sales-report-2"),
        ("Daily Sales Report", ("daily-sales-report", "daily-sales-report-2"), "daily-sales-report-3"),
        ("!!!", (), "query"),
        ("!!!", ("query",), "query-2"),
        ("Umsätze März", (), "umsatze-marz"),
    ],
)
def test_a_slug_is_made_from_the_name(name: str, taken: tuple[str, ...], slug: str) -> None:
    assert free_slug(name, "query", taken) == slug


@given(st.text(max_size=200))
def test_slugs_of_any_name_differ_and_fit(name: str) -> None:
    slugs = list(islice(slugs_for(name, "query"), 12))
    assert len(set(slugs)) == 12
    assert all(0 < len(slug) <= 63 and slug.isascii() and not slug.startswith("-") for slug in slugs)


def test_the_profile_of_a_person() -> None:
    caller = Principal(ID, "u1", username="ann", email="a@x.org", given_name="Ann", roles=frozenset({"staff"}))
    assert profile_of(caller) == {
        "id": "u1",
        "username": "ann",
        "email": "a@x.org",
        "first_name": "Ann",
        "last_name": None,
        "is_staff": True,
        "is_superuser": False,
    }


def test_the_profile_of_an_api_key_is_its_id_and_name() -> None:
    key = Principal(ID, "k1", actor_type="api_key", username="ci", email="x", roles=frozenset({"staff", "superuser"}))
    profile = profile_of(key)
    assert (profile.pop("id"), profile.pop("username")) == ("k1", "ci")
    assert profile == {"email": None, "first_name": None, "last_name": None, "is_staff": False, "is_superuser": False}


@pytest.mark.parametrize(
    ("settings", "own", "rows", "seconds"),
    [
        (SecretSettings(), None, 10_000, 30.0),
        (SecretSettings(max_result_rows=5, timeout_seconds=2), None, 5, 2.0),
        (SecretSettings(max_result_rows=90_000, timeout_seconds=900), None, 50_000, 300.0),
        (SecretSettings(), 20_000, 20_000, 30.0),
        (SecretSettings(max_result_rows=7), 20_000, 7, 30.0),
    ],
)
def test_a_secret_lowers_and_up_to_a_ceiling_raises_limits(
    settings: SecretSettings, own: int | None, rows: int, seconds: float
) -> None:
    assert RULES.of(settings, own) == Limits(rows, 1000, seconds)


@pytest.mark.parametrize(
    ("name", "keys", "meant"),
    [
        ("api_key", ("api_key", "api-key"), "api_key"),
        ("api_key", ("api-key",), "api-key"),
        ("api_key", ("api.key",), "api.key"),
        ("api-key", ("api-key", "api_key"), "api-key"),
    ],
)
def test_a_key_that_is_no_name_may_be_written_with_underscores(name: str, keys: tuple[str, ...], meant: str) -> None:
    assert key_meant(name, keys) == meant


def test_a_key_that_could_be_two_is_an_error_and_one_that_is_none_is_not_found() -> None:
    with pytest.raises(SecretResolutionError, match=r'write it as secret\["a'):
        key_meant("a_b", ("a-b", "a.b"))
    with pytest.raises(SecretNotFound):
        key_meant("a_b", ("ab", "a_c"))


@pytest.mark.parametrize(
    ("value", "path", "found"),
    [
        ("text", (), "text"),
        ({"id": 7, "name": "n"}, ("id",), 7),
        ({"only": "one"}, (), "one"),
        ({"a": {"b": {"c": True}}}, ("a",), True),
        ({"a": {"b": 1, "c": 2}}, ("a", "c"), 2),
    ],
)
def test_what_a_reference_means(value: object, path: tuple[str, ...], found: object) -> None:
    assert scalar_at(value, path, "secret.x") == found


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        ({"a": 1, "b": 2}, (), r"several fields; name one of them, such as secret.x.a"),
        ({"a": {"b": 1, "c": 2}}, ("a",), "several fields"),
        ({"a": 1}, ("b",), "names no field"),
        ("canary", ("a",), "names no field"),
    ],
)
def test_a_reference_that_means_nothing_says_so_without_the_value(
    value: object, path: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SecretResolutionError, match=said) as refused:
        scalar_at(value, path, "secret.x")
    assert "canary" not in str(refused.value)


def test_ids_are_stable() -> None:
    assert execution_key(ID) == "exec_0190c0de000070008000000000000001"
    assert saved_queries_connector(ID) == saved_queries_connector(ID) != ID
