"""Results as NDJSON, CSV and Arrow on a real Postgres, through the gateway: values, limits, secrets, breaking off."""

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pyarrow
import pytest

from tests.integration.query_harness import PASSWORD, Shop, Stack, new_shop, query_stack
from tests.support.platform import Platform
from tests.support.processes import eventually, token
from tests.support.servers import Servers

NDJSON, CSV, ARROW = "application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream"
FORMATS = (NDJSON, CSV, ARROW)


@pytest.fixture(scope="module")
async def stack(platform: Platform, servers: Servers) -> AsyncIterator[Stack]:
    async with query_stack(platform, servers, connections_per_secret=3, query_bytes=2_000_000) as running:
        yield running


@pytest.fixture(scope="module")
async def shop(stack: Stack) -> Shop:
    return await new_shop(stack)


class Got:
    """An answer read to its end; `whole` is false where the connection was broken off."""

    def __init__(self, answer: aiohttp.ClientResponse, body: bytes, whole: bool) -> None:
        self.status, self.headers, self.body, self.whole = answer.status, answer.headers, body, whole

    @property
    def lines(self) -> list[Any]:
        return [orjson.loads(line) for line in self.body.splitlines()]

    @property
    def cells(self) -> list[list[str]]:
        return list(csv.reader(io.StringIO(self.body.decode(), newline="")))

    @property
    def table(self) -> Any:
        return pyarrow.ipc.open_stream(self.body).read_all()

    @property
    def rows(self) -> int:
        if self.headers["Content-Type"].startswith(CSV):
            return len(self.cells) - 1
        return len(self.lines) - 1 if self.headers["Content-Type"] == NDJSON else int(self.table.num_rows)


async def saved(shop: Shop, text: str, **more: object) -> str:
    made = await shop.query(text, "Some query", **more)
    assert made.status == 201, made.body
    slug: str = made.body["data"]["slug"]
    return slug


async def fetch(shop: Shop, slug: str, accept: str, **params: object) -> Got:
    url = f"{shop.stack.url}{shop.root}/analytics/queries/{slug}/execute/"
    headers = {"Authorization": f"Bearer {token(shop.tenant, 'staff')}", "Accept": accept}
    async with shop.stack.session.post(url, json={"params": params}, headers=headers) as answer:
        body = bytearray()
        try:
            async for chunk in answer.content.iter_any():
                body += chunk
        except aiohttp.ClientPayloadError:
            return Got(answer, bytes(body), False)
        return Got(answer, bytes(body), True)


async def record(shop: Shop, got: Got) -> dict[str, Any]:
    """The execution as it is on record."""
    key = got.headers["X-Execution-Key"]
    rows = await shop.stack.sql(
        "SELECT state, row_count, truncated, error_code FROM query_executor.query_execution WHERE id = $1::uuid",
        key.removeprefix("exec_"),
    )
    return dict(rows[0])


ROWS = "SELECT id, region, amount, date, sold_at FROM sales WHERE id >= {{ least }} ORDER BY id"


async def test_rows_as_lines_of_json(shop: Shop) -> None:
    slug = await saved(shop, ROWS)
    got = await fetch(shop, slug, NDJSON, least=3)
    known = (await shop.execute(slug, least=3)).body
    assert got.lines[:-1] == known["data"]
    end = got.lines[-1]["@end"]
    assert (end["status"], end["total"], end["truncated"]) == ("success", 2, False)
    assert end["execution_key"] == got.headers["X-Execution-Key"] != known["execution_key"]
    assert got.headers["Content-Type"] == NDJSON
    assert await record(shop, got) == {"state": "completed", "row_count": 2, "truncated": False, "error_code": None}


async def test_rows_as_csv(shop: Shop) -> None:
    got = await fetch(shop, await saved(shop, ROWS), CSV, least=3)
    assert got.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert got.cells[0] == ["id", "region", "amount", "date", "sold_at"]
    assert [(row[0], row[1], float(row[2]), *row[3:]) for row in got.cells[1:]] == [
        ("3", "Europe", 120000.5, "2024-01-15", "2024-01-15T12:30:00.250000Z"),
        ("4", "Europe", 1.0, "2024-01-16", ""),
    ]
    assert b"\r" not in got.body
    assert got.body.endswith(b"\n")


async def test_rows_as_arrow(shop: Shop) -> None:
    text = "SELECT 1::int8 AS n, 'x' AS t, 0.5::float8 AS f, TIMESTAMPTZ '2024-01-15T10:30:00Z' AS at, true AS b"
    for more in ("", " WHERE 1 = {{ one }}"):
        got = await fetch(shop, await saved(shop, text + more), ARROW, one=1)
        table = got.table
        assert [str(kind) for kind in table.schema.types] == [
            "int64", "string", "double", "timestamp[us, tz=UTC]", "bool",
        ]  # fmt: skip
        row = table.to_pylist()[0]
        assert (row["n"], row["t"], row["f"], row["at"].isoformat(), row["b"]) == (
            1, "x", 0.5, "2024-01-15T10:30:00+00:00", True,
        )  # fmt: skip
        last = list(pyarrow.ipc.open_stream(got.body).iter_batches_with_custom_metadata())[-1]
        assert last.custom_metadata[b"total"] == b"1"
        assert last.custom_metadata[b"truncated"] == b"false"


