"""A statement without its literals: the text that is stored, grouped and shown."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from libs.common.sql.dialects import TRAITS, Dialect, Traits
from libs.common.sql.folding import fold_lists, fold_signs, scrub_secrets
from libs.common.sql.lexer import Kind, Span, spans
from libs.common.sql.shapes import UNSTORABLE, join_comments

MAX_TEXT_BYTES: Final = 64 * 1024
_MAX_LOOKS: Final = 8
_GLUED: Final = re.compile(r"\?(?:[$@%.#{\d]|:(?!:))")
_IN_OPENS: Final = re.compile(r"(?<![\w$.@#])[iI][nN]\s*\(\s*\Z")
_CLOSES: Final = re.compile(r"\s*\)")
_BLANKS: Final = re.compile(r"\s+")


class Scrubbed(NamedTuple):
    """Two renderings of one statement: without literals, and with them (for the parser, never stored)."""

    text: str
    source: str
    comment: str | None


def scrub(sql: str, dialect: Dialect) -> Scrubbed:
    """The statement with `?` for each literal and placeholder, uncapped, with what the analysis needs besides.

    Comments are dropped, blanks folded, lists of literals shortened to one. A sign that cannot be a
    subtraction belongs to its number. What never ends (a string, a comment) takes the rest with it.
    Scrubbing the result again changes nothing.
    """
    sql = clean(sql)
    found = list(spans(sql, dialect))
    traits = TRAITS[dialect]
    text = _settled(_render(sql, found, keep_literals=False), dialect)
    text = fold_lists(fold_signs(scrub_secrets(text, traits), traits), traits)
    return Scrubbed(text.strip(" ;"), _source(sql, found), _outer_comments(sql, found))


def _source(sql: str, found: list[Span]) -> str:
    plain = all(span.kind is Kind.LITERAL or span.kind is Kind.IDENTIFIER for span in found)
    source = sql if plain else _render(sql, found, keep_literals=True)
    return _with_short_lists(sql, found) if plain else source


def _with_short_lists(sql: str, found: list[Span]) -> str:
    """One literal of each IN list: more of them say nothing about tables and columns, and cost the parser time."""
    pieces, position, at = [], 0, 0
    while at < len(found):
        first = last = at
        if _IN_OPENS.search(sql, max(0, found[at].start - 8), found[at].start):
            while last + 1 < len(found) and _follows(sql, found[last], found[last + 1]):
                last += 1
        if first < last and _CLOSES.match(sql, found[last].end):
            pieces.append(sql[position : found[first].end])
            position = found[last].end
        at = last + 1
    return "".join([*pieces, sql[position:]])


def _follows(sql: str, one: Span, other: Span) -> bool:
    kinds = one.kind is Kind.LITERAL and other.kind is Kind.LITERAL
    return kinds and sql[one.end : other.start].strip() == ","


def _settled(text: str, dialect: Dialect) -> str:
    """Look again where something is glued to a `?`: it may read otherwise than after the literal (`5@p1`)."""
    for _ in range(_MAX_LOOKS):
        if not _GLUED.search(text):
            return text
        before, text = text, _render(text, list(spans(text, dialect)), keep_literals=False)
        if before == text:
            return text
    return "?"


def clean(sql: str) -> str:
    """Without what no store takes: NUL and lone surrogates."""
    return UNSTORABLE.sub("\ufffd", sql.replace("\0", " "))


def _render(sql: str, found: list[Span], *, keep_literals: bool) -> str:
    pieces: list[str] = []
    blank = True
    for kind, piece in _pieces(sql, found):
        if kind is None:
            piece = piece if keep_literals or _is_tidy(piece) else _BLANKS.sub(" ", piece)
        elif kind is Kind.COMMENT:
            piece = " "
        elif kind is not Kind.IDENTIFIER and not (keep_literals and kind is Kind.LITERAL):
            piece = "?"
        if blank and not keep_literals and kind in (None, Kind.COMMENT):
            piece = piece.removeprefix(" ")
        if piece:
            pieces.append(piece)
            blank = piece[-1] == " " and kind in (None, Kind.COMMENT)
    return "".join(pieces)


def _is_tidy(piece: str) -> bool:
    """Whether no blank needs folding, of most pieces; said sooner than the pattern can."""
    return "  " not in piece and piece.isascii() and piece.isprintable()


def _pieces(sql: str, found: list[Span]) -> Iterator[tuple[Kind | None, str]]:
    position = 0
    for kind, start, end in found:
        if position < start:
            yield None, sql[position:start]
        yield kind, sql[start:end]
        position = end
    if position < len(sql):
        yield None, sql[position:]


def _outer_comments(sql: str, found: list[Span]) -> str | None:
    """What a BI tool wrote before or after its statement."""
    if not any(span.kind is Kind.COMMENT for span in found):
        return None
    pieces = [(kind, piece) for kind, piece in _pieces(sql, found) if kind is not None or piece.strip("; \t\r\n\f\v")]
    code = [at for at, (kind, _) in enumerate(pieces) if kind is not Kind.COMMENT] or [len(pieces)]
    return join_comments([piece for _, piece in pieces[: code[0]] + pieces[code[-1] + 1 :]])


def cap(text: str, traits: Traits) -> tuple[str, bool]:
    """Cut a text at the last word that fits into 64 KiB of UTF-8; never inside a quoted name."""
    if len(text) * 4 <= MAX_TEXT_BYTES or len(text.encode()) <= MAX_TEXT_BYTES:
        return text, False
    size = end = 0
    for match in re.finditer(rf"{traits.quoted}|[^\s,()\"'`\[]+|.", text, re.DOTALL):
        size += len(match.group().encode())
        if size > MAX_TEXT_BYTES:
            break
        end = match.end()
    return text[:end].strip(" ;"), True
