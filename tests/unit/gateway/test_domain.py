"""The gateway's pure rules."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.connectors import SETTINGS_MODELS, PostgresSettings
from libs.common.errors import BadRequest, Forbidden, Unprocessable
from libs.common.sealed import MASK
from services.gateway import domain
from services.gateway.domain import KeyedCall
from tests.support.ids import NOBODYS

SECRETS = domain.secret_fields(PostgresSettings)
OLD: dict[str, Any] = domain.revealed(
    PostgresSettings.model_validate(
        {"host": "db", "port": 6543, "database": "shop", "username": "miner", "password": "old-secret"}
    )
)


def _changed(new: dict[str, Any], *, replace: bool = False) -> dict[str, Any]:
    """What an update makes of the old settings."""
    both = domain.merged(OLD, new, SECRETS, replace=replace)
    settings = domain.revealed(PostgresSettings.model_validate(both.values))
    domain.refuse_moved_secret(OLD, settings, both.kept)
    return settings


def test_which_fields_are_secret() -> None:
    assert {"password"} == SECRETS


def test_a_secret_is_shown_as_a_mask_and_nothing_else_is() -> None:
    shown = domain.masked(OLD, SECRETS)
    assert shown == OLD | {"password": MASK}


@pytest.mark.parametrize(
    "new", [{}, {"database": "x"}, {"password": MASK, "username": "y"}, {"host": "db", "port": 6543}]
)
def test_an_omitted_or_masked_secret_is_kept(new: dict[str, Any]) -> None:
    assert _changed(new) == OLD | new | {"password": "old-secret"}


def test_a_new_secret_is_taken_and_may_move() -> None:
    new = {"host": "other", "port": 1, "password": "new-secret"}
    assert _changed(new) == OLD | new


@pytest.mark.parametrize("move", [{"host": "evil"}, {"port": 1}, {"host": "evil", "port": 1}, {"host": "DB"}])
@pytest.mark.parametrize("secret", [{}, {"password": MASK}])
def test_a_kept_secret_does_not_follow_to_another_server(move: dict[str, Any], secret: dict[str, Any]) -> None:
    with pytest.raises(Unprocessable, match=r"settings\.password: give it again"):
        _changed(move | secret)


def test_nor_when_the_port_falls_back_to_its_default() -> None:
    with pytest.raises(Unprocessable, match="port changed"):
        _changed({"host": "db", "database": "shop", "username": "miner"}, replace=True)


def test_replacing_forgets_what_is_omitted_but_secrets() -> None:
    kept = _changed({"host": "db", "port": 6543, "database": "d", "username": "u", "lookback_days": 7}, replace=True)
    assert (kept["password"], kept["lookback_days"], kept["database"]) == ("old-secret", 7, "d")


def test_the_type_stays() -> None:
    with pytest.raises(Unprocessable, match="type"):
        _changed({"type": "snowflake"})


def test_a_mask_is_no_secret() -> None:
    with pytest.raises(Unprocessable, match=r"settings\.password"):
        domain.refuse_masks(OLD | {"password": MASK}, SECRETS)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("metabase", BadRequest, "not available in this version; available: postgres, superset"),
        ("snowflake", BadRequest, "not available in this version; available: postgres"),
        ("oracle", BadRequest, "Unknown connector type; available: postgres"),
        (None, Unprocessable, "available: postgres"),
        (7, Unprocessable, "available: postgres"),
    ],
)
def test_types_that_are_not_here_are_refused_with_those_that_are(
    name: object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        domain.available(name)


@given(st.uuids(), st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_a_written_key_is_read_back(key_id: UUID, secret: str) -> None:
    read = domain.presented_key(domain.written_key(key_id, secret))
    assert read is not None
    assert (read.id, read.secret) == (key_id, secret)
    assert read.fits(domain.hash_of(secret))
    assert not read.fits(domain.hash_of(secret + "x"))


@pytest.mark.parametrize(
    "token", ["", "tmk_", "tmk_x_y", f"tmk_{NOBODYS.hex}", f"tmk_{NOBODYS.hex}_", "eyJhbGciOi", f"tmk_{NOBODYS}_x"]
)
def test_what_is_no_key_is_none(token: str) -> None:
    assert domain.presented_key(token) is None


def test_only_a_superuser_makes_superusers() -> None:
    both, staff = frozenset({"superuser", "staff"}), frozenset({"staff"})
    assert domain.grantable(both, frozenset({"superuser"})) == both
    assert domain.grantable(staff, staff) == staff
    with pytest.raises(Forbidden):
        domain.grantable(both, staff)


def test_a_slug_that_was_sent_stays() -> None:
    assert domain.chosen_slug("mine", "Shop") == "mine"
    assert domain.chosen_slug(None, "The Shop") == "the-shop"


@pytest.mark.parametrize("name", ["!!!", "日本"])
def test_a_name_without_letters_needs_a_slug(name: str) -> None:
    with pytest.raises(Unprocessable, match="slug"):
        domain.chosen_slug(None, name)


NOW = datetime(2026, 3, 18, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("state", "age", "lease", "fingerprint", "wanted"),
    [
        ("running", SECOND, SECOND, "a", "running"),
        ("running", SECOND, -SECOND, "a", "run"),
        ("running", SECOND, SECOND, "b", "differs"),
        ("running", SECOND, -SECOND, "b", "differs"),
        ("answered", SECOND, -SECOND, "a", "replay"),
        ("answered", SECOND, -SECOND, "b", "differs"),
        ("answered", domain.ANSWER_KEPT - SECOND, -SECOND, "a", "replay"),
        ("answered", domain.ANSWER_KEPT, -SECOND, "a", "run"),
        ("answered", domain.ANSWER_KEPT, -SECOND, "b", "run"),
    ],
)
def test_what_becomes_of_a_repeated_request(
    state: Any, age: timedelta, lease: timedelta, fingerprint: str, wanted: str
) -> None:
    assert domain.verdict(KeyedCall("a", state, NOW + lease, NOW - age), fingerprint, NOW) == wanted


@pytest.mark.parametrize(
    ("status", "final"),
    [(200, True), (201, True), (202, True), (400, True), (404, True), (422, True), (401, False), (403, False)]
    + [(status, False) for status in (408, 409, 425, 429, 500, 502, 503, 504)],
)
def test_which_answers_are_kept(status: int, final: bool) -> None:
    assert domain.is_final(status) is final


def test_every_type_says_where_its_secret_goes() -> None:
    old = {"type": "superset", "base_url": "https://bi", "username": "u", "password": "kept"}
    with pytest.raises(Unprocessable, match="base_url"):
        domain.refuse_moved_secret(old, old | {"base_url": "https://other"}, frozenset({"password"}))
    assert set(domain._DESTINATION) == set(SETTINGS_MODELS)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"host": "db", "port": 5432}, ("db", 5432)),
        ({"host": "db", "port": 70_000}, None),
        ({"host": 7}, None),
        ({}, None),
        ({"base_url": "https://bi.example.com:8443/x"}, ("bi.example.com", 8443)),
        ({"base_url": "http://127.0.0.1"}, ("127.0.0.1", 0)),
        ({"base_url": "http://[::1]:80"}, ("::1", 80)),
        ({"base_url": "http://[x"}, None),
        ({"base_url": "http://x:99999999"}, None),
    ],
)
def test_where_settings_dial(settings: dict[str, Any], expected: tuple[str, int] | None) -> None:
    assert domain.dialled(settings) == expected
