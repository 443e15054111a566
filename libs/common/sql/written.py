"""What a person types for a product's table."""

import re
from typing import Final

from libs.common.sql.dialects import TRAITS, Dialect
from libs.common.sql.names import Identifier, TableName, fold

_MAX_PARTS: Final = 3
_MAX_TEXT: Final = 1024
_PLAIN: Final = re.compile(r"\s*([^\W\d][\w$#@]*|\d+\w*[^\W\d]\w*)\s*")
_DASHED: Final = re.compile(r"\s*([^\W\d][\w$*-]*|\d[\w$*-]*)\s*")


def parse_table_name(text: str, dialect: Dialect) -> TableName:
    """Read `orders`, `public.orders` or `"Sales"."Order Items"` and fold it; it is not completed.

    Raises ValueError, with a message for the person who typed it, when it is no name of 1 to 3 parts.
    """
    if not text.strip():
        raise ValueError("a table name is empty")
    if len(text) > _MAX_TEXT or "\0" in text:
        raise ValueError("a table name is too long or holds a NUL character")
    parts = _split(text, dialect)
    if len(parts) > _MAX_PARTS:
        raise ValueError(f"a table name has at most three parts (catalog.schema.table), this one has {len(parts)}")
    return TableName(tuple(fold(part.text, part.quoted, dialect) for part in parts))


def _split(text: str, dialect: Dialect) -> list[Identifier]:
    parts: list[Identifier] = []
    position = 0
    while True:
        part, position = _part(text, position, dialect)
        parts += part
        if position == len(text):
            return parts
        if text[position] != ".":
            raise ValueError(f"unexpected {text[position]!r} in a table name; quote names with special characters")
        position += 1


def _part(text: str, position: int, dialect: Dialect) -> tuple[list[Identifier], int]:
    start = position + len(text[position:]) - len(text[position:].lstrip())
    quote = text[start : start + 1]
    if quote and quote in TRAITS[dialect].identifiers + '"`':
        return _quoted(text, start, "]" if quote == "[" else quote, dialect)
    match = (_DASHED if TRAITS[dialect].dashed_names else _PLAIN).match(text, position)
    if match is None:
        found = repr(quote) if quote else "the end"
        raise ValueError(f"a part of a table name is missing or not plain at {found}; quote special characters")
    return [Identifier(match[1], False)], match.end()


def _quoted(text: str, start: int, close: str, dialect: Dialect) -> tuple[list[Identifier], int]:
    match = re.compile(f"((?:[^{re.escape(close)}]|{re.escape(close) * 2})*+){re.escape(close)}\\s*").match(
        text, start + 1
    )
    if match is None:
        raise ValueError(f"the quoted name is not closed by {close}")
    name = match[1].replace(close * 2, close)
    if not name:
        raise ValueError("a quoted part of a table name is empty")
    # In BigQuery one pair of backticks may hold the whole path.
    names = name.split(".") if close == "`" and dialect is Dialect.BIGQUERY else [name]
    if not all(names):
        raise ValueError("a part of a table name is empty")
    return [Identifier(part, True) for part in names], match.end()
