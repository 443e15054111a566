"""What an execution asks and writes in one statement each: of its own tenant alone, and no name that is erased."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from libs.common.db import Database
from libs.common.erasure import ErasedNames, context
from libs.common.sealed import KeyRing, encode
from services.query_executor.settings import Settings
from services.query_executor.store.executions import Event, Execution, find_runnable, record_execution
from tests.support.platform import Platform, values_of
from tests.support.processes import eventually

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
RING = KeyRing.of({"new": SecretStr(encode(b"n" * 32)), "old": SecretStr(encode(b"o" * 32))})
NAME = "erika"
_APP = "INSERT INTO app (tenant_id, id, slug, name, created_at, updated_at) VALUES ($1, $2, 'shop', 'Shop', $3, $3)"
_QUERY = """INSERT INTO analytics_query (tenant_id, id, app_id, slug, name, tags, version, created_at, updated_at)
VALUES ($1, $2, $3, 'one', 'One', '{a,b}', 2, $4, $4)"""
_VERSION = """INSERT INTO analytics_query_version
(tenant_id, query_id, version, connection_type, secret_key, query_text, parameters, created_at)
SELECT $1, $2, number, 'external', 'db', 'SELECT ' || number, '[]', $3 FROM generate_series(1, 2) AS number"""


@pytest.fixture
async def database(platform: Platform) -> AsyncIterator[Database]:
    """One connection a pool, so that each use finds what the one before left. No service runs."""
    values = values_of(platform.environment("query_executor", 1)) | {"database_pool_size": 1}
    opened = await Database.open(Settings.model_validate(values), "recording")
    yield opened
    await opened.close()


async def bound_to(database: Database) -> str:
    """Of the pool's only connection, outside of any transaction."""
    return str(await database.api.fetchval("SELECT coalesce(current_setting('app.tenant', true), '')"))


async def with_query(database: Database, tenant: UUID) -> UUID:
    """An app `shop` with a query `one`, whose secret does not exist; the app's id."""
    app, query = uuid4(), uuid4()
    async with database.work() as connection:
        await connection.execute(_APP, tenant, app, NOW)
        await connection.execute(_QUERY, tenant, query, app, NOW)
        await connection.execute(_VERSION, tenant, query, NOW)
    return app


def execution(executed_by: str = NAME) -> Execution:
    return Execution(
        id=uuid4(), environment="production", app_id=uuid4(), query_id=uuid4(), query_version=3, secret_id=None,
        secret_version=None, executed_by=executed_by, actor_type="user", state="completed", error_code=None,
        row_count=2**40, truncated=True, milliseconds=1.234, started_at=NOW,
    )  # fmt: skip


def event(key: str) -> Event:
    return "tidemark.recording_test", key, '{"ce_id": "1"}', '{"said": "ünï"}', NOW


async def recorded(database: Database, tenant: UUID) -> list[dict[str, object]]:
    async with database.tenant(tenant) as connection:
        return [dict(row) for row in await connection.fetch("SELECT * FROM query_execution")]


async def told(database: Database, key: str) -> list[dict[str, object]]:
    async with database.work() as connection:
        found = await connection.fetch("SELECT topic, headers::text, value, created_at FROM outbox WHERE key = $1", key)
        return [dict(row) for row in found]


def digests(tenant: UUID, name: str = NAME) -> list[bytes]:
    return RING.digests(name, bound_to=context(tenant))


async def test_a_tenant_finds_its_own_query_alone_and_leaves_no_trace(database: Database) -> None:
    ours, others = uuid4(), uuid4()
    app = await with_query(database, ours)
    await with_query(database, others)
    found = await find_runnable(database.api, ours, "shop", "one")
    assert found is not None
    assert (found.app_id, found.secret, found.has_type) == (app, None, False)
    assert (found.query.query_text, found.query.version, found.query.tags) == ("SELECT 2", 2, ("a", "b"))
    assert await bound_to(database) == ""
    for tenant, app_slug, slug in ((uuid4(), "shop", "one"), (ours, "nope", "one"), (ours, "shop", "nope")):
        assert await find_runnable(database.api, tenant, app_slug, slug) is None
        assert await bound_to(database) == ""
    assert await database.api.fetchval("SELECT count(*) FROM app") == 0


async def test_what_is_recorded_is_what_was_said_once_and_with_its_event(database: Database) -> None:
    tenant, row = uuid4(), execution()
    key = f"{tenant}:once"
    for _ in range(2):
        assert await record_execution(database.api, tenant, digests(tenant), row, event(key)) is None
        assert await bound_to(database) == ""
    assert await recorded(database, tenant) == [{"tenant_id": tenant, **asdict(row)}]
    said = {"topic": "tidemark.recording_test", "headers": '{"ce_id": "1"}', "value": '{"said": "ünï"}'}
    assert await told(database, key) == [{**said, "created_at": NOW}]
    assert await record_execution(database.api, tenant, digests(tenant), execution(), None) is None
    assert (len(await recorded(database, tenant)), len(await told(database, key))) == (2, 1)
    assert await recorded(database, uuid4()) == []


async def test_an_event_that_fails_leaves_no_record(database: Database) -> None:
    tenant = uuid4()
    topic, key, _, value, at = event(f"{tenant}:fails")
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await record_execution(database.api, tenant, (), execution(), (topic, key, "no json", value, at))
    assert await bound_to(database) == ""
    assert await recorded(database, tenant) == []


@pytest.mark.parametrize("digest", [0, 1])
async def test_nothing_is_written_of_an_erased_name_under_any_key(database: Database, digest: int) -> None:
    tenant, key = uuid4(), f"{uuid4()}:erased"
    first = KeyRing(RING.keys, RING.digest_keys[digest:])
    async with database.work() as connection:
        pseudonym = await ErasedNames(first).enter(connection, tenant, NAME, NOW)
    shown = await record_execution(database.api, tenant, digests(tenant), execution(), event(key))
    assert shown == pseudonym
    assert await bound_to(database) == ""
    assert (await recorded(database, tenant), await told(database, key)) == ([], [])
    assert await record_execution(database.api, tenant, digests(tenant, "other"), execution(), event(key)) is None
    assert await record_execution(database.api, uuid4(), digests(tenant), execution(), None) is None
    assert await record_execution(database.api, tenant, (), execution(pseudonym), event(key)) is None
    assert len(await recorded(database, tenant)) == 2


async def test_a_record_that_begins_while_a_name_is_being_erased_waits_and_sees_it(
    platform: Platform, database: Database
) -> None:
    tenant = uuid4()
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND NOT granted"
    admin = await asyncpg.connect(platform.admin_url)
    try:
        async with database.work() as connection:
            pseudonym = await ErasedNames(RING).enter(connection, tenant, NAME, NOW)
            write = record_execution(database.api, tenant, digests(tenant), execution(), None)
            writing = asyncio.create_task(write)

            async def waits() -> bool:
                # Advisory locks are of one database, which is this module's own.
                where = " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                return bool(await admin.fetchval(waiting + where))

            await eventually(waits)
        assert await writing == pseudonym
    finally:
        await admin.close()
    assert await recorded(database, tenant) == []
