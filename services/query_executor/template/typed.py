"""Typed literals: `DATE '…'` takes no parameter, so its type becomes the bind's cast."""

import re
from dataclasses import dataclass
from typing import Final

from services.query_executor.statement import Engine
from services.query_executor.template.context import Context
from services.query_executor.template.values import refuse

_ZONED: Final = re.compile(r"\b(TIMESTAMP|TIME)\s*(\(\s*\d\s*\))?\s+(WITH|WITHOUT)\s+TIME\s+ZONE\s*\Z", re.IGNORECASE)
_NAMES: Final = (
    "DATE|TIMESTAMPTZ|TIMESTAMP|TIMETZ|TIME|INTERVAL|UUID|JSONB|JSON|INET|CIDR|MACADDR|NUMERIC|DECIMAL|BOOLEAN|BOOL|"
    r"INTEGER|INT|BIGINT|SMALLINT|REAL|FLOAT4|FLOAT8|DOUBLE\s+PRECISION|TEXT|MONEY|"
    "INT4RANGE|INT8RANGE|NUMRANGE|TSRANGE|TSTZRANGE|DATERANGE"
)
_PLAIN: Final = re.compile(rf"(?<![\w.$\"`:@])({_NAMES})\s*(\(\s*\d\s*\))?\s*\Z", re.IGNORECASE)
_OTHER: Final = re.compile(r"(?<![\w.$\"`:@])(DATE32|DATE|TIMESTAMP|DATETIME|TIME|INTERVAL)\s*\Z", re.IGNORECASE)
_CASTS: Final = {
    Engine.MYSQL: {"date": "date", "timestamp": "datetime", "time": "time"},
    Engine.CLICKHOUSE: {"date": "Date", "date32": "Date32", "timestamp": "DateTime"},
}
_FIELDS: Final = frozenset({"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"})


@dataclass(frozen=True, slots=True)
class Typed:
    """`start` and `end` of what the bind replaces; `unit` follows the value, as in `INTERVAL '5' DAY`."""

    start: int
    end: int
    cast: str | None = None
    unit: str | None = None
    number: bool = False


def typed(engine: Engine, text: str, context: Context) -> Typed | None:
    """How the literal is typed by the words around it; None if it is not."""
    before = text[max(0, context.lexeme.start - 80) : context.lexeme.start]
    if engine in _CASTS:
        return _other(engine, before, context)
    match = _ZONED.search(before) or _PLAIN.search(before)
    if match is None:
        return None
    name = " ".join(match[0].lower().split())
    start = context.lexeme.start - len(match[0])
    if name.startswith("interval") and context.following in _FIELDS:
        return _with_field(start, name, context)
    return Typed(start, context.lexeme.end, name)


def takes_number(engine: Engine, context: Context) -> bool:
    """Whether the server wants a number here, and would take a text for an error (Postgres converts it)."""
    if engine not in _CASTS:
        return False
    words = [lexeme.word for lexeme in context.before]
    is_limit = words[-1:] in (["LIMIT"], ["OFFSET"]) or (len(words) > 2 and words[-3] == "LIMIT" and words[-1] == ",")
    return is_limit or (engine is Engine.CLICKHOUSE and words[-1:] == ["INTERVAL"])


def check_typed(engine: Engine, text: str, context: Context, path: str) -> None:
    """Refuse `DATE {{ d }}`: a type's name stands before a literal only."""
    before = text[max(0, context.lexeme.start - 80) : context.lexeme.start]
    if engine not in _CASTS and (_ZONED.search(before) or _PLAIN.search(before)):
        word = context.previous
        instead = f"'{{{{ {path} }}}} days'" if word == "INTERVAL" else f"'{{{{ {path} }}}}'"
        raise refuse(f"A literal follows {word}; write {word} {instead}.")


def _with_field(start: int, name: str, context: Context) -> Typed:
    if len(context.after) > 1 and context.after[1].word == "TO":
        raise refuse("INTERVAL '{{ … }}' with two fields takes no placeholder; write INTERVAL '{{ months }} months'.")
    return Typed(start, context.after[0].end, name, unit=context.following.lower())


def _other(engine: Engine, before: str, context: Context) -> Typed | None:
    match = _OTHER.search(before)
    if match is None:
        return None
    start, name = context.lexeme.start - len(match[0]), match[1].lower()
    if name != "interval":
        cast = _CASTS[engine].get(name)
        return Typed(start, context.lexeme.end, cast) if cast else None
    if engine is Engine.CLICKHOUSE and context.following not in _FIELDS:
        raise refuse("ClickHouse takes no placeholder inside an interval's literal; write INTERVAL {{ n }} DAY.")
    return None
