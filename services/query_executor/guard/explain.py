"""A leading plain EXPLAIN, taken off before the lexer: in two dialects it would swallow the rest as one string."""

import re
from typing import Final, NamedTuple

from services.query_executor.guard.refusal import refused
from services.query_executor.statement import Engine

_EXPLAIN: Final = re.compile(r"((?:\s|/\*(?!!|M!|\+).*?\*/|--[^\n]*\n)*)(explain)\b", re.IGNORECASE | re.DOTALL)
_POSTGRES: Final = re.compile(
    r"\s+verbose\b(?=[\s(])|\s*\((?:\s*(?:format\s+\w+|(?:verbose|costs|summary)(?:\s+(?:on|off|true|false))?)\s*(?:,|(?=\))))+\)",
    re.IGNORECASE,
)
# Options that run nothing.
_KINDS: Final = {
    Engine.POSTGRES: _POSTGRES,
    Engine.REDSHIFT: _POSTGRES,
    Engine.INTERNAL: _POSTGRES,
    Engine.CLICKHOUSE: re.compile(r"\s+(?:plan|syntax|ast|pipeline|estimate|query\s+tree)\b(?=[\s(])", re.IGNORECASE),
    Engine.MYSQL: re.compile(r"\s+(?:extended|format\s*=\s*(?:json|tree|traditional))\b(?=[\s(])", re.IGNORECASE),
}
_QUERY: Final = re.compile(r"[\s(]*(?:select|with|values|table|from)\b", re.IGNORECASE)
_VERB: Final = re.compile(r"\s*[\w=]*")


class Peeled(NamedTuple):
    """`text` with blanks for the EXPLAIN, so that places stay; `length` of what was blanked, 0 without an EXPLAIN."""

    text: str
    length: int


def peel(text: str, engine: Engine) -> Peeled:
    """Take a plain EXPLAIN off. Raises QueryValidationError for EXPLAIN ANALYZE and other options, which run or
    change something; `EXPLAIN t` (MySQL for DESCRIBE) is left as it is."""
    match = _EXPLAIN.match(text)
    if not match:
        return Peeled(text, 0)
    end = match.end()
    if (kinds := _KINDS.get(engine)) and (kind := kinds.match(text, end)):
        end = kind.end()
    if not _QUERY.match(text, end):
        if engine is Engine.MYSQL and not re.match(
            r"\s*(?:analyze|\w+\s*=|for\b|update|delete|insert|replace)", text[end:], re.IGNORECASE
        ):
            return Peeled(text, 0)
        raise refused("Only plain EXPLAIN of a query is allowed; EXPLAIN ANALYZE would run the statement.")
    return Peeled(text[: match.start(2)] + " " * (end - match.start(2)) + text[end:], end)
