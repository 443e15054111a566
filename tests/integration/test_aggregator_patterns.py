"""Patterns that a process takes for stored are stored: after a rollback, a removal, beside another replica."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import pytest

from libs.common.db import Connection
from services.aggregator.tenant_tables import TENANT_TABLES
from tests.integration.aggregator_harness import Harness, Source, replicas
from tests.support.platform import Platform

COLUMNS = (("shop.public.orders", "id"),)
TABLES = ("shop.public.orders",)
WHOLE = {"sql_pattern": 1, "pattern_table": 1, "pattern_table_key": 3, "pattern_column": 1, "product_pattern": 1}


@pytest.fixture
async def one(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (harness,):
        yield harness


async def stored(harness: Harness, tenant: UUID) -> dict[str, int]:
    """Rows of each table that describes patterns."""
    return {
        table: await harness.admin.fetchval(f"SELECT count(*) FROM aggregator.{table} WHERE tenant_id = $1", tenant)
        for table in WHOLE
    }


@asynccontextmanager
async def refusing(admin: Connection, table: str) -> AsyncIterator[None]:
    """A table into which nothing can be written."""
    await admin.execute(f"ALTER TABLE aggregator.{table} ADD CONSTRAINT refusing CHECK (false) NOT VALID")
    try:
        yield
    finally:
        await admin.execute(f"ALTER TABLE aggregator.{table} DROP CONSTRAINT refusing")


async def described(harness: Harness) -> Source:
    source = Source()
    await harness.space(source.tenant)
    await harness.product(source.tenant, "orders", "orders")
    return source


async def test_a_pattern_whose_first_transaction_failed_is_stored_by_the_next(one: Harness) -> None:
    source = await described(one)
    async with refusing(one.admin, "sync_ledger"):
        with pytest.raises(asyncpg.CheckViolationError):
            await one.take(source.record("a", 1, tables=TABLES, columns=COLUMNS))
    assert set((await stored(one, source.tenant)).values()) == {0}
    await one.take(source.record("a", 1, tables=TABLES, columns=COLUMNS))
    assert await stored(one, source.tenant) == WHOLE


async def test_a_pattern_that_was_removed_is_stored_again(one: Harness) -> None:
    source = await described(one)
    for number in range(3):
        await one.take(source.record(f"r{number}", number + 1, tables=TABLES, columns=COLUMNS))
    for table in TENANT_TABLES:
        await one.admin.execute(f"DELETE FROM aggregator.{table} WHERE tenant_id = $1", source.tenant)
    await one.space(source.tenant)
    product = await one.product(source.tenant, "orders", "orders")
    await one.take(source.record("again", 9, tables=TABLES, columns=COLUMNS))
    assert await stored(one, source.tenant) == WHOLE
    assert (await one.stats(source.tenant))[product].query_count_30d == 1


async def test_replicas_that_know_a_pattern_add_its_columns_up(platform: Platform) -> None:
    async with replicas(platform, 2) as (first, second):
        source = await described(first)
        names = {"id": first, "total": second, "status": first}
        for number in range(2):
            for name, replica in names.items():
                event = source.record(f"{name}{number}", tables=TABLES, columns=[(TABLES[0], name)])
                await replica.take(event)
        assert await stored(first, source.tenant) == WHOLE | {"pattern_column": 3}


async def test_executions_that_are_known_and_new_ones_are_stored_together(one: Harness) -> None:
    source = Source()
    await one.take(source.record("known", 1, executed_by="ann"), source.record("other", 2))
    await one.take(source.record("known", 3, executed_by="bob"), source.record("new", 4))
    rows = await one.admin.fetch(
        "SELECT resource_id, job_seq, executed_by FROM aggregator.query_log WHERE tenant_id = $1 ORDER BY 1",
        source.tenant,
    )
    assert [tuple(row) for row in rows] == [("known", 3, "bob"), ("new", 4, None), ("other", 2, None)]