COLUMNS = """SELECT g::int8 AS i, -g AS n, g / 8.0::float8 AS f, CASE g WHEN 3 THEN 'NaN'::float4 ELSE 0.5 END AS r,
    CASE g WHEN 1 THEN '=x' WHEN 2 THEN '' WHEN 4 THEN '-3' WHEN 5 THEN 'a,"b"' END AS t, g > 3 AS b,
    CASE g WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' WHEN 3 THEN NULL ELSE DATE '2024-01-01' + g END AS d,
    CASE g WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' ELSE '2024-01-15T10:30:00+02'::timestamptz END AS at,
    TIMESTAMP '1969-12-31 23:59:59' + g * INTERVAL '0.25 second' AS local
    FROM generate_series(1, {{ n }}) AS g WHERE 'x' = '{{ x }}' ORDER BY g;"""


async def test_columns_hold_what_rows_hold(shop: Shop) -> None:
    """A result that is read by columns against the same one with a column that only rows can carry."""
    by_columns = await saved(shop, COLUMNS)
    by_rows = await saved(shop, COLUMNS.replace("AS local", "AS local, ARRAY[g] AS more"))
    fast, slow = [await fetch(shop, slug, CSV, n=6, x="x") for slug in (by_columns, by_rows)]
    assert [row[:9] for row in slow.cells] == [
        [f"{float(cell):.1f}" if place == 3 and cell not in ("", "r") else cell for place, cell in enumerate(row)]
        for row in fast.cells
    ]
    assert fast.cells[1][4:8] == ["'=x", "false", "infinity", "infinity"]
    fast, slow = [await fetch(shop, slug, ARROW, n=6, x="x") for slug in (by_columns, by_rows)]
    assert fast.table.schema == slow.table.schema.remove(9)
    assert fast.table.to_pylist() == slow.table.drop_columns(["more"]).to_pylist()
    assert fast.table.to_pylist()[0]["at"] is None


@pytest.mark.parametrize(
    "value", ["it's", '"', "\\", "{{ x }}", "a\nb", "%", "é日本", "$1", "--", "'; DROP TABLE sales; --"]
)
async def test_a_text_arrives_as_it_is_where_a_statement_takes_no_binds(shop: Shop, value: str) -> None:
    got = await fetch(shop, await saved(shop, "SELECT '{{ x }}' AS v, {{ n }} + 1 AS n"), ARROW, x=value, n=2)
    assert got.table.to_pylist() == [{"v": value, "n": 3}]


@pytest.mark.parametrize("accept", FORMATS)
async def test_no_rows(shop: Shop, accept: str) -> None:
    got = await fetch(shop, await saved(shop, "SELECT id, region FROM sales WHERE false"), accept)
    assert got.status == 200
    if accept == CSV:
        assert got.body == b"id,region\n"
    elif accept == NDJSON:
        assert [list(line) for line in got.lines] == [["@end"]]
    else:
        assert (got.table.num_rows, got.table.column_names) == (0, ["id", "region"])


async def test_a_cell_is_no_formula(shop: Shop) -> None:
    cells = ["=1+1", "+1", "-1+1", "@x", "\tx", "\rx", "a=1", "-12.5", 'say "x"', "a,b", "a\nb", "", " =1"]
    text = "SELECT x FROM unnest(ARRAY[{{ cells }}]) WITH ORDINALITY AS t (x, o) ORDER BY o"
    got = await fetch(shop, await saved(shop, text), CSV, cells=cells)
    guarded = {"=1+1", "+1", "-1+1", "@x", "\tx", "\rx"}
    assert [row[0] for row in got.cells[1:]] == [("'" if cell in guarded else "") + cell for cell in cells]
    header = await fetch(shop, await saved(shop, 'SELECT 1 AS "=1+1"'), CSV)
    assert header.body == b"'=1+1\n1\n"


async def test_numbers_are_untouched_in_csv(shop: Shop) -> None:
    text = "SELECT -5 AS i, -9007199254740993 AS big, -1.5::numeric AS d, -1e300::float8 AS f, 'NaN'::float8 AS nan"
    got = await fetch(shop, await saved(shop, text), CSV)
    assert got.cells[1][:3] == ["-5", "-9007199254740993", "-1.5"]
    assert float(got.cells[1][3]) == -1e300
    assert got.cells[1][4] == ""


