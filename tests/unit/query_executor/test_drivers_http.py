"""HTTP of the drivers against servers that misbehave: redirects, floods, compressed answers, other protocols."""

import asyncio
import gzip
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from deploy.local.ports import free_port
from libs.common.egress import EgressPolicy
from services.query_executor.drivers import Limits
from services.query_executor.drivers.clickhouse import maker as clickhouse
from services.query_executor.drivers.elasticsearch import maker as elasticsearch
from services.query_executor.drivers.source import Pooling, Resolve, Source
from services.query_executor.errors import ConnectorError, QueryExecutionError, QueryTimeout
from services.query_executor.statement import Bound, Engine
from tests.support.processes import eventually
from tests.support.query_drivers import bare, dial, quoted, source, statement

LIMITS = Limits(rows=100, bytes=1000, seconds=5.0)
POOLING = Pooling(2, 0.2)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PROBED = b'{"name":"readonly","value":"0"}\n{"name":"max_execution_time","value":"0","max":"2"}\n'


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield port
    finally:
        await runner.cleanup()


def search_source(port: int, **changes: Any) -> Source:
    value = {"host": "http://localhost", "port": port, "index": "logs-*"}
    return source(Engine.ELASTICSEARCH, value | changes)


def columns_source(port: int, **changes: Any) -> Source:
    known = {"host": "localhost", "port": port, "database": "d", "username": "u", "password": "canary", "secure": False}
    return source(Engine.CLICKHOUSE, known | changes)


async def searched(where: Source, resolve: Resolve = dial, body: dict[str, Any] | None = None) -> list[Any]:
    driver = elasticsearch(resolve, POOLING)(where)
    try:
        async with driver.run(Bound(Engine.ELASTICSEARCH, (), (), body or {}), LIMITS) as rows:
            return [list(row) for row in await rows.batch()]
    finally:
        await driver.close()


async def queried(where: Source, bound: Bound, limits: Limits = LIMITS) -> list[Any]:
    driver = clickhouse(dial, POOLING)(where)
    found = list[Any]()
    try:
        async with driver.run(bound, limits) as rows:
            while batch := await rows.batch():
                found += [list(row) for row in batch]
    finally:
        await driver.close()
    return found


async def test_a_search_goes_to_its_index_with_its_login() -> None:
    seen = list[web.Request]()

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({"hits": {"hits": [{"_id": "1", "_source": {"a": 2**60}}]}})

    async with served(handler) as port:
        login = {"username": "u", "password": "pass:word"}
        assert await searched(search_source(port, **login)) == [["1", str(2**60)]]
        await searched(search_source(port, api_key="key", headers={"X-Team": "a"}))
    first, second = seen
    assert (first.method, first.path) == ("POST", "/logs-*/_search")
    assert first.headers["Authorization"] == "Basic " + b64encode(b"u:pass:word").decode()
    assert dict(first.query) == {"allow_partial_search_results": "false"}
    assert (second.headers["Authorization"], second.headers["X-Team"]) == ("ApiKey key", "a")
    assert second.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(("size", "asked"), [(5000, 100), ("5000", 100), (7, 7), (None, None)])
async def test_a_search_asks_for_no_more_than_the_limit(size: object, asked: object) -> None:
    bodies = list[dict[str, Any]]()

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.json_response({"hits": {"hits": []}})

    async with served(handler) as port:
        await searched(search_source(port), body={} if size is None else {"size": size})
    assert bodies[0].get("size") == asked
    assert (bodies[0]["timeout"], bodies[0]["track_total_hits"]) == ("5000ms", True)


async def test_a_redirect_is_not_followed() -> None:
    asked = list[str]()

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with served(handler) as port:
        for asking in (searched(search_source(port)), queried(columns_source(port), statement(Engine.CLICKHOUSE, "1"))):
            with pytest.raises(ConnectorError) as refused:
                await asking
            assert refused.value.details == {"cause": "redirected"}
    assert "/elsewhere" not in asked


async def test_the_address_that_was_checked_is_dialled() -> None:
    asked = list[tuple[str, int]]()

    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"hits": {"hits": []}})

    async def resolve(host: str, port: int) -> str:
        asked.append((host, port))
        return "127.0.0.1"

    async with served(handler) as port:
        assert await searched(search_source(port, host="http://search.example"), resolve) == []
        assert asked == [("search.example", port)]
        for host in ("http://127.0.0.1", "http://localhost"):
            with pytest.raises(ConnectorError) as refused:
                await searched(search_source(port, host=host), EgressPolicy().address_of)
            assert refused.value.details == {"cause": "egress_refused"}


async def test_a_connection_is_used_again_and_closed_when_unused() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"hits": {"hits": []}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    driver = elasticsearch(dial, POOLING)(search_source(port))

    def connections() -> int:
        assert runner.server is not None
        return len(runner.server.connections)

    async def none_left() -> bool:
        return connections() == 0

    try:
        for _ in range(3):
            async with driver.run(Bound(Engine.ELASTICSEARCH, (), (), {}), LIMITS) as rows:
                assert await rows.batch() == []
        assert connections() == 1
        await eventually(none_left, seconds=5)
    finally:
        await driver.close()
        await runner.cleanup()


