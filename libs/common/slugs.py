"""Slugs: what stands for a name in a path."""

import re
import unicodedata
from typing import Final

_MAX_LENGTH: Final = 63
_NO_SLUG: Final = re.compile(r"[^a-z0-9]+")


def slug_of(name: str) -> str:
    """Lower-case ASCII words joined by dashes; empty where nothing of the name is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _NO_SLUG.sub("-", plain).strip("-")[:_MAX_LENGTH].strip("-")
