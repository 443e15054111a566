"""Rules on words and signs that need no tree, so that they hold even where the parser is mistaken."""

import re
from collections.abc import Sequence
from typing import Final

from sqlglot.tokens import Token, TokenType

from services.query_executor.guard.refusal import place, refused

# The name of a relation, function or role that becomes an oid: a look-up that hides from the list of tables.
_REG_TYPES: Final = frozenset(
    "regclass regproc regprocedure regoper regoperator regrole regnamespace regtype regcollation regdatabase".split()
)
_COMMANDS: Final = frozenset(
    """
    alter analyze analyse attach backup begin call cancel checkpoint close cluster comment commit copy create deallocate
    declare delete detach discard do drop end exchange execute exists fetch flush grant handler import insert install kill
    listen load lock merge move notify optimize prepare purge put reassign refresh reindex release rename repair replace
    reset restore revoke rollback savepoint security set shutdown signal start stop system truncate undrop uninstall
    unlisten unload unlock update upsert use vacuum watch xa check binlog cache change help resignal restart return stream
    """.split()
)
_VERB: Final = re.compile(r"\s*([a-z_]+)", re.IGNORECASE)
_SIGNS: Final = {
    TokenType.PARAMETER: "Variables (@x) are not allowed; write {{ x }} for a parameter",
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
        if token.text.lower() in _REG_TYPES and token.token_type is not TokenType.STRING:
            advice = f"Casts to {token.text.lower()} look relations up by name and are not allowed"
            raise refused(f"{advice} ({place(text, token.start)}).")


def _is_unicode_escaped(text: str, token: Token) -> bool:
    return token.token_type is TokenType.UNICODE_STRING or (
        token.text in ("U", "u") and text[token.end + 1 : token.end + 3] in ("&'", '&"')
    )
