"""The driver alone, with no parser in front of it: what the session and the way of binding hold back by themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from services.query_executor.drivers import Limits
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.postgres import maker
from services.query_executor.drivers.source import Pooling, Source
from services.query_executor.errors import ConnectorError, QueryError, QueryExecutionError, QueryTimeout
from services.query_executor.secret_types import SecretSettings, SqlConnection
from services.query_executor.statement import Bind, Bound, Engine, Origin, Scalar
from tests.integration.query_harness import Customer, customer
from tests.support.processes import eventually
from tests.support.servers import Servers

LIMITS = Limits(rows=1000, bytes=10**7, seconds=60.0)


@pytest.fixture(scope="module")
async def someone(servers: Servers) -> AsyncIterator[Customer]:
    async with customer(servers) as found:
        yield found


async def resolve(host: str, _port: int) -> str:
    return host


def source(someone: Customer, version: int = 1, secret: Any = None, **changes: object) -> Source:
    connection = SqlConnection.model_validate(someone.value(**changes))
    return Source(Engine.POSTGRES, uuid4(), secret or uuid4(), version, connection, SecretSettings())


@pytest.fixture
async def drivers() -> AsyncIterator[Drivers]:
    found = Drivers({Engine.POSTGRES: maker(resolve, Pooling(2, 0.3))}, limit=2)
    yield found
    await found.close()


def statement(*pieces: str | Bind) -> Bound:
    """Texts and binds in turn."""
    parts, binds = [""], list[Bind]()
    for piece in pieces:
        if isinstance(piece, Bind):
            binds.append(piece)
            parts.append("")
        else:
            parts[-1] += piece
    return Bound(Engine.POSTGRES, tuple(parts), tuple(binds))


def quoted(value: Scalar, cast: str | None = None) -> Bind:
    return Bind(value, Origin.PARAMETER, "x", cast)


def bare(value: Scalar) -> Bind:
    return Bind(value, Origin.PARAMETER, "x", quoted=False)


async def rows_of(drivers: Drivers, where: Source, bound: Bound, limits: Limits = LIMITS) -> list[tuple[Any, ...]]:
    async with drivers.lease(where) as driver, driver.run(bound, limits) as rows:
        found = list[tuple[Any, ...]]()
        while batch := await rows.batch():
            found += [tuple(row) for row in batch]
        return found


async def admin(someone: Customer, sql: str, *values: object) -> Any:
    connection = await asyncpg.connect(someone.admin_url)
    try:
        return await connection.fetchval(sql, *values)
    finally:
        await connection.close()


@pytest.fixture
def as_administrator(someone: Customer, servers: Servers) -> Source:
    """A secret of somebody whom no right holds back."""
    user = urlsplit(servers.warehouse)
    return source(someone, username=user.username, password=user.password)


@pytest.mark.parametrize(
    ("text", "sqlstate"),
    [
        ("CREATE TABLE x (a int)", "25006"),
        ("INSERT INTO sales VALUES (9)", "25006"),
        ("WITH d AS (DELETE FROM sales RETURNING 1) SELECT * FROM d", "25006"),
        ("SELECT * FROM sales FOR UPDATE", "25006"),
        ("SELECT lo_create(0)", "25006"),
        ("SELECT 1; DELETE FROM sales", "42601"),
        ("SELECT 1; COMMIT; DELETE FROM sales", "42601"),
    ],
)
async def test_the_session_alone_refuses_to_write(
    drivers: Drivers, someone: Customer, as_administrator: Source, text: str, sqlstate: str
) -> None:
    with pytest.raises(QueryExecutionError) as refused:
        await rows_of(drivers, as_administrator, statement(text))
    assert refused.value.details["sqlstate"] == sqlstate
    assert await admin(someone, "SELECT count(*) FROM sales") == 4


@pytest.mark.parametrize("text", ["COMMIT", "SET TRANSACTION READ WRITE", "SET default_transaction_read_only = off"])
async def test_what_opens_a_session_opens_no_later_one(
    drivers: Drivers, someone: Customer, as_administrator: Source, text: str
) -> None:
    """Only the parser keeps these out; alone among the statements of an execution they do no harm."""
    with suppress(QueryError):
        await rows_of(drivers, as_administrator, statement(text))
    with pytest.raises(QueryExecutionError):
        await rows_of(drivers, as_administrator, statement("INSERT INTO sales VALUES (9)"))
    assert await rows_of(drivers, as_administrator, statement("SHOW transaction_read_only")) == [("on",)]


async def test_a_session_leaves_nothing_to_the_next(drivers: Drivers, someone: Customer) -> None:
    where = source(someone)
    for setting in ("search_path", "app.mark"):
        await rows_of(drivers, where, statement(f"SELECT set_config('{setting}', 'left', false)"))
    await rows_of(drivers, where, statement("SELECT pg_advisory_lock(77)"))
    left = "SELECT current_setting('app.mark', true), current_setting('search_path')"
    ((mark, path),) = await rows_of(drivers, where, statement(left))
    assert (mark or None, path) == (None, '"$user", public')
    assert await admin(someone, "SELECT pg_try_advisory_lock(77)")
    with suppress(QueryError):
        await rows_of(drivers, where, statement("PREPARE left_behind AS SELECT 1"))
    kept = "SELECT count(*) FROM pg_prepared_statements WHERE name = 'left_behind'"
    assert await rows_of(drivers, where, statement(kept)) == [(0,)]


async def test_a_session_is_used_again_and_renewed_in_one_turn(someone: Customer) -> None:
    drivers = Drivers({Engine.POSTGRES: maker(resolve, Pooling(1, 600.0))}, limit=2)
    where, who = source(someone), statement("SELECT pg_backend_pid()")
    ((first,),) = await rows_of(drivers, where, who)
    last = "SELECT state || ' ' || query FROM pg_stat_activity WHERE pid = $1"

    async def renewed() -> bool:
        said = str(await admin(someone, last, first))
        return said.startswith("idle ROLLBACK; ") and said.endswith("DISCARD SEQUENCES")

    await eventually(renewed)
    for text in ("SELECT 1/0", "SELECT nothing", "COMMIT"):
        with suppress(QueryError):
            await rows_of(drivers, where, statement(text))
        assert await rows_of(drivers, where, who) == [(first,)], text
    await drivers.close()


async def test_types_that_the_server_has_to_be_told(drivers: Drivers, someone: Customer) -> None:
    where = source(someone)
    for bound, expected in (
        (statement("SELECT concat(", quoted("a"), ", 'b')"), "ab"),
        (statement("SELECT jsonb_build_object('k', ", quoted("v"), ")"), {"k": "v"}),
        (statement("SELECT ", bare(1), " + ", bare(2)), 3),
        (statement("SELECT ", bare(True)), True),
        (statement("SELECT ", quoted("1"), " || ", quoted("2")), "12"),
        (statement("SELECT 1 WHERE ", quoted(None), " IS NULL"), 1),
        (statement("SELECT ", quoted("1 day", "interval")), "P1D"),
        (statement("SELECT id FROM sales WHERE id = ", quoted("3"), " AND region <> ", quoted("3")), 3),
        (statement("SELECT id FROM sales WHERE id = ", quoted("3"), " OR region = ", quoted("3")), 3),
        (statement("SELECT ", quoted("{1,2}"), "::int[]"), [1, 2]),
    ):
        assert (await rows_of(drivers, where, bound))[0][0] == expected, bound.parts


async def test_types_are_learned_again_when_a_column_changed(drivers: Drivers, someone: Customer) -> None:
    where, bound = source(someone), statement("SELECT count(*) FROM changing WHERE a = ", quoted("7"))
    await admin(someone, "CREATE TABLE changing (a int)")
    await admin(someone, f"GRANT SELECT ON changing TO {someone.username}")
    assert await rows_of(drivers, where, bound) == [(0,)]
    await admin(someone, "ALTER TABLE changing ALTER a TYPE text")
    await admin(someone, "INSERT INTO changing VALUES ('7')")
    assert await rows_of(drivers, where, bound) == [(1,)]
    with pytest.raises(QueryExecutionError) as missing:
        await rows_of(drivers, where, statement("SELECT nope FROM changing WHERE a = ", quoted("7")))
    assert missing.value.details["sqlstate"] == "42703"


@pytest.mark.parametrize(
    ("bound", "sqlstate"),
    [
        (statement("SELECT nothing_like_it(", quoted("x"), ")"), "42883"),
        (statement("SELECT ", quoted("canary"), "::int"), "22P02"),
        (statement("SELECT 1/", bare(0)), "22012"),
        (statement("SELECT ", quoted("canary"), "::date"), "22007"),
        (statement("SELECT ", quoted("a\x00canary")), "22021"),
    ],
)
async def test_errors_name_no_value(drivers: Drivers, someone: Customer, bound: Bound, sqlstate: str) -> None:
    with pytest.raises(QueryExecutionError) as failed:
        await rows_of(drivers, source(someone), bound)
    assert failed.value.details["sqlstate"] == sqlstate
    assert "canary" not in str(failed.value) + str(failed.value.details)


async def test_a_cancelled_statement_has_stopped_when_its_connection_is_back(
    drivers: Drivers, someone: Customer
) -> None:
    where = source(someone)
    slow = statement("SELECT pg_sleep(600) AS cancelled_one")
    running = asyncio.create_task(rows_of(drivers, where, slow))
    counted = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%cancelled_one%' AND usename = $1"
    )

    async def runs() -> bool:
        return bool(await admin(someone, counted, someone.username))

    await eventually(runs)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not await runs()
    with pytest.raises(QueryTimeout):
        await rows_of(drivers, where, slow, Limits(1, 1, 0.2))
    assert not await runs()
    assert await rows_of(drivers, where, statement("SELECT 1")) == [(1,)]


async def connections(someone: Customer) -> int:
    return int(await admin(someone, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", someone.username))


async def test_connections_are_bounded_and_closed_when_unused(drivers: Drivers, someone: Customer) -> None:
    where = source(someone)
    seen = await asyncio.gather(*(rows_of(drivers, where, statement("SELECT pg_sleep(0.05)")) for _ in range(8)))
    assert len(seen) == 8
    assert await connections(someone) <= 2

    async def none_left() -> bool:
        return await connections(someone) == 0

    await eventually(none_left)


async def test_a_new_version_closes_the_olds_connections(drivers: Drivers, someone: Customer) -> None:
    secret = uuid4()
    first, second = (source(someone, version, secret) for version in (1, 2))
    slow = asyncio.create_task(rows_of(drivers, first, statement("SELECT pg_sleep(0.3), 1")))
    await asyncio.sleep(0.1)
    assert await rows_of(drivers, second, statement("SELECT 2")) == [(2,)]
    assert len(await slow) == 1  # what runs ends in order
    assert await rows_of(drivers, first, statement("SELECT 1")) == [(1,)]  # a request that came before the change
    assert await rows_of(drivers, second, statement("SELECT 2")) == [(2,)]


async def test_rows_come_in_batches_up_to_the_limit_and_one(drivers: Drivers, someone: Customer) -> None:
    many = statement("SELECT g, repeat('x', 100) FROM generate_series(1, 1000000) AS g")
    found = await rows_of(drivers, source(someone), many, Limits(2500, 10**9, 60.0))
    assert [row[0] for row in found] == list(range(1, 2502))


async def test_nobody_answers(drivers: Drivers, someone: Customer) -> None:
    with pytest.raises(ConnectorError) as refused:
        await rows_of(drivers, source(someone, port=1), statement("SELECT 1"))
    assert refused.value.details == {"cause": "refused"}


async def test_a_connection_that_the_server_drops(drivers: Drivers, someone: Customer) -> None:
    where = source(someone)
    slow = asyncio.create_task(rows_of(drivers, where, statement("SELECT pg_sleep(600) AS dropped_one")))
    kill = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
              WHERE state = 'active' AND query LIKE '%dropped_one%' AND usename = $1"""

    async def killed() -> bool:
        return bool(await admin(someone, kill, someone.username))

    await eventually(killed)
    with pytest.raises(ConnectorError) as lost:
        await slow
    assert lost.value.details == {"cause": "connection_lost"}
    assert await rows_of(drivers, where, statement("SELECT 1")) == [(1,)]
