"""ClickHouse 26 (chDB behind its HTTP interface): parameters, types, readonly; an old real server: users, cancel."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from deploy.local.clickhouse_shim import PASSWORD, PROFILES, Shim, clickhouse_shim
from deploy.local.query_samples import values_list
from services.query_executor.drivers import Limits
from services.query_executor.drivers.clickhouse import maker
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.source import Pooling, Source
from services.query_executor.errors import ConnectorError, QueryExecutionError, QueryTimeout
from services.query_executor.statement import Bind, Bound, Engine
from tests.support import query_drivers
from tests.support.clickhouse_server import OldServer, old_server
from tests.support.processes import eventually
from tests.support.query_drivers import (
    HOSTILE,
    LIMITS,
    any_texts,
    bare,
    dial,
    proved,
    quoted,
    refused_by_the_parser,
    rows_of,
)

pytestmark = pytest.mark.real


def statement(*pieces: str | Bind) -> Bound:
    return query_drivers.statement(Engine.CLICKHOUSE, *pieces)


def source(port: int, user: str = "admin", password: str = PASSWORD, **changes: Any) -> Source:
    settings = {name: changes.pop(name) for name in ("ssl_mode",) if name in changes}
    value = {"host": "127.0.0.1", "port": port, "database": "shop", "username": user, "password": password}
    return query_drivers.source(Engine.CLICKHOUSE, value | {"secure": False} | changes, **settings)


@pytest.fixture(scope="module")
async def shim(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shim]:
    try:
        async with clickhouse_shim(tmp_path_factory.mktemp("chdb")) as running:
            for text in (
                "CREATE DATABASE shop",
                """CREATE TABLE shop.sales (id Int32, region String, status String, amount Decimal(12, 2),
                   sold_at DateTime('UTC')) ENGINE = MergeTree ORDER BY id""",
                f"INSERT INTO shop.sales VALUES {values_list()}",
            ):
                await asyncio.to_thread(running.ask, "admin", {}, text)
            yield running
    except ImportError:
        pytest.skip("no ClickHouse here: chdb is not installed (`uv sync --group clickhouse`)")


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OldServer]:
    async with old_server(tmp_path_factory.mktemp("clickhouse")) as running:
        if isinstance(running, str):
            pytest.skip(f"no ClickHouse server here: {running}")
        yield running


@pytest.fixture
async def drivers() -> AsyncIterator[Drivers]:
    found = Drivers({Engine.CLICKHOUSE: maker(dial, Pooling(2, 0.5))}, limit=8)
    yield found
    await found.close()


REFUSED = [
    "CREATE TABLE x (a Int8) ENGINE = Memory",
    "DROP TABLE sales",
    "TRUNCATE TABLE sales",
    "ALTER TABLE sales ADD COLUMN x Int8",
    "INSERT INTO sales SELECT * FROM sales",
    "ALTER TABLE sales DELETE WHERE 1",
    "OPTIMIZE TABLE sales",
    "RENAME TABLE sales TO gone",
    "CREATE USER x",
    "CREATE DATABASE x",
    "SYSTEM FLUSH LOGS",
    "SET readonly = 0",
    "SET max_execution_time = 999",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_execution_time = 999",
    "SELECT * FROM url('http://127.0.0.1:1/x', 'CSV', 'a String')",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1:1', system.one)",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM executable('x', 'CSV', 'a String')",
]
# readonly=1 lets these through; the parser holds them back.
PARSERS = [
    "SELECT sleep(1)",
    "SELECT sleepEachRow(1)",
    "SELECT file('/etc/passwd')",
    "SELECT * FROM system.users",
    "SELECT * FROM merge('shop', '.*')",
    "SELECT * FROM s3('http://127.0.0.1:1/x', 'CSV', 'a String')",
    "SELECT * FROM generateRandom('a Int8')",
    "SELECT * FROM cluster('default', system.one)",
    "KILL QUERY WHERE 1",
    "USE system",
    "SELECT 1 FORMAT Null",
    "SELECT 1 INTO OUTFILE '/tmp/tidemark-never-written'",
    "SELECT 1; SELECT 2",
    "SELECT 1 SETTINGS max_threads = 1",
    "CHECK TABLE sales",
]


@pytest.mark.parametrize("user", ["admin", "locked"])
@pytest.mark.parametrize("text", REFUSED)
async def test_the_session_alone_refuses(drivers: Drivers, shim: Shim, text: str, user: str) -> None:
    with pytest.raises(QueryExecutionError) as refused:
        await rows_of(drivers, source(shim.port, user), statement(text))
    assert refused.value.details["code"] in (164, 62, 452, 497)
    assert await rows_of(drivers, source(shim.port), statement("SELECT count(), sum(id) FROM sales")) == [(4, 10)]


@pytest.mark.parametrize("text", PARSERS)
async def test_what_the_session_lets_through_the_parser_refuses(text: str) -> None:
    refused_by_the_parser(Engine.CLICKHOUSE, text)


async def test_only_the_fixed_keys_are_sent(drivers: Drivers, shim: Shim) -> None:
    shim.asked.clear()
    await rows_of(drivers, source(shim.port), statement("SELECT ", quoted("a&readonly=0")), Limits(7, 10**6, 2.5))
    _, asked = shim.asked
    assert asked.pop("query_id").isalnum()
    assert asked == {
        "readonly": "1",
        "max_execution_time": "3",
        "max_result_rows": "8",
        "timeout_overflow_mode": "throw",
        "result_overflow_mode": "break",
        "cancel_http_readonly_queries_on_client_close": "1",
        "log_comment": "tidemark-query",
        "output_format_json_quote_decimals": "1",
        "output_format_json_quote_denormals": "0",
        "output_format_json_named_tuples_as_objects": "1",
        "date_time_output_format": "simple",
        "default_format": "JSONCompactEachRowWithNamesAndTypes",
        "database": "shop",
        "param_p0": "a&readonly=0",
    }


async def test_a_user_who_is_read_only_is_sent_no_setting(drivers: Drivers, shim: Shim) -> None:
    where = source(shim.port, "locked")
    shim.asked.clear()
    assert await rows_of(drivers, where, statement("SELECT ", bare(1), ", getSetting('readonly')")) == [(1, 1)]
    assert {key for asked in shim.asked for key in asked} == {"database", "default_format", "param_p0", "query_id"}
    assert await rows_of(drivers, where, statement("SELECT amount FROM sales WHERE id = 3")) == [(99.99,)]


async def test_a_profile_that_changes_is_asked_again(
    drivers: Drivers, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = source(shim.port)
    assert await rows_of(drivers, where, statement("SELECT 1")) == [(1,)]
    monkeypatch.setitem(PROFILES["admin"], "readonly", "1")
    with pytest.raises(QueryExecutionError):
        await rows_of(drivers, where, statement("SELECT 1"))
    assert await rows_of(drivers, where, statement("SELECT 1")) == [(1,)]


async def test_a_user_who_may_change_settings_is_refused(drivers: Drivers, shim: Shim) -> None:
    with pytest.raises(ConnectorError) as refused:
        await rows_of(drivers, source(shim.port, "changeable"), statement("SELECT 1"))
    assert refused.value.details == {"cause": "not_read_only"}


async def test_values_arrive_unchanged(drivers: Drivers, shim: Shim) -> None:
    for text in HOSTILE:
        found = await rows_of(drivers, source(shim.port), statement("SELECT ", quoted(text), " AS a, hex(a) AS b"))
        assert found == [(text, text.encode().hex().upper())]


async def test_any_text_arrives_unchanged(drivers: Drivers, shim: Shim) -> None:
    texts, size = any_texts(400), 20
    for start in range(0, len(texts), size):
        some = texts[start : start + size]
        pieces = [piece for text in some for piece in (", concat(", quoted(text), ", '')")]
        assert await rows_of(drivers, source(shim.port), statement("SELECT 1", *pieces)) == [(1, *some)]


async def test_values_have_the_type_of_their_place(drivers: Drivers, shim: Shim) -> None:
    for bound, expected in (
        (statement("SELECT id FROM sales ORDER BY id LIMIT ", bare(1), " OFFSET ", bare(2)), [(3,)]),
        (statement("SELECT ", bare(2), " + ", bare(3), " AS x"), [(5,)]),
        (statement("SELECT count() FROM sales WHERE ", bare(True)), [(4,)]),
        (statement("SELECT id FROM sales WHERE id = ", quoted("3")), [(3,)]),
        (statement("SELECT id FROM sales WHERE sold_at > ", quoted("2024-01-31 00:00:00")), [(4,)]),
        (statement("SELECT ", bare(2**70), " AS x"), [(str(2**70),)]),
        (statement("SELECT ", quoted("2024-01-15", "Date"), " = toDate('2024-01-15') AS x"), [(1,)]),
        (statement("SELECT '?', '{p0:String}', ", quoted("x"), " AS y"), [("?", "{p0:String}", "x")]),
    ):
        assert await rows_of(drivers, source(shim.port), bound) == expected, bound.parts


TYPES = [
    ("toInt8(-1)", -1), ("toUInt32(4294967295)", 4294967295), ("toInt64(9007199254740993)", "9007199254740993"),
    ("toUInt64(5)", 5), ("toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935')",
    "115792089237316195423570985008687907853269984665640564039457584007913129639935"),
    ("toDecimal64('1.10', 2)", 1.1), ("toDecimal128('12345678901234567890.10', 2)", "12345678901234567890.1"),
    ("toFloat64(0.1)", 0.1), ("nan", None), ("-inf", None), ("true", True), ("NULL", None), ("toNullable(3)", 3),
    ("toDate('2024-01-15')", date(2024, 1, 15)), ("toDate32('1950-01-15')", date(1950, 1, 15)),
    ("toDateTime('2024-01-15 10:30:00')", datetime(2024, 1, 15, 10, 30, tzinfo=UTC)),
    ("toDateTime('2024-07-15 10:30:00', 'Europe/Berlin')", datetime(2024, 7, 15, 8, 30, tzinfo=UTC)),
    ("toDateTime64('2024-01-15 10:30:00.123456789', 9, 'UTC')", datetime(2024, 1, 15, 10, 30, 0, 123456, tzinfo=UTC)),
    ("toUUID('00000000-0000-0000-0000-000000000007')", "00000000-0000-0000-0000-000000000007"),
    ("toIPv4('1.2.3.4')", "1.2.3.4"), ("toLowCardinality('a')", "a"),
    ("CAST('b', 'Enum8(\\'a\\' = 1, \\'b\\' = 2)')", "b"),
    ("[toInt64(9007199254740993), 1]", ["9007199254740993", 1]), ("[[toDate('2024-01-15')]]", [[date(2024, 1, 15)]]),
    ("map('a', toUInt64(18446744073709551615))", {"a": "18446744073709551615"}),
    ("CAST((1, 'x'), 'Tuple(a Int8, b String)')", {"a": 1, "b": "x"}), ("(1, 'x')", [1, "x"]),
    ("INTERVAL 3 DAY", "P3D"), ("INTERVAL 14 MONTH", "P1Y2M"), ("INTERVAL 90 MINUTE", "PT1H30M"),
    ("CAST('{\"a\": {\"b\": 1}}', 'JSON')", {"a": {"b": 1}}), ("'é'", "é"),
]  # fmt: skip


async def test_types_become_json(drivers: Drivers, shim: Shim) -> None:
    for user in ("admin", "locked"):
        text = "SELECT " + ", ".join(f"{expression} AS c{number}" for number, (expression, _) in enumerate(TYPES))
        ((*found,),) = await rows_of(drivers, source(shim.port, user), statement(text))
        for (expression, expected), value in zip(TYPES, found, strict=True):
            number = int(value) if isinstance(expected, str) and expected.isdigit() and len(expected) < 20 else value
            assert value == expected or number == expected, (user, expression, value)


async def test_rows_are_cut_at_the_limit(drivers: Drivers, shim: Shim) -> None:
    many = statement("SELECT number, repeat('x', 100) FROM numbers(3000)")
    found = await rows_of(drivers, source(shim.port), many, Limits(2500, 10**9, 60.0))
    assert [row[0] for row in found] == list(range(2501))


@pytest.mark.parametrize(
    ("bound", "code"),
    [
        (statement("SELECT nothing_like_it(", quoted("canary"), ")"), 46),
        (statement("SELECT nope FROM sales WHERE region = ", quoted("canary")), 47),
        (statement("SELECT intDiv(1, 0) WHERE 'canary' = ", quoted("canary")), 153),
        (statement("SELECT toDate(", quoted("canary"), ")"), 38),
        (statement("SELECT * FROM nothing WHERE a = ", quoted("canary")), 60),
        (statement("SELECT FROM FROM ", quoted("canary")), 62),
        (statement("SELECT throwIf(1, ", quoted("canary"), ")"), 395),
    ],
)
async def test_errors_name_no_value(drivers: Drivers, shim: Shim, bound: Bound, code: int) -> None:
    with pytest.raises(QueryExecutionError) as failed:
        await rows_of(drivers, source(shim.port), bound)
    assert failed.value.details == {"code": code}
    assert "canary" not in str(failed.value)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"port": 1}, "refused"),
        ({"password": "not-the-password"}, "wrong_password"),
        ({"secure": True}, "tls_failed"),
        ({"ssl_mode": "verify-full"}, "tls_failed"),
    ],
)
async def test_the_way_to_the_server_is_named(
    drivers: Drivers, shim: Shim, changes: dict[str, Any], cause: str
) -> None:
    with pytest.raises(ConnectorError) as failed:
        await rows_of(drivers, source(**({"port": shim.port} | changes)), statement("SELECT 1"))
    assert failed.value.details == {"cause": cause}


async def test_the_documented_query_on_its_whole_way(drivers: Drivers, shim: Shim) -> None:
    text = """SELECT toDate(sold_at) AS date, count() AS events, uniq(region) AS regions FROM sales
              WHERE sold_at >= '{{ start_date }}' AND status = '{{ status }}' AND region LIKE '%{{ part }}%'
              GROUP BY date ORDER BY date DESC LIMIT {{ most }}"""
    params = {"start_date": "2024-01-01 00:00:00", "status": "paid", "part": "o", "most": 5}
    found = await rows_of(drivers, source(shim.port), proved(Engine.CLICKHOUSE, text, params))
    assert found == [(date(2024, 1, 17), 1, 1), (date(2024, 1, 16), 1, 1)]
    attack = params | {"status": "paid' OR '1'='1"}
    assert await rows_of(drivers, source(shim.port), proved(Engine.CLICKHOUSE, text, attack)) == []


def on(server: OldServer, user: str = "admin") -> Source:
    return source(server.port, user, server.password, database="default")


@pytest.mark.parametrize("user", ["admin", "locked"])
@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE x (a Int8) ENGINE = Memory",
        "INSERT INTO sales SELECT 9",
        "DROP TABLE sales",
        "SET max_execution_time = 999",
        "SELECT * FROM url('http://127.0.0.1:1/x', 'CSV', 'a String') FORMAT Null",
        "SELECT 1 INTO OUTFILE '/tmp/tidemark-never-written'",
        "SELECT 1; SELECT 2",
    ],
)
async def test_a_real_server_refuses(drivers: Drivers, server: OldServer, text: str, user: str) -> None:
    with pytest.raises(QueryExecutionError) as refused:
        await rows_of(drivers, on(server, user), statement(text))
    assert refused.value.details["code"] in (164, 62, 358)


async def test_users_of_a_real_server(drivers: Drivers, server: OldServer) -> None:
    for user in ("admin", "locked"):
        assert await rows_of(drivers, on(server, user), statement("SELECT 1 FORMAT Null")) == []
    with pytest.raises(ConnectorError) as refused:
        await rows_of(drivers, on(server, "changeable"), statement("SELECT 1 FORMAT Null"))
    assert refused.value.details == {"cause": "not_read_only"}
    with pytest.raises(ConnectorError) as wrong:
        await rows_of(drivers, source(server.port, password="wrong", database="default"), statement("SELECT 1"))
    assert wrong.value.details == {"cause": "wrong_password"}


@pytest.mark.parametrize("user", ["admin", "locked"])
async def test_a_cancelled_statement_stops_on_a_real_server(drivers: Drivers, server: OldServer, user: str) -> None:
    slow = statement("SELECT count() FROM system.numbers WHERE NOT ignore(number, 'cancelled_one') FORMAT Null")
    running = asyncio.create_task(rows_of(drivers, on(server, user), slow, Limits(1, 1, 60.0)))

    async def runs() -> bool:
        return await server.running("cancelled_one") == 1

    async def stopped() -> bool:
        return await server.running("cancelled_one") == 0

    await eventually(runs)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await eventually(stopped, seconds=45)
    with pytest.raises(QueryTimeout):
        await rows_of(drivers, on(server, user), slow, Limits(1, 1, 1.0))
    await eventually(stopped, seconds=45)


async def test_statements_at_once_are_bounded(drivers: Drivers, server: OldServer) -> None:
    slow = statement("SELECT sleep(1), 'bounded_one' FORMAT Null")
    where = on(server)
    together = asyncio.gather(*(rows_of(drivers, where, slow, LIMITS) for _ in range(4)))
    most = 0
    while not together.done():
        most = max(most, await server.running("bounded_one"))
        await asyncio.sleep(0.05)
    await together
    assert most == 2