async def test_an_answer_that_does_not_end_is_left() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 2**20)

    async with served(handler) as port:
        with pytest.raises(QueryExecutionError, match="larger than 4 MiB"):
            await searched(search_source(port))


@pytest.mark.parametrize("content", [b"<html>", b"[]", gzip.compress(b"{}", mtime=0), b'{"hits": \xff}'])
async def test_what_is_no_search_server(content: bytes) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=content)

    async with served(handler) as port:
        with pytest.raises(ConnectorError) as refused:
            await searched(search_source(port))
    assert refused.value.details == {"cause": "not_a_search_server"}


@pytest.mark.parametrize(("status", "cause"), [(401, "wrong_password"), (403, "login_refused")])
async def test_logins_that_are_refused(status: int, cause: str) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text="no")

    async with served(handler) as port:
        with pytest.raises(ConnectorError) as refused:
            await searched(search_source(port))
    assert refused.value.details == {"cause": cause}


async def test_half_of_an_answer_is_none() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"timed_out": True, "hits": {"hits": []}})

    async with served(handler) as port:
        with pytest.raises(QueryTimeout):
            await searched(search_source(port))


async def test_what_answers_speaks_no_http() -> None:
    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"J\x00\x00\x00\n5.7.44\x00")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ConnectorError) as refused:
            await searched(search_source(server.sockets[0].getsockname()[1]))
    assert refused.value.details["cause"] in ("not_http", "connection_lost")


def columns(*answers: bytes, settings: bytes = PROBED) -> tuple[Handler, list[web.Request]]:
    """A ClickHouse that answers its settings, then these bytes one after the other."""
    seen = list[web.Request]()

    async def handler(request: web.Request) -> web.StreamResponse:
        text = await request.text()
        if "system.settings" in text:
            return web.Response(body=settings)
        seen.append(request)
        response = web.StreamResponse()
        await response.prepare(request)
        for answer in answers if "KILL" not in text else ():
            await response.write(answer)
            await asyncio.sleep(0.01)
        return response

    return handler, seen


async def test_rows_are_put_together_from_what_comes() -> None:
    handler, seen = columns(b'["a","b"]\n["Int8","Strin', b'g"]\n[1,"x"]\n[2', b',"y"]\n', b"[3,null]\n")
    async with served(handler) as port:
        bound = statement(Engine.CLICKHOUSE, "SELECT ", quoted("a\tb\\"), ", ", bare(5))
        assert await queried(columns_source(port), bound) == [[1, "x"], [2, "y"], [3, None]]
    (request,) = seen  # nothing had to be stopped
    assert (request.query["param_p0"], request.query["param_p1"]) == ("a\\tb\\\\", "5")
    assert request.query["readonly"] == "1"
    assert request.query["max_execution_time"] == "2"  # the profile's own limit is lower
    assert "max_result_rows" not in request.query  # a setting that this server does not name


async def test_a_server_that_fails_in_the_middle() -> None:
    said = b"Code: 241. DB::Exception: Memory limit exceeded: canary. (MEMORY_LIMIT_EXCEEDED)\n"
    handler, _ = columns(b'["a"]\n["Int8"]\n[1]\n', said)
    async with served(handler) as port:
        with pytest.raises(QueryExecutionError) as failed:
            await queried(columns_source(port), statement(Engine.CLICKHOUSE, "SELECT 1"))
    assert failed.value.details == {"code": 241}
    assert "canary" not in str(failed.value)


async def test_a_row_that_does_not_end_is_left_and_stopped() -> None:
    handler, seen = columns(b'["a"]\n["String"]\n["', *[b"x" * 2**19] * 8)
    async with served(handler) as port:
        with pytest.raises(QueryExecutionError, match="row of the result is larger"):
            await queried(columns_source(port), statement(Engine.CLICKHOUSE, "SELECT 1"))
    assert len(seen) == 2  # the statement, and what stops it


async def test_rows_behind_the_limit_are_not_waited_for() -> None:
    handler, seen = columns(b'["a"]\n["Int8"]\n', *[b"[1]\n"] * 200)
    async with served(handler) as port:
        found = await queried(columns_source(port), statement(Engine.CLICKHOUSE, "SELECT 1"), Limits(3, 1000, 5.0))
    assert found == [[1]] * 4
    assert len(seen) == 2


@pytest.mark.parametrize(
    "settings",
    [
        b'{"name":"readonly","value":"2"}\n',
        b'{"name":"readonly","value":"0","readonly":1}\n',
    ],
)
async def test_a_user_whom_nothing_makes_read_only(settings: bytes) -> None:
    handler, seen = columns(settings=settings)
    async with served(handler) as port:
        with pytest.raises(ConnectorError) as refused:
            await queried(columns_source(port), statement(Engine.CLICKHOUSE, "SELECT 1"))
    assert refused.value.details == {"cause": "not_read_only"}
    assert [await request.text() for request in seen if "KILL" not in await request.text()] == []
