"""Where a placeholder may stand, and what to write instead where it may not."""

import itertools
import re
from typing import Final

from sqlglot import TokenType

from services.query_executor.statement import Engine
from services.query_executor.template.context import Bracket, Context
from services.query_executor.template.lexing import Lexeme
from services.query_executor.template.values import refuse

_GLUE_BEFORE: Final = frozenset("_$@#.'\"`?\\&")
_GLUE_AFTER: Final = frozenset("_$@#.'\"`\\")
_OPERANDS: Final = frozenset({TokenType.NUMBER, TokenType.R_PAREN, TokenType.R_BRACKET})
# Words that the tokenizer takes for names though a value may follow them.
_BEFORE_VALUES: Final = frozenset({
    "ZONE", "SYMMETRIC", "SEPARATOR", "STEP", "TO", "SAMPLE", "ESCAPE", "TOP", "FIRST", "NEXT", "SOME", "SIMILAR",
    "REGEXP", "RLIKE", "XOR", "DIV", "MOD", "BINARY", "GLOBAL", "PREWHERE", "DAY", "HOUR", "MINUTE", "SECOND", "MONTH",
    "YEAR", "UESCAPE", "TIES", "ROWS", "RANGE", "GROUPS", "PAST", "REPLACE", "EXCLUDE", "AGAINST", "ALL", "ANY",
})  # fmt: skip
_TABLE_WORDS: Final = frozenset(["FROM", "JOIN", "INTO", "TABLE", "UPDATE"])
_NAMED: Final = "a value cannot be a name; write {{ name|ident }}, or {{ name|one_of('a', 'b') }}"


def check_bare(text: str, context: Context, path: str) -> None:
    """Refuse a bare placeholder where no value can stand."""
    lexeme = context.lexeme
    _check_glue(text, lexeme, path)
    if context.previous in ("AS",) or _names_table(context):
        raise refuse(f"{{{{ {path} }}}} follows {context.previous}: {_NAMED}.")
    if context.following == "(":
        raise refuse(f"{{{{ {path} }}}} stands where a function's name belongs: {_NAMED}.")
    if context.before and _is_operand(context.before[-1]):
        raise refuse(
            f"{{{{ {path} }}}} follows a complete expression: for a direction write "
            f"{{{{ {path}|one_of('asc', 'desc') }}}}; {_NAMED}."
        )
    check_item(context, path)


def check_item(context: Context, path: str) -> None:
    """Refuse a value that is a whole item of ORDER BY or GROUP BY: it would be a constant."""
    starts = bool(context.before) and (
        context.before[-1].kind in (TokenType.ORDER_BY, TokenType.GROUP_BY) or context.previous == ","
    )
    ends = context.following in (
        "",
        ",",
        ")",
        "ASC",
        "DESC",
        "NULLS",
        "HAVING",
        "LIMIT",
        "OFFSET",
        ";",
        "UNION",
        "ORDER BY",
    )
    if context.clause and starts and ends:
        raise refuse(
            f"{{{{ {path} }}}} in {context.clause} BY would be a constant and order or group nothing: "
            f"write {{{{ {path}|ident }}}} or {{{{ {path}|one_of('a', 'b') }}}}."
        )


def check_string(text: str, context: Context, path: str) -> None:
    """Refuse a literal that the server would join with its neighbour."""
    lexeme = context.lexeme
    neighbours = [*context.before[-1:], *context.after[:1]]
    if any(neighbour.is_string for neighbour in neighbours):
        raise refuse(f"The literal with {{{{ {path} }}}} stands next to another literal; write both as one.")
    glued = context.before and context.before[-1].end == lexeme.start
    if glued and context.before[-1].kind in (TokenType.VAR, TokenType.INTRODUCER, TokenType.NUMBER):
        raise refuse(f"The literal with {{{{ {path} }}}} is glued to {context.before[-1].raw!r}; write a plain '…'.")


def list_place(context: Context) -> Bracket | None:
    """The bracket that a list may fill in this place, IN if it is to bring its own; None where no list may stand."""
    if context.previous == "IN":
        return Bracket.NONE
    alone = context.previous in ("(", "[", ",") and context.following in (")", "]", ",")
    return context.bracket if alone and context.bracket in (Bracket.IN, Bracket.CALL, Bracket.ARRAY) else None


def check_author(engine: Engine, lexemes: tuple[Lexeme, ...]) -> None:
    """Refuse what would be taken for a placeholder of the driver's own."""
    for before, lexeme in itertools.pairwise(lexemes):
        adjacent = before.end == lexeme.start
        if engine is not Engine.CLICKHOUSE and before.raw == "$" and adjacent and lexeme.raw[:1].isdigit():
            raise refuse(f"${lexeme.raw} is a placeholder of the server; write {{{{ name }}}}.")
    if engine is Engine.MYSQL and any(lexeme.raw == "?" for lexeme in lexemes):
        raise refuse("`?` is a placeholder of the server; write {{ name }}.")
    if engine is Engine.CLICKHOUSE and any(
        first.raw == "{" and third.raw == ":" and (second.raw.isidentifier())
        for first, second, third in zip(lexemes, lexemes[1:], lexemes[2:], strict=False)
    ):
        raise refuse("`{name:Type}` is a placeholder of the server; write {{ name }}.")


def _check_glue(text: str, lexeme: Lexeme, path: str) -> None:
    before, after = text[: lexeme.start][-2:], text[lexeme.end : lexeme.end + 1]
    last = before[-1:]
    if (
        last.isalnum()
        or (last in _GLUE_BEFORE and last)
        or before == "::"
        or after.isalnum()
        or (after and after in _GLUE_AFTER)
    ):
        raise refuse(
            f"{{{{ {path} }}}} is glued to what stands next to it; put it in quotes or between blanks "
            f"(for a part of a name: {_NAMED})."
        )


def _names_table(context: Context) -> bool:
    if context.previous not in _TABLE_WORDS:
        return False
    is_distinct = len(context.before) > 1 and context.before[-2].word == "DISTINCT"
    return not (
        context.previous == "FROM" and (is_distinct or context.bracket is Bracket.CALL or "FILL" in _words(context))
    )


def _words(context: Context) -> list[str]:
    return [lexeme.word for lexeme in context.before]


def _is_operand(lexeme: Lexeme) -> bool:
    if lexeme.kind is TokenType.VAR:
        return bool(re.match(r"\w", lexeme.raw)) and lexeme.word not in _BEFORE_VALUES
    return lexeme.kind in _OPERANDS or lexeme.is_string or lexeme.is_quoted_name
