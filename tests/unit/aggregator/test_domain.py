"""Pure rules of usage analytics."""

import math
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.sql import Dialect, matches
from services.aggregator.domain import (
    LARGEST_COUNT,
    Recency,
    chart_key,
    claim_keys,
    counted_moment,
    in_utc,
    match_key,
    popularity,
    ranges,
    storable,
    suffix_keys,
    unmatched_reason,
)

NOW = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
RECENCY = Recency()
moments = st.datetimes(datetime(2020, 1, 1), datetime(2026, 3, 18), timezones=st.just(UTC))  # noqa: DTZ001
names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3).map(tuple)


@pytest.mark.parametrize(
    ("count", "users", "factor", "score"),
    [
        (0, 0, 0.0, 0.0),
        (1, 0, 0.0, 5.0),
        (3, 1, 0.0, 13.0),
        (1, 1, 10.0, 28.0),
        (255, 2, 5.0, 56.0),
        (2**20 - 1, 0, 0.0, 100.0),
        (0, 34, 0.0, 100.0),
        (LARGEST_COUNT, 10**6, 10.0, 100.0),
    ],
)
def test_popularity_by_the_formula_of_the_specification(count: int, users: int, factor: float, score: float) -> None:
    assert popularity(count, users, factor) == pytest.approx(score)


@given(st.integers(0, LARGEST_COUNT), st.integers(0, 10**6), st.floats(0, 10), st.integers(0, 10**6))
def test_popularity_is_between_0_and_100_and_grows_with_use(count: int, users: int, factor: float, more: int) -> None:
    score = popularity(count, users, factor)
    assert 0 <= score <= 100
    assert popularity(count + more, users, factor) >= score
    assert popularity(count, users + more, factor) >= score


@pytest.mark.parametrize(("days", "factor"), [(0, 10.0), (7, 5.0), (14, 2.5), (3.5, 10 * math.sqrt(0.5))])
def test_recency_halves_each_week(days: float, factor: float) -> None:
    assert RECENCY.factor(NOW - timedelta(days=days), NOW) == pytest.approx(factor)


def test_recency_of_what_was_never_queried_is_nothing() -> None:
    assert RECENCY.factor(None, NOW) == 0


def test_recency_follows_its_settings() -> None:
    assert Recency(scale=1, half_life_days=2).factor(NOW - timedelta(days=4), NOW) == pytest.approx(0.25)


@given(moments, moments)
def test_recency_falls_with_age(one: datetime, other: datetime) -> None:
    older, newer = sorted((one, other))
    assert 0 <= RECENCY.factor(older, NOW) <= RECENCY.factor(newer, NOW) <= 10


@given(names, names)
def test_a_claim_is_found_by_equality_exactly_where_it_is_a_suffix(
    claim: tuple[str, ...], full: tuple[str, ...]
) -> None:
    found = match_key(Dialect.POSTGRES, claim) in suffix_keys(Dialect.POSTGRES, full)
    assert found == matches(claim, full)


@given(names, names, st.sampled_from(list(Dialect)), st.sampled_from(list(Dialect)))
def test_different_names_have_different_keys(
    one: tuple[str, ...], other: tuple[str, ...], here: Dialect, there: Dialect
) -> None:
    assert (match_key(here, one) == match_key(there, other)) == ((here, one) == (there, other))


def test_dots_in_names_do_not_make_parts() -> None:
    assert match_key(Dialect.POSTGRES, ("a.b",)) != match_key(Dialect.POSTGRES, ("a", "b"))
    assert match_key(Dialect.POSTGRES, ('a"."b',)) != match_key(Dialect.POSTGRES, ("a", "b"))


@pytest.mark.parametrize(
    ("typed", "dialect", "parts", "fits"),
    [
        ("Public.Orders", Dialect.POSTGRES, ("shop", "public", "orders"), True),
        ("orders", Dialect.POSTGRES, ("public", "orders"), True),
        ('"Orders"', Dialect.POSTGRES, ("public", "orders"), False),
        ('"Orders"', Dialect.POSTGRES, ("public", "Orders"), True),
        ("other.orders", Dialect.POSTGRES, ("public", "orders"), False),
        ("a.public.orders", Dialect.POSTGRES, ("public", "orders"), False),
        ("orders", Dialect.SNOWFLAKE, ("SHOP", "PUBLIC", "ORDERS"), True),
        ("orders", Dialect.SNOWFLAKE, ("SHOP", "PUBLIC", "orders"), False),
        ("my-project.sales.orders", Dialect.BIGQUERY, ("my-project", "sales", "orders"), True),
    ],
)
def test_a_typed_name_is_folded_as_each_dialect_does(
    typed: str, dialect: Dialect, parts: tuple[str, ...], fits: bool
) -> None:
    whole = {key.key for key in claim_keys(typed) if key.whole}
    assert bool(whole & set(suffix_keys(dialect, parts))) is fits


def test_ends_of_a_claim_point_to_it() -> None:
    keys = claim_keys("a.b.c")
    claim = match_key(Dialect.POSTGRES, ("a", "b", "c"))
    ends = {key.key for key in keys if key.claim == claim and not key.whole}
    assert ends == {match_key(Dialect.POSTGRES, ("b", "c")), match_key(Dialect.POSTGRES, ("c",))}


@pytest.mark.parametrize("typed", ["", " ", "a.b.c.d", "a..b", '"open', "a b", ".a"])
def test_what_is_no_name_in_any_dialect_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="name"):
        claim_keys(typed)


@pytest.mark.parametrize(
    ("claims", "reason"), [(0, "no_product"), (1, "too_short"), (2, "ambiguous"), (9, "ambiguous")]
)
def test_reasons_of_unmatched_tables(claims: int, reason: str) -> None:
    assert unmatched_reason(claims) == reason


@pytest.mark.parametrize(
    ("ahead", "counted"),
    [
        (timedelta(days=-400), timedelta(days=-400)),
        (timedelta(0), timedelta(0)),
        (timedelta(microseconds=1), timedelta(0)),
        (timedelta(minutes=5), timedelta(0)),
        (timedelta(minutes=5, microseconds=1), None),
    ],
)
def test_the_future_is_clamped_for_five_minutes(ahead: timedelta, counted: timedelta | None) -> None:
    assert counted_moment(NOW + ahead, NOW) == (None if counted is None else NOW + counted)


def test_moments_beyond_the_calendar_are_brought_to_its_ends() -> None:
    east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
    assert in_utc(datetime(1, 1, 1, tzinfo=east)) == datetime(1, 1, 1, tzinfo=UTC)
    assert in_utc(datetime(9999, 12, 31, 23, tzinfo=west)).year == 9999
    assert in_utc(datetime(2026, 3, 18, 14, tzinfo=timezone(timedelta(hours=2)))) == NOW


def test_a_chart_is_one_on_all_its_dashboards() -> None:
    chart = chart_key("chart", "7", None)
    assert chart_key("dashboard_chart", "d1:7", "d1") == chart_key("dashboard_chart", "d2:7", "d2") == chart
    assert chart_key("saved_query", "7", None) != chart
    assert chart_key("dashboard_chart", "d1:8", "d1") != chart


@given(st.sets(st.integers(1, 200)))
def test_ranges_hold_exactly_their_numbers(numbers: set[int]) -> None:
    found = ranges(numbers)
    assert {number for lower, upper in found for number in range(lower, upper)} == numbers
    assert all(left[1] < right[0] for left, right in pairwise(found))


def test_texts_are_storable() -> None:
    assert storable(None) is None
    assert storable("a\0b\ud800c") == "a\ufffdb\ufffdc"