@pytest.mark.parametrize("accept", FORMATS)
async def test_rows_and_bytes_are_limited(shop: Shop, accept: str) -> None:
    value = shop.stack.customer.value()
    await shop.secret("few", "analytics-postgres", value, settings={"max_result_rows": 2500})
    slug = await saved(shop, "SELECT g, 'a\"\nb' AS t FROM generate_series(1, {{ n }}) AS g", secret_key="few")
    for count, rows, truncated in ((2500, 2500, False), (2501, 2500, True), (9999, 2500, True)):
        got = await fetch(shop, slug, accept, n=count)
        assert got.whole
        assert got.rows == rows, count
        said = await record(shop, got)
        assert (said["row_count"], said["truncated"], said["state"]) == (rows, truncated, "completed")
    wide = await fetch(shop, await saved(shop, "SELECT repeat('x', 60000) AS x FROM generate_series(1, 50)"), accept)
    assert 1_800_000 < len(wide.body) < 2_010_000
    said = await record(shop, wide)
    assert (said["row_count"], said["truncated"]) == (33, True)


@pytest.mark.parametrize("accept", FORMATS)
async def test_secrets_do_not_leave(shop: Shop, accept: str) -> None:
    text = "SELECT '{{ x }}' AS x, {{ n }} || ' rows' AS y, g FROM generate_series(1, 1500) AS g"
    got = await fetch(shop, await saved(shop, text), accept, x=f'"<{PASSWORD}>,', n=3)
    assert got.status == 200
    assert PASSWORD.encode() not in got.body
    assert b"[redacted]" in got.body
    if accept == CSV:
        assert got.cells[1] == ['"<[redacted]>,', "3 rows", "1"]


@pytest.mark.parametrize("accept", FORMATS)
async def test_an_error_before_the_first_row_is_an_answer(shop: Shop, accept: str) -> None:
    got = await fetch(shop, await saved(shop, "SELECT 1 / (id - id) AS n FROM sales"), accept)
    assert (got.status, json.loads(got.body)["code"]) == (422, "QueryExecutionError")
    missing = await fetch(shop, await saved(shop, "SELECT {{ absent }} AS n"), accept)
    assert (missing.status, json.loads(missing.body)["code"]) == (400, "QueryValidationError")


@pytest.mark.parametrize("accept", FORMATS)
async def test_an_error_in_the_middle_does_not_look_like_the_end(shop: Shop, accept: str) -> None:
    """The gateway breaks off too."""
    value = shop.stack.customer.value()
    await shop.secret("many", "analytics-postgres", value, settings={"max_result_rows": 1_000_000})
    text = "SELECT 1 / (15000 - g) AS n, repeat('x', 100) AS t FROM generate_series(1, 100000) AS g"
    got = await fetch(shop, await saved(shop, text, secret_key="many"), accept)
    assert got.status == 200
    assert not got.whole, got.body[-300:]
    if accept == NDJSON and got.lines:
        assert got.lines[-1]["@error"]["code"] == "QueryExecutionError"
    said = await record(shop, got)
    assert (said["state"], said["error_code"]) == ("failed", "QueryExecutionError")
    assert 0 < said["row_count"] < 15000


@pytest.mark.parametrize("accept", FORMATS)
async def test_a_client_that_leaves_in_the_middle(shop: Shop, accept: str) -> None:
    value = shop.stack.customer.value()
    await shop.secret("many", "analytics-postgres", value, settings={"max_result_rows": 1_000_000})
    slow = "(SELECT count(*) FROM generate_series(1, 10000 + g)) AS left_in_the_middle"
    text = f"SELECT repeat('x', 2000) AS wide, {slow} FROM generate_series(1, 900000) AS g"
    slug = await saved(shop, text, secret_key="many")
    url = f"{shop.stack.url}{shop.root}/analytics/queries/{slug}/execute/"
    headers = {"Authorization": f"Bearer {token(shop.tenant, 'staff')}", "Accept": accept}
    async with aiohttp.ClientSession() as session:
        answer = await session.post(url, json={}, headers=headers)
        assert answer.status == 200
        key = answer.headers["X-Execution-Key"].removeprefix("exec_")
        await answer.content.readany()
        answer.close()

    async def recorded() -> bool:
        said = "SELECT state, row_count FROM query_executor.query_execution WHERE id = $1::uuid"
        rows = await shop.stack.sql(said, key)
        return bool(rows) and rows[0]["state"] == "cancelled" and rows[0]["row_count"] > 0

    await eventually(recorded)


async def test_what_accept_may_say(shop: Shop) -> None:
    slug = await saved(shop, "SELECT 1 AS n")
    for accept, media in (
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/*", CSV),
        ("text/csv;q=0.5, application/x-ndjson", NDJSON),
        ("text/html, text/csv;q=0.9, */*;q=0.1", CSV),
    ):
        got = await fetch(shop, slug, accept)
        assert (got.status, got.headers["Content-Type"].split(";")[0]) == (200, media), accept
        assert got.headers["X-Execution-Key"].startswith("exec_")
    for accept in ("text/html", "application/json;q=0", "application/xml, image/*"):
        refused = await fetch(shop, slug, accept)
        assert (refused.status, json.loads(refused.body)["code"]) == (406, "NotAcceptable"), accept
