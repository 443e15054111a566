"""Redshift's variation of the driver, against Postgres: it asks nothing that Redshift lacks, and binds and resets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.query_executor.drivers import Limits
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.redshift import maker
from services.query_executor.drivers.source import Pooling, Source
from services.query_executor.errors import QueryExecutionError, QueryTimeout
from services.query_executor.statement import Bind, Bound, Engine
from tests.integration.query_harness import Customer, customer
from tests.support import query_drivers
from tests.support.processes import eventually
from tests.support.query_drivers import HOSTILE, bare, dial, proved, quoted, rows_of
from tests.support.servers import Servers


@pytest.fixture(scope="module")
async def someone(servers: Servers) -> AsyncIterator[Customer]:
    async with customer(servers) as found:
        yield found


@pytest.fixture
async def drivers() -> AsyncIterator[Drivers]:
    found = Drivers({Engine.REDSHIFT: maker(dial, Pooling(2, 0.3))}, limit=2)
    yield found
    await found.close()


@pytest.fixture
def where(someone: Customer) -> Source:
    return query_drivers.source(Engine.REDSHIFT, someone.value())


def statement(*pieces: str | Bind) -> Bound:
    return query_drivers.statement(Engine.REDSHIFT, *pieces)


async def admin(someone: Customer, sql: str, *values: object) -> Any:
    connection = await asyncpg.connect(someone.admin_url)
    try:
        return await connection.fetchval(sql, *values)
    finally:
        await connection.close()


async def test_values_arrive_unchanged_and_whole(drivers: Drivers, where: Source) -> None:
    for text in (*HOSTILE, "x" * 5000):
        assert await rows_of(drivers, where, statement("SELECT ", quoted(text), ", 1")) == [(text, 1)]
    for bound, expected in (
        (statement("SELECT ", bare(1), " + ", bare(2)), 3),
        (statement("SELECT count(*) FROM sales WHERE id < ", quoted("3")), 2),
        (statement("SELECT id FROM sales ORDER BY id LIMIT ", bare(1)), 1),
    ):
        assert await rows_of(drivers, where, bound) == [(expected,)]


async def test_texts_travel_as_a_type_that_redshift_does_not_cut(drivers: Drivers, where: Source) -> None:
    seen = await rows_of(
        drivers, where, statement("SELECT query, ", quoted("x"), " FROM pg_stat_activity WHERE pid = pg_backend_pid()")
    )
    assert "::varchar(65535)" in seen[0][0]
    assert "::text)" not in seen[0][0]


async def test_a_statement_does_not_write_and_leaves_nothing(
    drivers: Drivers, someone: Customer, where: Source
) -> None:
    with pytest.raises(QueryExecutionError) as refused:
        await rows_of(drivers, where, statement("INSERT INTO sales VALUES (9)"))
    assert refused.value.details["sqlstate"] in ("25006", "42501")
    await rows_of(drivers, where, statement("SELECT set_config('search_path', 'left', false)"))
    assert await rows_of(drivers, where, statement("SHOW search_path")) == [('"$user", public',)]
    assert await rows_of(drivers, where, statement("SHOW statement_timeout"), Limits(1, 99, 7.0)) == [("7s",)]


async def test_it_stops_on_the_server(drivers: Drivers, someone: Customer, where: Source) -> None:
    slow = statement("SELECT pg_sleep(600) AS redshift_one")
    count = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%redshift_one%' AND usename = $1"
    )

    async def runs() -> bool:
        return bool(await admin(someone, count, someone.username))

    task = asyncio.create_task(rows_of(drivers, where, slow))
    await eventually(runs)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await runs()
    with pytest.raises(QueryTimeout):
        await rows_of(drivers, where, slow, Limits(1, 1, 0.3))
    assert not await runs()


async def test_a_query_on_its_whole_way(drivers: Drivers, where: Source) -> None:
    text = "SELECT id FROM sales WHERE region LIKE '%{{ part }}%' AND id IN ({{ ids }}) ORDER BY id LIMIT {{ most }}"
    found = await rows_of(drivers, where, proved(Engine.REDSHIFT, text, {"part": "", "ids": [1, 2, 3], "most": 2}))
    assert found == [(1,), (2,)]
