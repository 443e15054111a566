"""Transactions of a tenant: bound from their first statement on, in one turn to the server; to nobody afterwards."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.auth import Principal
from libs.common.db import Connection, Database
from libs.common.errors import NotFound
from services.query_executor.settings import Settings
from tests.support.platform import Platform, values_of
from tests.support.spans import recorded_spans

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
_BOUND = (
    "SELECT coalesce(current_setting('app.tenant', true), '') || coalesce(current_setting('app.actor_id', true), '')"
)
_ACTOR = "SELECT current_setting('app.actor_username', true)"


@pytest.fixture
async def database(platform: Platform) -> AsyncIterator[Database]:
    """One connection a pool, so that each use finds what the one before left."""
    values = values_of(platform.environment("query_executor", 1)) | {"database_pool_size": 1}
    opened = await Database.open(Settings.model_validate(values), "database")
    yield opened
    await opened.close()


def _caller(tenant: UUID, username: str | None = "somebody") -> Principal:
    return Principal(tenant, "subject", username=username)


async def _type(connection: Connection, tenant: UUID, slug: str = "plain") -> None:
    statement = "INSERT INTO secret_type (tenant_id, slug, name, created_at) VALUES ($1, $2, $2, $3)"
    await connection.execute(statement, tenant, slug, NOW)


async def _count(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM secret_type"))


async def test_a_tenant_sees_and_writes_its_own_rows_alone(database: Database) -> None:
    ours, others = uuid4(), uuid4()
    async with database.change(_caller(ours), NOW) as connection:
        await _type(connection, ours)
    async with database.tenant(ours) as connection:
        assert await _count(connection) == 1
    async with database.tenant(others) as connection:
        assert await _count(connection) == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.change(_caller(others), NOW) as connection:
            await _type(connection, ours, "foreign")
    assert await _count_outside(database) == 0


async def _count_outside(database: Database) -> int:
    return int(await database.api.fetchval("SELECT count(*) FROM secret_type"))


async def test_a_connection_goes_back_bound_to_nobody_however_it_ends(database: Database) -> None:
    tenant = uuid4()

    async def used(change: bool, statement: str, error: type[Exception] | None) -> None:
        bound = database.change(_caller(tenant), NOW) if change else database.tenant(tenant)
        async with bound as connection:
            assert str(tenant) in await connection.fetchval(_BOUND)
            await connection.execute(statement)
            if error is not None:
                raise error("as a use case does")

    for change in (False, True):
        await used(change, "SELECT 1", None)
        assert await database.api.fetchval(_BOUND) == ""
        for statement, error in (("SELECT 1", NotFound), ("SELECT 1/0", asyncpg.DivisionByZeroError)):
            with pytest.raises(error):
                await used(change, statement, error)
            assert await database.api.fetchval(_BOUND) == ""


async def test_a_cancelled_transaction_leaves_nothing(database: Database) -> None:
    tenant, inside = uuid4(), asyncio.Event()

    async def sleeps() -> None:
        async with database.change(_caller(tenant), NOW) as connection:
            await _type(connection, tenant)
            inside.set()
            await connection.execute("SELECT pg_sleep(600)")

    task = asyncio.create_task(sleeps())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.api.fetchval(_BOUND) == ""
    async with database.tenant(tenant) as connection:
        assert await _count(connection) == 0


async def test_an_opening_that_the_server_refuses_leaves_nothing(database: Database) -> None:
    tenant = uuid4()
    with pytest.raises(asyncpg.CharacterNotInRepertoireError):
        async with database.change(_caller(tenant, "nul\0"), NOW):
            raise AssertionError("the transaction began")
    assert await database.api.fetchval(_BOUND) == ""
    async with database.tenant(tenant) as connection:
        assert str(tenant) in await connection.fetchval(_BOUND)


async def _undone(connection: Connection, tenant: UUID) -> None:
    async with connection.transaction():
        await _type(connection, tenant, "undone")
        raise NotFound("as a use case does")


async def test_inner_transactions_are_savepoints(database: Database) -> None:
    tenant = uuid4()
    async with database.change(_caller(tenant), NOW) as connection:
        await _type(connection, tenant, "kept")
        with pytest.raises(NotFound):
            await _undone(connection, tenant)
        async with connection.transaction():
            await _type(connection, tenant, "kept-too")
        assert str(tenant) in await connection.fetchval(_BOUND)
        with pytest.raises(asyncpg.InterfaceError):
            async with connection.transaction(isolation="serializable"):
                raise AssertionError("the isolation of a transaction that has begun changed")
    async with database.tenant(tenant) as connection:
        slugs = await connection.fetch("SELECT slug FROM secret_type ORDER BY slug")
    assert [row["slug"] for row in slugs] == ["kept", "kept-too"]


async def test_the_settings_come_with_the_beginning(database: Database) -> None:
    statements = list[str]()

    def note(query: LoggedQuery) -> None:
        statements.append(query.query)

    async with database.api.acquire() as connection:
        connection.add_query_logger(note)
    tenant = uuid4()
    for bound in (database.tenant(tenant), database.change(_caller(tenant), NOW)):
        statements.clear()
        async with bound as used:
            await used.execute("SELECT 1")
        assert len(statements) == 3, statements
        assert statements[1:] == ["SELECT 1", "COMMIT;"]


async def test_no_span_holds_what_a_transaction_is_bound_to(database: Database) -> None:
    tenant = uuid4()
    caller = replace(_caller(tenant), username="canary-name", subject="canary-subject")
    with recorded_spans() as spans:
        async with database.change(caller, NOW) as connection:
            await connection.execute("SELECT 1")
    said = [dict(span.attributes or {}) for span in spans.get_finished_spans()]
    texts = [each["db.query.text"] for each in said if "db.query.text" in each]
    assert texts == ["BEGIN", "SELECT 1", "COMMIT;"]


async def test_any_name_arrives_as_it_is(database: Database) -> None:
    names = list[str]()

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
    @settings(max_examples=60)
    def draw(name: str) -> None:
        names.append(name)

    draw()
    tenant = uuid4()
    for name in (*names, "it's", "\\'; DROP TABLE app; --", "$$", "E'\\x41'", "ünï → 漢字 🜚"):
        async with database.change(_caller(tenant, name), NOW) as connection:
            assert await connection.fetchval(_ACTOR) == name
