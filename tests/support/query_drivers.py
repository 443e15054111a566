"""Drivers of query_executor without the parser in front of them, and with it."""

import random
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.query_executor.drivers import Column, Limits
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.source import Source
from services.query_executor.errors import QueryValidationError
from services.query_executor.guard import Policy, prove
from services.query_executor.preparation import compiled, given, prepare
from services.query_executor.secret_types import BY_SLUG, Connection, SecretSettings
from services.query_executor.statement import Bind, Bound, Draft, Engine, Origin, Scalar
from services.query_executor.template import Values

LIMITS = Limits(rows=1000, bytes=10**7, seconds=60.0)
# What must arrive unchanged at every server.
HOSTILE = (
    "O'Brien", "1' OR '1'='1", "\\", "\\' OR 1=1 -- ", "a\"b`c", "%_", "%s ? $1 {p0:String} :x",
    "tab\tnewline\nreturn\r",
    "\u00e9\u4e2d\U0001f600", "'; DROP TABLE sales; -- ", "/*! x */", "{{ 7 * 7 }}", "", " ",
)  # fmt: skip


def any_texts(count: int) -> list[str]:
    """Texts of letters that mean something to some server, the same in each run."""
    chance = random.Random(20_260_101)  # noqa: S311 - not for secrets
    letters = "'\"`\\%_?$:;#-/*!{}[]()<>=&|,.@~^ \t\n\r\0\b\x1aabcxnrtZ0179\u00e9\u2028\u4e2d\U0001f600"
    return ["".join(chance.choices(letters, k=chance.randint(1, 12))) for _ in range(count)]


async def dial(host: str, _port: int) -> str:
    """Every host is allowed."""
    return "127.0.0.1" if host == "localhost" else host


def source(
    engine: Engine, value: Mapping[str, Any], version: int = 1, secret: UUID | None = None, **how: Any
) -> Source:
    """A secret, opened; `how`: its settings."""
    connection = BY_SLUG[f"analytics-{engine}"].model.model_validate(value)
    assert isinstance(connection, Connection)
    return Source(engine, uuid4(), secret or uuid4(), version, connection, SecretSettings(**how))


def quoted(value: Scalar, cast: str | None = None) -> Bind:
    return Bind(value, Origin.PARAMETER, "x", cast)


def bare(value: Scalar) -> Bind:
    return Bind(value, Origin.PARAMETER, "x", quoted=False)


def statement(engine: Engine, *pieces: str | Bind) -> Bound:
    """Texts and binds in turn; no parser has seen them."""
    parts, binds = [""], list[Bind]()
    for piece in pieces:
        if isinstance(piece, Bind):
            binds.append(piece)
            parts.append("")
        else:
            parts[-1] += piece
    return Bound(engine, tuple(parts), tuple(binds))


def proved(engine: Engine, text: str, params: Mapping[str, Any] | None = None, policy: Policy | None = None) -> Bound:
    """A template on its whole way: declared, rendered, proved, bound."""
    template = compiled(text, engine)
    values = Values(parameters=given(template, (), params or {}), secrets={}, profile={})
    return prepare(template, values, policy or Policy())[0]


def refused_by_the_parser(engine: Engine, text: str) -> None:
    """What a session lets through is the parser's to refuse."""
    with pytest.raises(QueryValidationError):
        prove(Draft(engine, text, ()), Policy())


async def result_of(
    drivers: Drivers, where: Source, bound: Bound, limits: Limits = LIMITS
) -> tuple[list[Column], list[tuple[Any, ...]]]:
    """Columns and rows, one more than the limit where there are more."""
    async with drivers.lease(where) as driver, driver.run(bound, limits) as rows:
        found = list[tuple[Any, ...]]()
        while batch := await rows.batch():
            found += [tuple(row) for row in batch]
        return list(rows.columns), found


async def rows_of(drivers: Drivers, where: Source, bound: Bound, limits: Limits = LIMITS) -> list[tuple[Any, ...]]:
    return (await result_of(drivers, where, bound, limits))[1]
