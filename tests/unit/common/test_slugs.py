"""Slugs made from names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.slugs import slug_of


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Shop", "shop"),
        ("  Größe & Shop ", "groe-shop"),
        ("Ünïcode", "unicode"),
        ("a--b__c", "a-b-c"),
        ("***", ""),
        ("日本", ""),
        ("x" * 100, "x" * 63),
        ("a" * 62 + " b", "a" * 62),
    ],
)
def test_slugs(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@given(st.text())
def test_a_slug_is_lower_case_words_or_nothing(name: str) -> None:
    slug = slug_of(name)
    assert len(slug) <= 63
    assert all(word.isascii() and word.isalnum() and word == word.lower() for word in slug.split("-")) or slug == ""
