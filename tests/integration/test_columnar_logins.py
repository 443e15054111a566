"""Connections by columns: each its own, none left behind, with what was learned of a server once."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.query_executor.drivers.postgres_logins import AVAILABLE, Logins, manager
from tests.integration.query_harness import PASSWORD, Customer, customer
from tests.support.processes import eventually
from tests.support.servers import Servers

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="the group `arrow` is not installed")


@pytest.fixture
async def someone(servers: Servers) -> AsyncIterator[Customer]:
    async with customer(servers) as made:
        yield made


def _info(someone: Customer, password: str = PASSWORD, name: str = "one") -> str:
    where = f"host={someone.host} port={someone.port} dbname={someone.database}"
    return f"{where} user={someone.username} password={password} application_name={name}"


def _asked(connection: object, text: str) -> object:
    with connection.cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute(text)
        return cursor.fetchone()[0]


async def _open(someone: Customer) -> int:
    connection = await asyncpg.connect(someone.admin_url)
    try:
        counted = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
        return int(await connection.fetchval(counted, someone.username))
    finally:
        await connection.close()


async def _nobody(someone: Customer) -> bool:
    return await _open(someone) == 0


async def test_connections_are_their_own_and_end(someone: Customer) -> None:
    logins = Logins()
    first, second = logins.connect(_info(someone)), logins.connect(_info(someone))
    try:
        assert _asked(first, "SELECT pg_backend_pid()") != _asked(second, "SELECT pg_backend_pid()")
    finally:
        first.close()
        second.close()
    await eventually(lambda: _nobody(someone))
    logins.close()


async def test_another_login_is_learned_anew_while_the_first_is_in_use(someone: Customer) -> None:
    logins, name = Logins(), "SELECT current_setting('application_name')"
    first = logins.connect(_info(someone))
    second = logins.connect(_info(someone, name="two"))
    logins.close()
    assert (_asked(first, name), _asked(second, name)) == ("one", "two")
    first.close()
    second.close()
    await eventually(lambda: _nobody(someone))


async def test_a_login_that_fails_leaves_the_next_to_succeed(someone: Customer) -> None:
    logins = Logins()
    for password in ("wrong", "wrong", PASSWORD):
        if password == PASSWORD:
            connection = logins.connect(_info(someone, password))
            assert _asked(connection, "SELECT 1") == 1
            connection.close()
        else:
            with pytest.raises(manager.Error):
                logins.connect(_info(someone, password))
    logins.close()
    await eventually(lambda: _nobody(someone))
