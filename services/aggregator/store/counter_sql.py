"""Pieces of SQL that counting and building counters share."""

from typing import Final


def key_of(text: str) -> str:
    """A digest of a text: long names do not fit into an index."""
    return f"substring(sha256(convert_to({text}, 'UTF8')) FOR 16)"


USER_KEY: Final = "substring(sha256(uuid_send({}) || convert_to({}, 'UTF8')) FOR 16)"
"""A person of a tenant: no counter holds a name."""

LABELS: Final = """coalesce(array_agg(DISTINCT (u.last_part || '.' || u.column_name) COLLATE "C")
        FILTER (WHERE u.column_name IS NOT NULL), '{}')"""
"""Labels of a pattern's columns, from `u (last_part, column_name)`."""
