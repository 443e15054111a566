"""Sealing: unreadable, bound to its place, rotating."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from libs.common.sealed import CannotOpen, KeyRing, decode, encode

OLD, NEW = (SecretStr(encode(bytes([n]) * 32)) for n in (1, 2))
RING = KeyRing.of({"old": OLD})
ROTATED = KeyRing.of({"new": NEW, "old": OLD})


@given(st.binary(max_size=2000), st.text(max_size=50))
def test_what_was_sealed_opens_again_in_its_place(plain: bytes, place: str) -> None:
    assert RING.open(RING.seal(plain, bound_to=place), bound_to=place) == plain


@given(st.binary(min_size=8, max_size=200))
def test_the_sealed_text_shows_nothing_and_differs_each_time(plain: bytes) -> None:
    first, second = RING.seal(plain, bound_to="here"), RING.seal(plain, bound_to="here")
    assert first != second
    assert plain not in decode(first.rpartition(".")[2])


def test_it_cannot_be_moved() -> None:
    with pytest.raises(CannotOpen):
        RING.open(RING.seal(b"x", bound_to="connector:a"), bound_to="connector:b")


@pytest.mark.parametrize(
    "text", ["", "x", "v1.old", "v1.old.", "v1.old.AAAA", "v2.old.AAAA", "v1.nobody.AAAA", "v1.old.\x00"]
)
def test_what_was_not_sealed_here_does_not_open(text: str) -> None:
    with pytest.raises(CannotOpen):
        RING.open(text, bound_to="here")


@given(st.integers(min_value=0, max_value=27))
def test_a_changed_byte_shows(position: int) -> None:
    head, _, body = RING.seal(b"x", bound_to="here").rpartition(".")
    raw = bytearray(decode(body))
    raw[position] ^= 1
    with pytest.raises(CannotOpen):
        RING.open(f"{head}.{encode(bytes(raw))}", bound_to="here")


def test_keys_rotate_without_a_gap() -> None:
    before = RING.seal(b"x", bound_to="here")
    after = ROTATED.seal(b"x", bound_to="here")
    assert ROTATED.open(before, bound_to="here") == b"x"
    assert not ROTATED.is_current(before)
    assert ROTATED.is_current(after)
    with pytest.raises(CannotOpen):
        RING.open(after, bound_to="here")


@pytest.mark.parametrize("keys", [{}, {"k": SecretStr(encode(b"short"))}, {"a.b": OLD}])
def test_a_ring_that_cannot_work_is_refused_at_the_start(keys: dict[str, SecretStr]) -> None:
    with pytest.raises(ValueError, match="key") as refused:
        KeyRing.of(keys)
    assert all(key.get_secret_value() not in str(refused.value) for key in keys.values())
