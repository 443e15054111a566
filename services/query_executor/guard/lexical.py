"""From text to tokens that two lexers agree on. What only one of them takes for a literal, a name or a comment is how a
statement hides from a guard, so it is refused."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from sqlglot.dialects.dialect import Dialect as SqlglotDialect
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from libs.common.sql.dialects import Dialect
from libs.common.sql.lexer import Kind, Span, spans
from libs.common.sql.parse import too_costly
from services.query_executor.guard.refusal import place, refused
from services.query_executor.statement import Engine

MAX_TEXT: Final = 64 * 1024
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\u2028\u2029\ufeff]")
_NO_BREAK: Final = re.compile(r"[^\n]")
_BLANK: Final = re.compile(r"[ \t\r\n\f]*")
_EXECUTABLE: Final = ("/*!", "/*m!", "/*+", "--+")
_BRACKETS: Final = {TokenType.L_PAREN, TokenType.R_PAREN, TokenType.L_BRACKET, TokenType.SELECT, TokenType.ORDER_BY}
_QUOTES: Final = "'\"`"
# A plain literal, read with and without backslash escapes.
_PLAIN: Final = re.compile(r"'[^']*(?:''[^']*)*'")
_ESCAPED: Final = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)


def special(text: str, engine: Engine) -> list[Span]:
    """Literals, quoted names and comments, where they are plain. Raises QueryValidationError for those that are not."""
    if len(text) > MAX_TEXT:
        raise refused(f"The query is longer than {MAX_TEXT:,} characters; shorten it.")
    return list(_spans(text, engine))


def without_comments(text: str, special: Sequence[Span]) -> str:
    """The text with blanks for its comments, so that places stay."""
    pieces, position = [], 0
    for span in special:
        if span.kind is Kind.COMMENT:
            pieces += [text[position : span.start], _NO_BREAK.sub(" ", text[span.start : span.end])]
            position = span.end
    return "".join([*pieces, text[position:]])


def lex(text: str, special: Sequence[Span], engine: Engine) -> list[Token]:
    """The statement's tokens without comments and without a closing semicolon."""
    if too_costly(_blanked(text, special)):
        raise refused("The query is nested too deeply or joins too many tables without a condition; simplify it.")
    tokens = _tokens(text, engine)
    _agree(text, tokens, special)
    _plain_between(text, tokens, special)
    return _single(text, tokens)


def _spans(text: str, engine: Engine) -> Iterator[Span]:
    for span in spans(text, Dialect.of(engine.dialect)):
        written = text[span.start : span.end]
        if span.kind is Kind.OPEN:
            raise refused(f"A literal, a quoted name or a comment never ends ({place(text, span.start)}).")
        if span.kind is Kind.COMMENT:
            _comment(written, text, span.start)
        if span.kind is Kind.COMMENT or (written[-1] in _QUOTES + "$" and span.kind is not Kind.PLACEHOLDER):
            if span.kind is Kind.LITERAL and engine.dialect in ("postgres", "redshift"):
                _one_reading(written, text, span.start)
            yield span


def _comment(written: str, text: str, start: int) -> None:
    if written[:4].lower().startswith(_EXECUTABLE):
        raise refused(f"Executable comments and hints are not allowed ({place(text, start)}); remove the comment.")
    if written.startswith("/*") and not (len(written) > 3 and written.endswith("*/")):
        raise refused(f"A comment never ends ({place(text, start)}).")
    if written.startswith("/*") and "/*" in written[2:]:
        raise refused(f"Comments may not be nested ({place(text, start)}); servers disagree on where they end.")


def _one_reading(written: str, text: str, start: int) -> None:
    """A server may read backslashes either way (standard_conforming_strings); both must end at the same place."""
    if written[0] == "'" and (_ends(_PLAIN, text, start) != _ends(_ESCAPED, text, start)):
        raise refused(
            f"A backslash before a quote is ambiguous ({place(text, start)}); double the quote, or write E'…'."
        )


def _ends(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else -1


def _blanked(text: str, special: Sequence[Span]) -> str:
    parts, position = [], 0
    for span in special:
        parts += [text[position : span.start], "?"]
        position = span.end
    return "".join([*parts, text[position:]])


def _tokens(text: str, engine: Engine) -> list[Token]:
    try:
        return list(SqlglotDialect.get_or_raise(engine.dialect).tokenize(text))
    except TokenError:
        raise refused("The query cannot be read: a literal, a quoted name or a comment is malformed.") from None


def _agree(text: str, tokens: Sequence[Token], special: Sequence[Span]) -> None:
    ours = {(span.start, span.end) for span in special if span.kind is not Kind.COMMENT}
    theirs = {(token.start, token.end + 1) for token in tokens if _is_quoted(text, token)}
    if ours != theirs:
        offset = min(start for start, _ in ours ^ theirs)
        raise refused(f"A literal or a quoted name can be read in two ways ({place(text, offset)}); write it plainly.")


def _is_quoted(text: str, token: Token) -> bool:
    return text[token.end] in _QUOTES or (token.end > token.start and text[token.start] == "$" == text[token.end])


def _plain_between(text: str, tokens: Sequence[Token], special: Sequence[Span]) -> None:
    """Nothing but ASCII blanks and comments between tokens, and no strange characters in words."""
    comments = [(span.start, span.end) for span in special if span.kind is Kind.COMMENT]
    known = sorted(comments + [(token.start, token.end + 1) for token in tokens])
    position = 0
    for start, end in [*known, (len(text), len(text))]:
        if start < position or not _BLANK.fullmatch(text, position, start):
            raise refused(f"A character that is no ASCII blank separates words ({place(text, position)}); remove it.")
        position = end
    for token in tokens:
        if text[token.end] not in _QUOTES + "$" and not _is_plain(text[token.start : token.end + 1]):
            raise refused(f"A character outside of quotes has no meaning in SQL ({place(text, token.start)}).")


def _is_plain(word: str) -> bool:
    return (word.isascii() and not _CONTROL.search(word)) or word.replace("_", "").replace("$", "").isalnum()


def _single(text: str, tokens: list[Token]) -> list[Token]:
    if tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens = tokens[:-1]
    if not tokens:
        raise refused("The query is empty.")
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            raise refused(f"Only one statement is allowed; remove what follows ({place(text, token.start)}).")
    return tokens


def parseable(tokens: list[Token], engine: Engine) -> list[Token]:
    """Without a `LIMIT n BY columns` that another LIMIT follows, which ClickHouse has and the parser does not know.
    What is left out holds no bracket, so neither a function nor a query."""
    if engine is not Engine.CLICKHOUSE:
        return tokens
    limits = [index for index, token in enumerate(tokens) if token.token_type is TokenType.LIMIT]
    for first, second in reversed(list(pairwise(limits))):
        between = tokens[first:second]
        kinds = {token.token_type for token in between}
        if any(token.text.lower() == "by" for token in between) and not kinds & _BRACKETS:
            tokens = tokens[:first] + tokens[second:]
    return tokens
