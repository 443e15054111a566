"""A quoted literal as the text that it means, with its slots in place."""

import re
from collections.abc import Callable
from typing import Final

from services.query_executor.statement import Engine, token_index
from services.query_executor.template.lexing import TOKEN, Lexeme
from services.query_executor.template.values import refuse

_COMMON: Final = {"b": "\b", "n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"', "%": "\\%", "_": "\\_"}
_ESCAPES: Final = {
    Engine.MYSQL: {**_COMMON, "Z": "\x1a"},
    Engine.CLICKHOUSE: {**_COMMON, "f": "\f", "a": "\a", "v": "\v", "`": "`"},
    Engine.REDSHIFT: {"\\": "\\", "'": "'"},
}
_PREFIXES: Final = {"U": "U&'…'", "B": "B'…'", "X": "X'…'", "N": "N'…'"}


def literal(engine: Engine, lexeme: Lexeme) -> tuple[str | int, ...]:
    """The pieces of a literal that holds tokens: text that the author wrote and numbers of slots."""
    raw = lexeme.raw
    if raw[0] == "$":
        tag = raw[: raw.index("$", 1) + 1]
        return _split(raw[len(tag) : -len(tag)], lambda text: text)
    if raw[0] in "eE" and raw[1] == "'":
        if "\\" in raw:
            raise refuse("A literal E'…' with a placeholder cannot hold backslashes; write '…' and plain characters.")
        raw = raw[1:]
    if raw[0] not in "'\"":
        kind = _PREFIXES.get(raw[0].upper(), "such a literal")
        raise refuse(f"A placeholder cannot stand in {kind}; write '…' and convert it with a function.")
    quote, escapes = raw[0], _ESCAPES.get(engine)
    return _split(raw[1:-1], lambda text: _decoded(text, quote, escapes))


def _split(body: str, decode: Callable[[str], str]) -> tuple[str | int, ...]:
    pieces, position = list[str | int](), 0
    for match in TOKEN.finditer(body):
        pieces += [decode(body[position : match.start()]), token_index(match[1])]
        position = match.end()
    pieces.append(decode(body[position:]))
    return tuple(piece for piece in pieces if piece != "")


def _decoded(text: str, quote: str, escapes: dict[str, str] | None) -> str:
    if escapes is None:
        return text.replace(quote * 2, quote)
    return re.sub(rf"{quote}{quote}|\\(.?)", lambda match: _escape(match, escapes), text, flags=re.DOTALL)


def _escape(match: re.Match[str], escapes: dict[str, str]) -> str:
    if match[1] is None:
        return match[0][0]
    if match[1] not in escapes:
        raise refuse(
            f"The escape \\{match[1]} cannot stand in a literal with a placeholder; write the character itself, "
            "and no backslash right before a placeholder."
        )
    return escapes[match[1]]
