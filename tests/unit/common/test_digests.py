"""Keyed digests: the same text is recognised, nothing else is, whichever key is active."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from libs.common.sealed import KeyRing, encode

OLD, NEW = (SecretStr(encode(bytes([n]) * 32)) for n in (1, 2))
RING = KeyRing.of({"old": OLD})
texts = st.text(max_size=20)


@given(texts, texts, texts, texts)
def test_equal_texts_of_one_context_have_one_digest(text: str, context: str, other: str, place: str) -> None:
    """Lengths are part of it: moving a letter from text to context gives another digest."""
    same = RING.digests(text, bound_to=context) == RING.digests(other, bound_to=place)
    assert same == ((text, context) == (other, place))


def test_a_new_key_stands_first_and_old_digests_are_still_known() -> None:
    rotated = KeyRing.of({"new": NEW, "old": OLD})
    new, old = rotated.digests("ada", bound_to="x")
    assert [old] == RING.digests("ada", bound_to="x")
    assert new != old
    assert len(new) == 32
