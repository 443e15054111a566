"""Rules on words and signs that need no tree, so that they hold even where the parser is mistaken."""

import re
from collections.abc import Sequence
from typing import Final

from sqlglot.tokenizer_core import Token, TokenType

from services.query_executor.guard.lists import sections
from services.query_executor.guard.refusal import place, refused

_LOOK_UPS: Final = sections("language")["lookups"]
_COMMANDS: Final = sections("language")["commands"]
_VERB: Final = re.compile(r"\s*([a-z_]+)", re.IGNORECASE)
_SIGNS: Final = {
    TokenType.PARAMETER: "Variables (@x) and driver placeholders ($1) are not allowed; write {{ x }} for a parameter",
    TokenType.SESSION_PARAMETER: "Server variables (@@x) are not allowed",
    TokenType.COLON_EQ: "Assignments by := are not allowed",
    TokenType.HINT: "Hints are not allowed; leave it out",
    TokenType.INTO: "INTO writes a table, a file or a variable; leave it out",
}


def prove_verb(text: str) -> None:
    """Refuse a statement that begins as a command, by its name."""
    verb = _VERB.match(text)
    if verb and verb[1].lower() in _COMMANDS:
        raise refused(f"{verb[1].upper()} is not allowed; a query may only read.")


def prove_words(text: str, tokens: Sequence[Token]) -> None:
    """Refuse INTO, hints, variables, unicode-escaped names and look-ups of relations by cast."""
    for token in tokens:
        if token.token_type in _SIGNS:
            raise refused(f"{_SIGNS[token.token_type]} ({place(text, token.start)}).")
        if _is_unicode_escaped(text, token):
            advice = "Unicode-escaped names and literals (U&) are not allowed; write the characters"
            raise refused(f"{advice} ({place(text, token.start)}).")
        if token.text.lower() in _LOOK_UPS and token.token_type is not TokenType.STRING:
            advice = f"Casts to {token.text.lower()} look relations up by name and are not allowed"
            raise refused(f"{advice} ({place(text, token.start)}).")


def _is_unicode_escaped(text: str, token: Token) -> bool:
    return token.token_type is TokenType.UNICODE_STRING or (
        token.text in ("U", "u") and text[token.end + 1 : token.end + 3] in ("&'", '&"')
    )
