"""MySQL's protocol against a real MariaDB 11.4: the session alone, with no parser in front of it, then both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest

from deploy.local.mariadb import ADMIN, MariaDb
from deploy.local.query_samples import DATABASE, READER, as_administrator
from services.query_executor.drivers import Limits
from services.query_executor.drivers.mysql import maker
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.source import Pooling, Source
from services.query_executor.errors import ConnectorError, QueryError, QueryExecutionError, QueryTimeout
from services.query_executor.statement import Bind, Bound, Engine
from tests.real.conftest import READER_PASSWORD
from tests.support import query_drivers
from tests.support.processes import eventually
from tests.support.query_drivers import (
    HOSTILE,
    any_texts,
    bare,
    dial,
    proved,
    quoted,
    refused_by_the_parser,
    result_of,
    rows_of,
)

pytestmark = pytest.mark.real


def statement(*pieces: str | Bind) -> Bound:
    return query_drivers.statement(Engine.MYSQL, *pieces)


def value(server: MariaDb, **changes: Any) -> dict[str, Any]:
    known = {"host": "127.0.0.1", "port": server.port, "database": DATABASE}
    return known | {"username": READER, "password": READER_PASSWORD} | changes


def source(server: MariaDb, version: int = 1, secret: Any = None, ssl_mode: str = "prefer", **changes: Any) -> Source:
    return query_drivers.source(Engine.MYSQL, value(server, **changes), version, secret, ssl_mode=ssl_mode)


@pytest.fixture
async def drivers() -> AsyncIterator[Drivers]:
    found = Drivers({Engine.MYSQL: maker(dial, Pooling(2, 0.5))}, limit=8)
    yield found
    await found.close()


@pytest.fixture
def reader(mariadb: MariaDb) -> Source:
    return source(mariadb)


@pytest.fixture
def powerful(mariadb: MariaDb) -> Source:
    """A secret of somebody whom no right holds back."""
    return source(mariadb, username=ADMIN, password=mariadb.password)


REFUSED = [
    ("CREATE TABLE x (a int)", 1792),
    ("DROP TABLE sales", 1792),
    ("TRUNCATE TABLE sales", 1792),
    ("ALTER TABLE sales ADD x int", 1792),
    ("INSERT INTO sales (id) VALUES (9)", 1792),
    ("REPLACE INTO sales (id) VALUES (9)", 1792),
    ("UPDATE sales SET id = id + 10", 1792),
    ("DELETE FROM sales", 1792),
    ("GRANT ALL ON *.* TO 'reader'@'127.0.0.1'", 1792),
    ("CREATE TEMPORARY TABLE x (a int)", 1792),
    ("SELECT * FROM sales FOR UPDATE", 1792),
    ("CALL writes()", 1792),
    ("SELECT writes_too()", 1792),
    ("LOCK TABLES sales WRITE", 1792),
    ("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE sales", 1792),
    ("PREPARE p FROM 'DELETE FROM sales'", 1295),
    ("SELECT 1; DELETE FROM sales", 1064),
    ("SELECT 1; COMMIT; DELETE FROM sales", 1064),
]
# The session lets these through, as an administrator at least; the parser has to hold them back.
PARSERS = [
    "COMMIT",
    "SELECT nextval(numbers)",
    "SET SESSION TRANSACTION READ WRITE",
    "SET @v = 1",
    "SELECT @v := 1",
    "SELECT 1 INTO @v",
    "SELECT * FROM sales INTO OUTFILE '/tmp/tidemark-never-written'",
    "SELECT 1 INTO DUMPFILE '/tmp/tidemark-never-written'",
    "SELECT load_file('/etc/passwd')",
    "SELECT sleep(0)",
    "SELECT benchmark(1, 1)",
    "SELECT get_lock('x', 0)",
    "SELECT release_all_locks()",
    "DO 1",
    "SELECT * FROM sales LOCK IN SHARE MODE",
    "SELECT * FROM information_schema.processlist",
    "SELECT /*!50000 sleep(0) */",
    "SELECT /*M!100000 sleep(0) */",
    "ANALYZE SELECT 1",
    "FLUSH STATUS",
    "SET GLOBAL max_connections = 151",
    "KILL QUERY 0",
    "HANDLER sales OPEN",
    "SHUTDOWN",
]


@pytest.fixture(scope="module", autouse=True)
async def routines(mariadb: MariaDb) -> None:
    await as_administrator(
        mariadb,
        "CREATE OR REPLACE SEQUENCE numbers",
        "CREATE OR REPLACE PROCEDURE writes() DELETE FROM sales",
        "CREATE OR REPLACE FUNCTION writes_too() RETURNS int BEGIN DELETE FROM sales; RETURN 1; END",
        database=DATABASE,
    )


@pytest.mark.parametrize(("text", "errno"), REFUSED)
async def test_the_session_alone_refuses_to_write(
    drivers: Drivers, mariadb: MariaDb, powerful: Source, text: str, errno: int
) -> None:
    with pytest.raises(QueryExecutionError) as refused:
        await rows_of(drivers, powerful, statement(text))
    assert refused.value.details["errno"] == errno
    assert await as_administrator(mariadb, f"SELECT count(*), sum(id) FROM {DATABASE}.sales") == [(4, 10)]


@pytest.mark.parametrize("text", PARSERS)
async def test_what_the_session_lets_through_the_parser_refuses(text: str) -> None:
    refused_by_the_parser(Engine.MYSQL, text)


@pytest.mark.parametrize(
    "text", ["COMMIT", "SET SESSION TRANSACTION READ WRITE", "SET autocommit = 1", "SET sql_mode = 'ANSI_QUOTES'"]
)
async def test_what_opens_a_session_opens_no_later_one(drivers: Drivers, powerful: Source, text: str) -> None:
    with suppress(QueryError):
        await rows_of(drivers, powerful, statement(text))
    with pytest.raises(QueryExecutionError):
        await rows_of(drivers, powerful, statement("INSERT INTO sales (id) VALUES (9)"))
    state = await rows_of(drivers, powerful, statement("SELECT @@tx_read_only, @@sql_mode"))
    assert state == [(1, "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION")]


async def test_a_session_leaves_nothing_to_the_next(drivers: Drivers, mariadb: MariaDb, reader: Source) -> None:
    await rows_of(drivers, reader, statement("SELECT @mark := 'left', get_lock('left_behind', 0)"))
    ((mark, number),) = await rows_of(drivers, reader, statement("SELECT @mark, connection_id()"))
    assert mark is None
    assert await as_administrator(mariadb, "SELECT is_free_lock('left_behind')") == [(1,)]
    assert await rows_of(drivers, reader, statement("SELECT connection_id()")) == [(number,)]  # and is used again


async def test_values_arrive_unchanged(drivers: Drivers, reader: Source) -> None:
    for text in HOSTILE:
        found = await rows_of(drivers, reader, statement("SELECT ", quoted(text), ", hex(", quoted(text), ")"))
        assert found == [(text, text.encode().hex().upper())]


async def test_any_text_arrives_unchanged(drivers: Drivers, reader: Source) -> None:
    texts, size = any_texts(400), 20
    for start in range(0, len(texts), size):
        some = texts[start : start + size]
        pieces = [piece for text in some for piece in (", ", quoted(text))]
        assert await rows_of(drivers, reader, statement("SELECT 1", *pieces)) == [(1, *some)]


async def test_bare_values_have_their_type(drivers: Drivers, reader: Source) -> None:
    for bound, expected in (
        (statement("SELECT id FROM sales ORDER BY id LIMIT ", bare(1), " OFFSET ", bare(2)), [(3,)]),
        (statement("SELECT ", bare(2), " + ", bare(3)), [(5,)]),
        (statement("SELECT count(*) FROM sales WHERE ", bare(True)), [(4,)]),
        (statement("SELECT ", bare(2**80), " = 1208925819614629174706176"), [(1,)]),
        (statement("SELECT 1 WHERE ", quoted(None), " IS NULL"), [(1,)]),
        (statement("SELECT ", quoted("2024-01-15", "date"), " = date '2024-01-15'"), [(1,)]),
        (statement("SELECT date_format('2024-01-15 01:02:03', '%s'), '?', ", quoted("x")), [("03", "?", "x")]),
        (statement("SELECT id FROM sales WHERE sold_at > ", quoted("2024-01-31")), [(4,)]),
    ):
        assert await rows_of(drivers, reader, bound) == expected, bound.parts


async def test_a_placeholder_where_no_value_stands(drivers: Drivers, reader: Source) -> None:
    with pytest.raises(QueryError):
        await rows_of(drivers, reader, statement("SELECT '", quoted("x"), "'"))
    assert await rows_of(drivers, reader, statement("SELECT 1")) == [(1,)]


TYPES = [
    ("tinyint", "1", 1, "tinyint"), ("smallint", "-2", -2, "smallint"), ("mediumint", "-3", -3, "mediumint"),
    ("int unsigned", "4294967295", 4294967295, "int unsigned"),
    ("bigint", "9007199254740993", "9007199254740993", "bigint"),
    ("bigint", "-5", -5, "bigint"),
    ("bigint unsigned", "18446744073709551615", "18446744073709551615", "bigint unsigned"),
    ("year", "2024", 2024, "year"), ("decimal(12,2)", "1.10", 1.1, "decimal"),
    ("decimal(30,10)", "12345678901234567890.1", "12345678901234567890.1000000000", "decimal"),
    ("float", "0.1", 0.1, "float"), ("double", "1.5e300", 1.5e300, "double"),
    ("date", "'2024-01-15'", date(2024, 1, 15), "date"), ("date", "'0000-00-00'", None, "date"),
    ("datetime(6)", "'2024-01-15 10:30:00.000001'", datetime.fromisoformat("2024-01-15T10:30:00.000001"), "datetime"),
    ("timestamp NULL", "'2024-01-15 10:30:00'", datetime(2024, 1, 15, 10, 30, tzinfo=UTC), "timestamp"),
    ("time(1)", "'-25:01:02.5'", "-25:01:02.5", "time"), ("time", "'10:30:00'", "10:30:00", "time"),
    ("varchar(9)", "'é'", "é", "varchar"), ("char(3)", "'a'", "a", "char"), ("text", "'t'", "t", "text"),
    ("enum('a','b')", "'b'", "b", "char"), ("set('a','b')", "'a,b'", "a,b", "char"),
    ("varbinary(4)", "x'00ff'", "AP8=", "varbinary"), ("blob", "x'00ff'", "AP8=", "blob"),
    ("bit(10)", "b'1000000001'", 513, "bit"), ("int", "NULL", None, "int"),
    ("json", "'{\"a\": [1]}'", '{"a": [1]}', "text"),
]  # fmt: skip


async def test_types_become_json(drivers: Drivers, mariadb: MariaDb, reader: Source) -> None:
    columns = ", ".join(f"c{number} {kind}" for number, (kind, *_) in enumerate(TYPES))
    values = ", ".join(literal for _, literal, *_ in TYPES)
    await as_administrator(
        mariadb,
        "SET sql_mode = ''",
        "SET time_zone = '+00:00'",
        f"CREATE OR REPLACE TABLE kinds ({columns})",
        f"INSERT INTO kinds VALUES ({values})",
        database=DATABASE,
    )
    named, (row,) = await result_of(drivers, reader, statement("SELECT * FROM kinds"))
    assert list(row) == [expected for *_, expected, _ in TYPES]
    assert [column.type.removeprefix("long") for column in named] == [name for *_, name in TYPES]


@pytest.mark.parametrize(
    ("bound", "errno"),
    [
        (statement("SELECT nothing_like_it(", quoted("canary"), ")"), 1370),
        (statement("SELECT 18446744073709551615 + ", bare(1)), 1690),
        (statement("SELECT extractvalue('<a/>', concat('~', ", quoted("canary"), "))"), 1105),
        (statement("SELECT nope FROM sales WHERE region = ", quoted("canary")), 1054),
        (statement("SELECT * FROM mysql.global_priv WHERE User = ", quoted("canary")), 1142),
        (statement("SELECT FROM WHERE ", quoted("canary")), 1064),
    ],
)
async def test_errors_name_no_value(drivers: Drivers, reader: Source, bound: Bound, errno: int) -> None:
    with pytest.raises(QueryExecutionError) as failed:
        await rows_of(drivers, reader, bound)
    assert failed.value.details["errno"] == errno
    assert "canary" not in str(failed.value) + str(failed.value.details)


async def running(mariadb: MariaDb, mark: str) -> int:
    text = f"SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%{mark}%' AND user = '{READER}'"
    return int((await as_administrator(mariadb, text))[0][0])


async def test_a_cancelled_statement_stops_on_the_server(drivers: Drivers, mariadb: MariaDb, reader: Source) -> None:
    slow = asyncio.create_task(rows_of(drivers, reader, statement("SELECT sleep(60) AS cancelled_one")))

    async def runs() -> bool:
        return await running(mariadb, "cancelled_one") == 1

    async def stopped() -> bool:
        return await running(mariadb, "cancelled_one") == 0

    await eventually(runs)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    await eventually(stopped, seconds=45)
    with pytest.raises(QueryTimeout):
        await rows_of(drivers, reader, statement("SELECT sleep(60) AS cancelled_one"), Limits(1, 1, 0.3))
    await eventually(stopped, seconds=45)
    assert await rows_of(drivers, reader, statement("SELECT 1")) == [(1,)]


async def test_the_servers_own_time_limit(drivers: Drivers, reader: Source) -> None:
    limit = await rows_of(drivers, reader, statement("SELECT @@max_statement_time"), Limits(1, 1, 7.5))
    assert limit == [(7.5,)]
    assert await rows_of(drivers, reader, statement("SELECT @@max_statement_time"), Limits(1, 1, 3.0)) == [(3.0,)]


async def test_rows_behind_the_limit_are_not_made(drivers: Drivers, mariadb: MariaDb, reader: Source) -> None:
    many = statement("SELECT seq AS cut_off, repeat('x', 100) FROM seq_1_to_100000000")
    found = await rows_of(drivers, reader, many, Limits(2500, 10**9, 60.0))
    assert [row[0] for row in found] == list(range(1, 2502))

    async def stopped() -> bool:
        return await running(mariadb, "cut_off") == 0

    await eventually(stopped, seconds=45)


async def connections(mariadb: MariaDb) -> int:
    text = f"SELECT count(*) FROM information_schema.processlist WHERE user = '{READER}'"
    return int((await as_administrator(mariadb, text))[0][0])


async def test_connections_are_bounded_and_closed_when_unused(
    drivers: Drivers, mariadb: MariaDb, reader: Source
) -> None:
    slow = [rows_of(drivers, reader, statement("SELECT sleep(0.3)")) for _ in range(6)]
    together = asyncio.gather(*slow)
    seen = 0
    while not together.done():
        seen = max(seen, await connections(mariadb))
        await asyncio.sleep(0.05)
    assert await together == [[(0,)]] * 6
    assert 1 <= seen <= 2

    async def none_left() -> bool:
        return await connections(mariadb) == 0

    await eventually(none_left)


async def test_a_new_version_closes_the_olds_connections(drivers: Drivers, mariadb: MariaDb) -> None:
    secret = uuid4()
    first, second = (source(mariadb, version, secret) for version in (1, 2))
    slow = asyncio.create_task(rows_of(drivers, first, statement("SELECT sleep(0.3)")))
    await asyncio.sleep(0.1)
    assert await rows_of(drivers, second, statement("SELECT 2")) == [(2,)]
    assert await slow == [(0,)]  # what runs ends in order
    assert await rows_of(drivers, first, statement("SELECT 1")) == [(1,)]  # a request that came before the change


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"port": 1}, "refused"),
        ({"password": "not-the-password"}, "wrong_password"),
        ({"database": "mysql"}, "unknown_database"),
        ({"ssl_mode": "verify-full"}, "tls_not_trusted"),
    ],
)
async def test_the_way_to_the_server_is_named(
    drivers: Drivers, mariadb: MariaDb, changes: dict[str, Any], cause: str
) -> None:
    with pytest.raises(ConnectorError) as failed:
        await rows_of(drivers, source(mariadb, **changes), statement("SELECT 1"))
    assert failed.value.details == {"cause": cause}
    assert READER not in str(failed.value)


@pytest.mark.parametrize(("ssl_mode", "encrypted"), [("disable", False), ("prefer", True), ("require", True)])
async def test_tls(drivers: Drivers, mariadb: MariaDb, ssl_mode: str, encrypted: bool) -> None:
    where = source(mariadb, ssl_mode=ssl_mode)
    ((_, version),) = await rows_of(drivers, where, statement("SHOW SESSION STATUS LIKE 'Ssl_version'"))
    assert version.startswith("TLS") is encrypted


async def test_a_connection_that_the_server_drops(drivers: Drivers, mariadb: MariaDb, reader: Source) -> None:
    slow = asyncio.create_task(rows_of(drivers, reader, statement("SELECT sleep(60) AS dropped_one")))
    find = "SELECT id FROM information_schema.processlist WHERE info LIKE '%dropped_one' AND state = 'User sleep'"

    async def killed() -> bool:
        found = await as_administrator(mariadb, find)
        if found:
            await as_administrator(mariadb, f"KILL {found[0][0]}")
        return bool(found)

    await eventually(killed)
    with pytest.raises(ConnectorError) as lost:
        await slow
    assert lost.value.details == {"cause": "connection_lost"}
    ((number,),) = await rows_of(drivers, reader, statement("SELECT connection_id()"))
    await as_administrator(mariadb, f"KILL {number}")  # while nobody uses it

    async def gone() -> bool:
        return not await as_administrator(mariadb, f"SELECT id FROM information_schema.processlist WHERE id = {number}")

    await eventually(gone)
    assert await rows_of(drivers, reader, statement("SELECT 1")) == [(1,)]


async def test_the_documented_query_on_its_whole_way(drivers: Drivers, reader: Source) -> None:
    text = """SELECT DATE(sold_at) AS date, COUNT(*) AS orders, SUM(amount) AS revenue FROM sales
              WHERE sold_at BETWEEN '{{ start_date }}' AND '{{ end_date }}' AND status = '{{ status }}'
              GROUP BY DATE(sold_at) ORDER BY date DESC LIMIT {{ most }}"""
    params = {"start_date": "2024-01-01", "end_date": "2024-01-31", "status": "paid", "most": 10}
    found = await rows_of(drivers, reader, proved(Engine.MYSQL, text, params))
    assert found == [(date(2024, 1, 17), 1, 99.99), (date(2024, 1, 16), 1, 20.25)]
    attack = params | {"status": "paid' OR '1'='1"}
    assert await rows_of(drivers, reader, proved(Engine.MYSQL, text, attack)) == []
    shapes = """SELECT id FROM sales WHERE region LIKE '%{{ x }}%' AND id IN ({{ ids }})
                AND sold_at > DATE '{{ d }}' - INTERVAL '{{ n }}' DAY ORDER BY id {{ way|one_of('asc', 'desc') }}"""
    given = {"x": "o", "ids": [1, 2, 3], "d": "2024-01-16", "n": 2, "way": "desc"}
    assert await rows_of(drivers, reader, proved(Engine.MYSQL, shapes, given)) == [(3,), (2,), (1,)]
