"""Mining the counters of every supported PostgreSQL before the one of the local stack."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest

from libs.common.connectors import PostgresSettings
from services.log_miner.warehouses.interface import Batch, Execution, Position, WarehouseError
from services.log_miner.warehouses.postgres import Postgres
from tests.real.postgres_versions import TOO_OLD, VERSIONS, older_server, runs_here
from tests.support.mining import Warehouse, fresh_warehouse

pytestmark = pytest.mark.skipif(not runs_here(), reason="older servers are pinned for Linux on amd64")


@pytest.fixture(scope="module", params=VERSIONS)
async def warehouse(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Warehouse]:
    async with (
        older_server(request.param, tmp_path_factory.mktemp("server")) as server,
        fresh_warehouse(server.dsn()) as fresh,
    ):
        yield fresh


async def resolve(host: str, _port: int) -> str:
    return host


def miner(warehouse: Warehouse) -> Postgres:
    return Postgres(PostgresSettings.model_validate(warehouse.settings(mode="statements")), resolve)


async def mine(warehouse: Warehouse, cursor: dict[str, Position]) -> tuple[list[Execution], str]:
    """Executions since the cursor, which moves, and warnings."""
    batches: list[Batch] = []
    async with miner(warehouse).open() as log:
        batches = [batch async for batch in log.batches(cursor, None)]
    for batch in batches:
        cursor |= {name: position for name, position in batch.cursor.items() if position is not None}
    return [each for batch in batches for each in batch.executions], "\n".join(batches[0].warnings)


async def version_of(warehouse: Warehouse) -> int:
    connection = await asyncpg.connect(warehouse.url)
    number: int = await connection.fetchval("SELECT current_setting('server_version_num')::int / 10000")
    await connection.close()
    return number


async def test_counters_of_each_version(warehouse: Warehouse) -> None:
    version = await version_of(warehouse)
    admin = await asyncpg.connect(warehouse.url)
    await admin.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE t (a int, b text)")
    await admin.execute("GRANT SELECT, INSERT ON t TO PUBLIC")
    assert [step.detail async for step in miner(warehouse).check() if not step.ok] == []
    kept: dict[str, Position] = {}
    _, warnings = await mine(warehouse, kept)
    assert "baseline" in warnings

    users = [await warehouse.login(name) for name in ("ada", "bob")]

    async def work(times: int) -> None:
        for user in users:
            connection = await warehouse.connect(user)
            for number in range(times):
                await connection.execute(f"/* by hand */ SELECT a FROM t WHERE a IN ({number}, 2) AND b = 'x'")
                await connection.fetch("INSERT INTO t VALUES ($1, 'y')", number)
            await connection.execute("PREPARE q AS SELECT b FROM t")
            for _ in range(times):
                await connection.execute("EXECUTE q")
            await connection.close()

    await work(2)
    first, _ = await mine(warehouse, kept)
    await work(3)
    second, _ = await mine(warehouse, kept)
    await work(1)
    await admin.execute("SELECT pg_stat_statements_reset()")
    await work(4)
    third, warnings = await mine(warehouse, kept)
    assert ("reset at" if version >= 14 else "some counters were reset") in warnings

    def counted(found: list[Execution]) -> Counter[str | None]:
        return sum((Counter({each.user: each.count}) for each in found if each.user in users), Counter())

    print(
        f"VERSION postgres={version} statements={len(first)} first={counted(first).total()}"
        f" second={counted(second).total()} after_reset={counted(third).total()}"
    )
    for found, times in ((first, 2), (second, 3), (third, 4)):
        assert counted(found) == Counter(dict.fromkeys(users, 3 * times)), [each.statement for each in found]
        assert isinstance(found[0].executed_at, datetime)
    assert not any("tidemark" in each.statement for each in first + second + third)

    for number in range(1, 400):
        await admin.execute(f"SELECT {', '.join(['a'] * number)} FROM t")
    await admin.close()
    _, warnings = await mine(warehouse, kept)
    assert ("lower bounds" in warnings) is (version >= 14)


async def test_what_is_too_old_is_refused(tmp_path: Path) -> None:
    async with older_server(TOO_OLD, tmp_path) as server:
        warehouse = Warehouse(server.dsn(), "postgres", "postgres", server.password)
        (failed,) = [step async for step in miner(warehouse).check() if not step.ok]
        with pytest.raises(WarehouseError, match="from Postgres 13 on"):
            await mine(warehouse, {})
    assert failed.step == "server version"
    assert failed.detail.startswith("The server is Postgres 12.22;")
