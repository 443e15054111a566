"""Mining pg_stat_statements of real servers: counts per user, resets, lack of room, rights, change of the source."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from deploy.local.artifacts import ArtifactStore
from deploy.local.infrastructure import remove_state
from deploy.local.ports import free_port
from deploy.local.postgres import WAREHOUSE_SETTINGS, PostgresCluster
from deploy.local.settings import LocalSettings
from libs.common.events import BiQueryScraped
from services.log_miner.app import build
from tests.support.csvlog import logged
from tests.support.mining import (
    Answer,
    Client,
    Ledger,
    Warehouse,
    administrator,
    following,
    fresh_warehouse,
    miner_settings,
    register,
    serving,
)
from tests.support.platform import Platform
from tests.support.servers import Servers

SECRET = "top-secret-4711"


@pytest.fixture
async def warehouse(servers: Servers) -> AsyncIterator[Warehouse]:
    async with fresh_warehouse(servers.warehouse) as fresh:
        await prepare(fresh)
        yield fresh


async def prepare(warehouse: Warehouse) -> None:
    """A table for everybody, and the extension."""
    async with administrator(warehouse.url) as admin:
        await admin.execute("CREATE EXTENSION pg_stat_statements")
        await admin.execute("CREATE TABLE t AS SELECT g AS a, 'b' || g AS b FROM generate_series(1, 100) g")
        await admin.execute("GRANT SELECT, INSERT ON t TO PUBLIC")


@pytest.fixture(scope="module")
async def url(platform: Platform) -> AsyncIterator[str]:
    async with serving(build(miner_settings(platform))) as address:
        yield address


@pytest.fixture(scope="module")
async def ledger(platform: Platform) -> AsyncIterator[Ledger]:
    async with following(platform) as kept:
        yield kept


@pytest.fixture
def client(platform: Platform, url: str) -> Client:
    return Client(platform, url, uuid4())


async def mine(client: Client, warehouse: Warehouse, connector: UUID) -> Answer:
    await logged(warehouse.url)
    path = f"/connectors/{connector}/query-log-mining"
    return await client("POST", path, {"Prefer": "wait=280"}, connector=connector)


async def job(client: Client, answer: Answer) -> dict[str, object]:
    body: dict[str, object] = (await client("GET", answer.headers["Location"])).body
    return body


async def warnings(client: Client, answer: Answer) -> str:
    return "\n".join((await job(client, answer))["warnings"])  # type: ignore[arg-type]


def records(ledger: Ledger, answer: Answer) -> list[BiQueryScraped]:
    return list(ledger.of(UUID(answer.headers["Location"].rpartition("/")[2])).values())


def counts(found: list[BiQueryScraped]) -> Counter[tuple[str | None, str | None]]:
    summed: Counter[tuple[str | None, str | None]] = Counter()
    for record in found:
        summed[record.executed_by, record.sql_text] += record.execution_count
    return summed


async def work(warehouse: Warehouse, user: str, times: int = 1) -> dict[str, int]:
    """Statements of every kind; how often each must be counted."""
    connection = await warehouse.connect(user)
    for number in range(times):
        await connection.execute(f"/* user: mallory */ SELECT a FROM t WHERE b = '{SECRET}' -- user: mallory")
        await connection.execute("select a   from t where a in (1, 2, 3)")
        await connection.fetch("SELECT b FROM t WHERE b = $1 AND a > $2", SECRET, number)
        await connection.execute(f"BEGIN; SELECT b FROM t WHERE b <> '{SECRET}' LIMIT 1; COMMIT")
        await connection.execute("COPY t TO STDOUT")
        await connection.execute("INSERT INTO t SELECT a + 1, b FROM t WHERE a = 1")
        for utility in ("SET work_mem = '4MB'", "SHOW work_mem", "EXPLAIN SELECT a FROM t"):
            await connection.execute(utility)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.execute("SELECT a / 0 FROM t")
    await connection.execute(f"PREPARE q(int) AS SELECT a FROM t WHERE a = $1 AND b <> '{SECRET}'")
    for _ in range(2 * times):
        await connection.execute("EXECUTE q(1)")
    await connection.close()
    return {
        "SELECT a FROM t WHERE b = ?": times,
        "select a from t where a in (?)": times,
        "SELECT b FROM t WHERE b = ? AND a > ?": times,
        "SELECT b FROM t WHERE b <> ? LIMIT ?": times,
        "COPY t TO STDOUT": times,
        "INSERT INTO t SELECT a + ?, b FROM t WHERE a = ?": times,
        "SELECT a FROM t WHERE a = ? AND b <> ?": 2 * times,
    }


async def test_what_ran_between_two_snapshots_counts_for_its_users(
    platform: Platform, client: Client, warehouse: Warehouse, ledger: Ledger
) -> None:
    ada, bob, eve = [await warehouse.login(name) for name in ("ada", "bob", "eve")]
    connector = await register(
        platform, client.tenant, warehouse.settings(mode="statements", exclude_users=[eve, "postgres"])
    )
    await work(warehouse, ada)

    first = await mine(client, warehouse, connector)
    assert first.body == {"rows_upserted": 0}
    assert "baseline" in await warnings(client, first)

    wanted = [await work(warehouse, user, times) for user, times in ((ada, 2), (bob, 3), (eve, 1))]
    began = datetime.now(UTC)
    second = await mine(client, warehouse, connector)
    found = records(ledger, second)

    counted = counts(found)
    expected: Counter[tuple[str | None, str | None]] = Counter({(ada, text): n for text, n in wanted[0].items()})
    expected |= Counter({(bob, text): n for text, n in wanted[1].items()})
    own = [record.sql_text for record in found if record.executed_by == warehouse.miner]
    print(
        f"STATEMENTS executions={sum(expected.values())} lost={(expected - counted).total()}"
        f" extra={(counted - expected).total()} secrets={SECRET in repr(found)} own={len(own)}"
    )
    assert counted == expected
    assert SECRET not in repr(found)
    assert {record.executed_at for record in found} == {found[0].executed_at}
    assert found[0].executed_at is not None
    assert began - timedelta(seconds=30) < found[0].executed_at < datetime.now(UTC)
    assert len({record.resource_id for record in found}) == len(found)
    assert {table.name for record in found for table in record.tables} >= {(warehouse.database, "public", "t")}
    assert "nothing is claimed of shorter times" in await warnings(client, second)

    assert (await mine(client, warehouse, connector)).body == {"rows_upserted": 0}


async def test_resets_of_some_counters_lose_nothing_that_ran_after_them(
    platform: Platform, client: Client, warehouse: Warehouse, ledger: Ledger
) -> None:
    ada = await warehouse.login("ada")
    connector = await register(platform, client.tenant, warehouse.settings(mode="statements"))
    await work(warehouse, ada, 5)
    await mine(client, warehouse, connector)
    async with administrator(warehouse.url) as admin:
        # Others use this server: only the rows of this database are reset.
        await admin.execute(
            "SELECT pg_stat_statements_reset(0, (SELECT oid FROM pg_database WHERE datname = current_database()), 0)"
        )
    wanted = await work(warehouse, ada, 7)
    answer = await mine(client, warehouse, connector)
    counted = counts([record for record in records(ledger, answer) if record.executed_by == ada])
    assert counted == Counter({(ada, text): times for text, times in wanted.items()})


async def test_missing_rights_are_named_and_what_is_hidden_is_counted(
    platform: Platform, client: Client, servers: Servers, ledger: Ledger
) -> None:
    async with fresh_warehouse(servers.warehouse) as warehouse:
        nobody = await warehouse.login("nobody")
        ada = await warehouse.login("ada")
        connector = await register(platform, client.tenant, warehouse.settings(mode="statements", username=nobody))

        async def first_fix() -> str:
            check = (await client("POST", f"/connectors/{connector}/test", connector=connector)).body
            fixes = [step["fix"] for step in check["steps"] if not step["ok"]]
            return fixes[0] if fixes else ""

        refused = await mine(client, warehouse, connector)
        assert (refused.status, refused.body["cause"]) == (502, "missing_right")
        assert "CREATE EXTENSION pg_stat_statements" in refused.body["detail"]
        assert (await first_fix()).startswith("CREATE EXTENSION pg_stat_statements;")
        await prepare(warehouse)

        assert await first_fix() == f"GRANT pg_read_all_stats TO {nobody};"
        await mine(client, warehouse, connector)
        await work(warehouse, ada)
        hidden = await mine(client, warehouse, connector)
        assert [r for r in records(ledger, hidden) if r.executed_by == ada] == []
        assert "statements of other roles were not shown (<insufficient privilege>)" in await warnings(client, hidden)

        async with administrator(warehouse.url) as admin:
            await admin.execute(await first_fix())
        assert await first_fix() == ""
        shown = await mine(client, warehouse, connector)
        assert [r for r in records(ledger, shown) if r.executed_by == ada] == []
        wanted = await work(warehouse, ada)
        counted = counts([r for r in records(ledger, await mine(client, warehouse, connector)) if r.executed_by == ada])
        assert counted == Counter({(ada, text): times for text, times in wanted.items()})


async def test_auto_changes_its_source_without_counting_twice(
    platform: Platform, client: Client, warehouse: Warehouse, ledger: Ledger
) -> None:
    """A role that may not read the log has counters read; once it may, the log goes on where they ended."""
    ada = await warehouse.login("ada")
    miner = await warehouse.login("counting", grants="GRANT pg_read_all_stats")
    connector = await register(platform, client.tenant, warehouse.settings(username=miner))
    check = (await client("POST", f"/connectors/{connector}/test", connector=connector)).body
    assert (check["ok"], check["steps"][-1]["step"]) == (True, "choose source")

    wanted: Counter[str | None] = Counter()
    found: Counter[str | None] = Counter()

    async def turn(how: str) -> None:
        wanted.update(await work(warehouse, ada, 2))
        answer = await mine(client, warehouse, connector)
        assert answer.status == 200
        assert ("pg_stat_statements is read" in await warnings(client, answer)) is (how == "statements")
        for record in records(ledger, answer):
            if record.executed_by in (ada, "mallory"):  # the log's comments name users
                found[record.sql_text] += record.execution_count

    assert (await mine(client, warehouse, connector)).body == {"rows_upserted": 0}
    await turn("statements")
    await turn("statements")
    async with administrator(warehouse.url) as admin:
        await admin.execute(f"GRANT pg_monitor TO {miner}")
        await admin.execute(
            f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO {miner}"
        )
    await turn("csvlog")
    await turn("csvlog")
    # The log has several statements of one message as one line.
    found["SELECT b FROM t WHERE b <> ? LIMIT ?"] += found.pop("BEGIN; SELECT b FROM t WHERE b <> ? LIMIT ?; COMMIT")
    print(f"SOURCES executions={wanted.total()} lost={(wanted - found).total()} twice={(found - wanted).total()}")
    assert found == wanted


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[PostgresCluster]:
    """A server of its own with room for a hundred statements, the least there is."""
    settings = {**WAREHOUSE_SETTINGS, "pg_stat_statements.max": "100", "max_connections": "20"}
    artifacts = ArtifactStore(LocalSettings(state_dir=tmp_path).artifacts_dir)
    server = PostgresCluster("small", tmp_path / "log", free_port(), tmp_path, uuid4().hex, artifacts, settings)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        remove_state(tmp_path)


async def test_lack_of_room_resets_and_a_server_that_counts_nothing(
    platform: Platform, client: Client, cluster: PostgresCluster, ledger: Ledger
) -> None:
    async with fresh_warehouse(cluster.dsn()) as warehouse:
        await prepare(warehouse)
        ada = await warehouse.login("ada")
        connector = await register(platform, client.tenant, warehouse.settings(mode="statements"))
        await mine(client, warehouse, connector)

        connection = await warehouse.connect(ada)
        for number in range(1, 301):
            await connection.execute(f"SELECT {', '.join(['a'] * number)} FROM t")
        answer = await mine(client, warehouse, connector)
        counted = counts([record for record in records(ledger, answer) if record.executed_by == ada]).total()
        print(f"EVICTION ran=300 counted={counted}")
        assert 0 < counted < 300
        assert "lower bounds" in await warnings(client, answer)

        async with administrator(warehouse.url) as admin:
            await admin.execute("SELECT pg_stat_statements_reset()")
        await connection.execute("SELECT b FROM t")
        await connection.close()
        answer = await mine(client, warehouse, connector)
        assert counts(records(ledger, answer))[ada, "SELECT b FROM t"] == 1
        assert "the counters were reset at" in await warnings(client, answer)

        await cluster.stop()
        cluster.settings = {**cluster.settings, "shared_preload_libraries": ""}
        await cluster.start()
        check = (await client("POST", f"/connectors/{connector}/test", connector=connector)).body
        (failed,) = [step for step in check["steps"] if not step["ok"]]
        assert "shared_preload_libraries" in failed["fix"]
        assert "shared_preload_libraries" in (await mine(client, warehouse, connector)).body["detail"]
