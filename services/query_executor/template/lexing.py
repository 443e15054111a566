"""A statement as its dialect's tokenizer sees it. Only offsets are used: the text itself is never written anew."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import TokenType
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from services.query_executor.statement import TOKEN_PREFIX, Engine, token_index
from services.query_executor.template.values import refuse

TOKEN: Final = re.compile(rf"({TOKEN_PREFIX}[a-j]{{7}}z)")
# A statement that begins with EXPLAIN or SHOW would be read as one word and one long literal; behind a word it is not.
_BEFORE: Final = "first "
_STRINGS: Final = frozenset(
    {
        TokenType.STRING, TokenType.BYTE_STRING, TokenType.UNICODE_STRING, TokenType.BIT_STRING, TokenType.HEX_STRING,
        TokenType.NATIONAL_STRING, TokenType.HEREDOC_STRING, TokenType.RAW_STRING,
    }
)  # fmt: skip
_BITS: Final = re.compile(rf"\b[bBxX]'[^']*{TOKEN_PREFIX}")
_HINT: Final = "Executable comments and hints (`/*!`, `/*M!`, `/*+`) are not allowed."
_REFUSED_COMMENT: Final = re.compile(r"/\*(?:!|M!|\+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Lexeme:
    """One word of a statement: `text[start:end]`."""

    kind: TokenType
    start: int
    end: int
    raw: str

    @property
    def word(self) -> str:
        """In upper case."""
        return self.raw.upper()

    @property
    def is_string(self) -> bool:
        """A literal of any kind, quoted by anything."""
        return self.kind in _STRINGS

    @property
    def is_quoted_name(self) -> bool:
        """A name in the dialect's quotes."""
        return self.kind is TokenType.IDENTIFIER and self.raw[0] in '"`['

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots whose tokens it holds."""
        return tuple(token_index(match[1]) for match in TOKEN.finditer(self.raw))

    @property
    def slot(self) -> int | None:
        """The slot whose token it is, whole and bare."""
        match = TOKEN.fullmatch(self.raw)
        return token_index(match[1]) if match else None


def lex(engine: Engine, text: str) -> tuple[Lexeme, ...]:
    """The words of a statement, without its comments."""
    try:
        tokens = Dialect.get_or_raise(engine.dialect).tokenize(_BEFORE + text)[1:]
    except SqlglotError:
        if _BITS.search(text):
            raise refuse("A placeholder cannot stand in B'…' or X'…'; write '…' and convert it.") from None
        raise refuse("The query cannot be read: a quote, a comment or a dollar sign is never closed.") from None
    if any(token.token_type is TokenType.HINT for token in tokens):
        raise refuse(_HINT)
    shift = len(_BEFORE)
    return tuple(
        Lexeme(
            token.token_type,
            token.start - shift,
            token.end + 1 - shift,
            text[token.start - shift : token.end + 1 - shift],
        )
        for token in tokens
    )


def blank_comments(engine: Engine, text: str) -> str:
    """The text with a blank in place of each comment. Comments that a server would run or obey are refused."""
    blanked = _without_comments(engine, text)
    if blanked != text and _without_comments(engine, blanked) != blanked:  # `1 --/* x */2` became `1 -- 2`
        raise refuse("A comment is glued to an operator; put a blank or a line end before it.")
    return blanked


def _without_comments(engine: Engine, text: str) -> str:
    pieces, position = list[str](), 0
    for start, end in _gaps(lex(engine, text), len(text)):
        gap = text[start:end]
        pieces += [text[position:start], gap if not gap.strip() else _blank(gap)]
        position = end
    return "".join([*pieces, text[position:]])


def _gaps(lexemes: Sequence[Lexeme], length: int) -> Iterator[tuple[int, int]]:
    position = 0
    for lexeme in lexemes:
        yield position, lexeme.start
        position = lexeme.end
    yield position, length


def _blank(gap: str) -> str:
    if _REFUSED_COMMENT.search(gap):
        raise refuse(_HINT)
    return "\n" if "\n" in gap else " "
