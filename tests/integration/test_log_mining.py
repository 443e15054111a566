"""Mining a real Postgres log: what is counted, for whom and when; what goes wrong and what it is called."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.log_miner.app import build
from tests.support.csvlog import begin_file, logged
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
from tests.support.processes import eventually
from tests.support.servers import Servers

SECRET = "top-secret-4711"


@pytest.fixture
async def warehouse(servers: Servers) -> AsyncIterator[Warehouse]:
    async with fresh_warehouse(servers.warehouse) as fresh:
        yield fresh


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


async def mine(
    client: Client, warehouse: Warehouse, connector: UUID, prefer: str = "wait=280", key: str = ""
) -> Answer:
    await logged(warehouse.url)
    headers = {"Prefer": prefer} | ({"Idempotency-Key": key} if key else {})
    return await client("POST", f"/connectors/{connector}/query-log-mining", headers, connector=connector)


def job_of(answer: Answer) -> UUID:
    return UUID(answer.headers["Location"].rpartition("/")[2])


async def work_of_a_day(warehouse: Warehouse, user: str) -> dict[str, int]:
    """Statements of every kind; how often each must be counted."""
    connection = await warehouse.connect(user)
    for number in range(3):
        await connection.execute(f"SELECT a FROM t WHERE b = '{SECRET}' AND a = {number}")
    await connection.fetch("SELECT b FROM t WHERE b = $1 AND a > $2", SECRET, 4711)
    by_name = await connection.prepare("SELECT count(*) FROM t WHERE a = $1")
    for number in range(4):
        await by_name.fetch(number)
    async with connection.transaction():
        async for _ in connection.cursor("SELECT a FROM t ORDER BY a", prefetch=10):
            pass
    for statement in ("BEGIN", "DECLARE c CURSOR FOR SELECT b FROM t", "FETCH 5 FROM c", "FETCH 5 FROM c", "COMMIT"):
        await connection.execute(statement)
    await connection.execute("BEGIN; SELECT b FROM t LIMIT 1; COMMIT")
    await connection.execute(f"PREPARE q(int) AS SELECT a FROM t WHERE a = $1 AND b <> '{SECRET}'")
    await connection.execute("EXECUTE q(1)")
    await connection.execute("EXECUTE q(2)")
    await connection.execute("COPY t TO STDOUT")
    await connection.execute("INSERT INTO t SELECT a + 1, b FROM t WHERE a = 1")
    for failing in ("SELECT * FROM missing", "SELECT 1/0 FROM t"):
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute(failing)
    for utility in ("SET work_mem = '4MB'", "SHOW work_mem", "BEGIN", "COMMIT", "EXPLAIN SELECT a FROM t", "ANALYZE t"):
        await connection.execute(utility)
    await connection.close()
    return {
        "SELECT a FROM t WHERE b = ? AND a = ?": 3,
        "SELECT b FROM t WHERE b = ? AND a > ?": 1,
        "SELECT count(*) FROM t WHERE a = ?": 4,
        "SELECT a FROM t ORDER BY a": 1,
        "DECLARE c CURSOR FOR SELECT b FROM t": 1,
        "BEGIN; SELECT b FROM t LIMIT ?; COMMIT": 1,
        "SELECT a FROM t WHERE a = ? AND b <> ?": 2,
        "COPY t TO STDOUT": 1,
        "INSERT INTO t SELECT a + ?, b FROM t WHERE a = ?": 1,
    }


async def table_of(warehouse: Warehouse) -> None:
    async with administrator(warehouse.url) as admin:
        await admin.execute("CREATE TABLE t AS SELECT g AS a, 'b' || g AS b FROM generate_series(1, 100) g")
        await admin.execute("GRANT SELECT, INSERT ON t TO PUBLIC; GRANT MAINTAIN ON t TO PUBLIC")


async def test_each_execution_counts_once_for_its_user(
    platform: Platform, client: Client, warehouse: Warehouse, ledger: Ledger
) -> None:
    await table_of(warehouse)
    users = [await warehouse.login(name) for name in ("ada", "bob", "eve")]
    began = datetime.now(UTC)
    wanted = (await asyncio.gather(*(work_of_a_day(warehouse, user) for user in users)))[0]
    ended = datetime.now(UTC)
    connector = await register(platform, client.tenant, warehouse.settings(exclude_users=[users[2]]))

    answer = await mine(client, warehouse, connector)

    records = ledger.of(job_of(answer)).values()
    counted = Counter((record.executed_by or "", record.sql_text or "") for record in records)
    expected = {(user, text): times for user in users[:2] for text, times in wanted.items() if times}
    missing, extra = Counter(expected) - counted, counted - Counter(expected)
    print(
        f"MINING counted={counted.total()} expected={sum(expected.values())} users={len(users) - 1}"
        f" missing={missing.total()} extra={extra.total()}"
    )
    assert counted == expected
    assert (answer.status, answer.body) == (200, {"rows_upserted": sum(expected.values())})
    assert all(began <= (record.executed_at or began - timedelta(1)) <= ended for record in records)
    assert {table.name for record in records for table in record.tables} == {(warehouse.database, "public", "t")}
    assert len({record.resource_id for record in records}) == len(records)
    assert SECRET not in "".join(record.model_dump_json() for record in ledger.records)

    assert (await mine(client, warehouse, connector)).body == {"rows_upserted": 0}
    connection = await warehouse.connect(users[0])
    await connection.execute("TABLE t")
    await connection.close()
    assert (await mine(client, warehouse, connector)).body == {"rows_upserted": 1}


async def test_rotation_loses_nothing(platform: Platform, client: Client, warehouse: Warehouse, ledger: Ledger) -> None:
    ada = await warehouse.login("ada")
    connector = await register(platform, client.tenant, warehouse.settings())
    connection, admin = await warehouse.connect(ada), await asyncpg.connect(warehouse.url)
    await admin.execute("SET log_min_duration_statement = -1")
    seen = 0
    for number in range(4):
        await connection.execute(f"SELECT {number}, 'in file {number}\nline two'")
        if number % 2:
            await begin_file(admin)
            await connection.execute("SELECT 'after the rotation'")
        if number:
            seen += (await mine(client, warehouse, connector)).body["rows_upserted"]
    seen += (await mine(client, warehouse, connector)).body["rows_upserted"]
    await connection.close()
    await admin.close()
    print(f"ROTATION statements=6 mined={seen}")
    assert seen == 6


async def foreign_log(warehouse: Warehouse) -> str:
    """A foreign table over a csvlog begun for it, as an administrator sets it up; returns its name."""
    admin = await asyncpg.connect(warehouse.url)
    await admin.execute("SET log_min_duration_statement = -1")
    path = await begin_file(admin)
    await admin.execute(
        "CREATE EXTENSION file_fdw; CREATE SERVER logs FOREIGN DATA WRAPPER file_fdw; CREATE SCHEMA log"
    )
    columns = """log_time timestamptz(3), user_name text, database_name text, process_id int, connection_from text,
        session_id text, session_line_num bigint, command_tag text, session_start_time timestamptz,
        virtual_transaction_id text, transaction_id bigint, error_severity text, sql_state_code text, message text,
        detail text, hint text, internal_query text, internal_query_pos int, context text, query text, query_pos int,
        location text, application_name text, backend_type text, leader_pid int, query_id bigint"""
    await admin.execute(
        f"CREATE FOREIGN TABLE log.csv ({columns}) SERVER logs OPTIONS (filename '{path}', format 'csv')"
    )
    await admin.close()
    return "log.csv"


async def test_a_foreign_table_counts_the_same(
    platform: Platform, client: Client, warehouse: Warehouse, ledger: Ledger
) -> None:
    await table_of(warehouse)
    table = await foreign_log(warehouse)
    reader = await warehouse.login("reader", grants=f"GRANT USAGE ON SCHEMA log; GRANT SELECT ON {table}")
    ada = await warehouse.login("ada")
    wanted = await work_of_a_day(warehouse, ada)
    by_file = await register(platform, client.tenant, warehouse.settings(exclude_users=[reader]))
    # `auto` falls back to the table, since this role may not read files.
    by_table = await register(platform, client.tenant, warehouse.settings(username=reader, log_table=table))
    answers = [await mine(client, warehouse, by_file), await mine(client, warehouse, by_table)]
    first, second = (
        sorted((r.resource_id, r.sql_text, r.executed_by, r.executed_at) for r in ledger.of(job_of(answer)).values())
        for answer in answers
    )
    print(f"READERS files={len(first)} table={len(second)} expected={sum(wanted.values())}")
    assert first == second
    assert len(first) == sum(wanted.values())
    assert (await mine(client, warehouse, by_table)).body == {"rows_upserted": 0}


async def test_missing_rights_are_named_with_what_grants_them(
    platform: Platform, client: Client, warehouse: Warehouse
) -> None:
    nobody = await warehouse.login("nobody")
    connector = await register(platform, client.tenant, warehouse.settings(username=nobody))
    failed = await mine(client, warehouse, connector)
    assert (failed.status, failed.body["code"], failed.body["cause"]) == (502, "mining_failed", "missing_right")
    assert failed.body["job"] == failed.headers["Location"]
    assert "GRANT pg_monitor" in failed.body["detail"]

    granted: list[str] = []
    admin = await asyncpg.connect(warehouse.url)
    while True:
        check = (await client("POST", f"/connectors/{connector}/test", connector=connector)).body
        missing = [step for step in check["steps"] if not step["ok"]]
        if not missing:
            break
        assert check["ok"] is False
        granted.append(missing[0]["fix"].partition(";")[0])
        await admin.execute(granted[-1])
    await admin.close()
    print(f"RIGHTS granted={len(granted)}")
    assert len(granted) == 2
    assert (await mine(client, warehouse, connector)).status == 200


async def test_a_log_table_that_may_not_be_read_is_named(
    platform: Platform, client: Client, warehouse: Warehouse
) -> None:
    table = await foreign_log(warehouse)
    nobody = await warehouse.login("nobody")
    settings = warehouse.settings(username=nobody, log_reader="file_fdw")
    connector = uuid4()

    async def first_failure(version: int, **changes: object) -> dict[str, str]:
        await register(platform, client.tenant, settings | changes, version=version, connector_id=connector)
        path = f"/connectors/{connector}/test"
        check = (await client("POST", path, connector=connector, version=version)).body
        failures: list[dict[str, str]] = [step for step in check["steps"] if not step["ok"]]
        return failures[0]

    assert "file_fdw" in (await first_failure(1))["fix"]
    admin = await asyncpg.connect(warehouse.url)
    for version in (2, 3):  # the schema, then the table
        await admin.execute((await first_failure(version, log_table=table))["fix"])
    await admin.close()
    with pytest.raises(IndexError):
        await first_failure(4, log_table=table)
    assert "no table log.other" in (await first_failure(5, log_table="log.other"))["detail"]


@pytest.mark.parametrize(
    ("changes", "cause", "step"),
    [
        ({"password": "wrong"}, "wrong_password", "authenticate"),
        ({"username": "nobody_at_all"}, "wrong_password", "authenticate"),
        ({"database": "no_such_database"}, "unknown_database", "authenticate"),
        ({"host": "no-such-host.invalid"}, "host_not_found", "resolve host"),
        ({"port": 1}, "refused", "connect"),
        ({"host": "10.255.255.1"}, "egress_refused", "resolve host"),
        ({"host": "169.254.169.254"}, "egress_refused", "resolve host"),
        ({"ssl_mode": "require"}, "tls_refused", "authenticate"),
        ({"ssl_mode": "verify-full"}, "tls_refused", "authenticate"),
    ],
)
async def test_a_warehouse_that_cannot_be_used_is_told_apart(
    platform: Platform, client: Client, warehouse: Warehouse, changes: dict[str, object], cause: str, step: str
) -> None:
    connector = await register(platform, client.tenant, warehouse.settings(**changes))
    failed = await client("POST", f"/connectors/{connector}/query-log-mining", connector=connector)
    assert (failed.status, failed.body["code"], failed.body["cause"]) == (502, "mining_failed", cause)
    job = (await client("GET", failed.headers["Location"])).body
    assert (job["state"], job["error"]["code"], job["error"]["message"]) == ("failed", cause, failed.body["detail"])
    steps = (await client("POST", f"/connectors/{connector}/test", connector=connector)).body["steps"]
    assert ([s["step"] for s in steps if not s["ok"]], steps[-1]["step"]) == ([step], step)
    assert warehouse.password not in f"{failed}{job}{steps}"


async def test_a_job_is_followed_listed_and_hidden_from_others(
    platform: Platform, client: Client, warehouse: Warehouse, ledger: Ledger
) -> None:
    connector = await register(platform, client.tenant, warehouse.settings())
    ledger.answering = False
    try:
        started = await mine(client, warehouse, connector, "respond-async", "once")
        again = await mine(client, warehouse, connector, "wait=1", "once")
        other = await mine(client, warehouse, connector)
    finally:
        ledger.answering = True
    assert (started.status, started.body["state"] in ("pending", "running")) == (202, True)
    assert (again.status, again.headers["Location"]) == (202, started.headers["Location"])
    assert (other.status, other.body["code"], other.body["job"]["id"]) == (409, "already_mining", started.body["id"])

    stranger = Client(platform, client.url, uuid4())
    path = started.headers["Location"]
    assert (await stranger("GET", path)).status == 404
    assert (await stranger("POST", f"{path}/cancel")).status == 404
    assert (await stranger("GET", f"/connectors/{connector}/mining-jobs")).status == 404

    assert (await client("POST", f"{path}/cancel")).status == 200

    async def cancelled() -> bool:
        return bool((await client("GET", path)).body["state"] == "cancelled")

    await eventually(cancelled)
    assert (await client("POST", f"{path}/cancel")).status == 200
    done = await mine(client, warehouse, connector)
    assert done.status == 200
    over = await client("POST", f"{done.headers['Location']}/cancel")
    assert (over.status, over.body["code"]) == (409, "job_is_over")

    page = (await client("GET", f"/connectors/{connector}/mining-jobs?limit=1", connector=connector)).body
    assert [job["state"] for job in page["items"]] == ["completed"]
    rest = f"/connectors/{connector}/mining-jobs?limit=5&cursor={page['next_cursor']}"
    last = (await client("GET", rest, connector=connector)).body
    assert ([job["state"] for job in last["items"]], last["next_cursor"]) == (["cancelled"], None)


async def test_what_cannot_be_mined_is_refused(platform: Platform, client: Client, warehouse: Warehouse) -> None:
    superset = await register(platform, client.tenant, {"type": "superset"})
    refused = await mine(client, warehouse, superset)
    assert (refused.status, refused.body["code"]) == (400, "not_a_warehouse")
    assert "postgres" in refused.body["detail"]
    assert (await client("POST", f"/connectors/{uuid4()}/query-log-mining")).status == 404
    assert (await client("POST", "/connectors/x/query-log-mining")).status == 422
    assert (await client("GET", "/mining-jobs/x")).status == 422
    assert (await client("GET", f"/mining-jobs/{uuid4()}")).status == 404
    known = await register(platform, client.tenant, warehouse.settings())
    assert (await mine(client, warehouse, known, "wait=x")).status == 400
    listed = await client("GET", f"/connectors/{known}/mining-jobs?cursor=x", connector=known)
    assert listed.status == 422
