"""What a Superset, or whatever sits in its place, may do to a client: one fault per name."""

import asyncio
import gzip
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from aiohttp import web

from tests.stubs.superset.content import LITERAL, Row
from tests.stubs.superset.server import Answer, Fault, reply

MEGABYTE = 2**20
LOGIN_PAGE = "<!doctype html><html><body>Sign in</body></html>"
SQL_TITLE = f"SELECT * FROM users WHERE mail = '{LITERAL}'; DROP TABLE bi_reference; --"
# Where a fault strikes. "data" are the requests for one chart's SQL.
PLACES: Mapping[str, Callable[[str], bool]] = {
    "everywhere": lambda path: True,
    "login": lambda path: path.endswith("/login"),
    "charts": lambda path: path == "/api/v1/chart/",
    "data": lambda path: path.endswith("/data") or path.endswith("/data/"),
    "datasets": lambda path: path == "/api/v1/dataset/",
    "databases": lambda path: "/database/" in path,
    "dashboards": lambda path: path == "/api/v1/dashboard/",
    "saved queries": lambda path: path == "/api/v1/saved_query/",
    "runs": lambda path: path == "/api/v1/query/",
    "me": lambda path: path == "/api/v1/me/",
    "users": lambda path: path == "/api/v1/security/users/",
}


def at(place: str, answering: Callable[[web.Request], Any]) -> Fault:
    """A fault that answers instead of Superset at one place."""

    async def fault(request: web.Request, answer: Answer) -> web.StreamResponse:
        if not PLACES[place](request.path):
            return await answer(request)
        answered = answering(request)
        found: web.StreamResponse = await answered if asyncio.iscoroutine(answered) else answered
        return found

    return fault


def text(body: str | bytes, status: int = 200, kind: str = "application/json") -> Callable[[web.Request], web.Response]:
    raw = body.encode() if isinstance(body, str) else body
    return lambda request: web.Response(body=raw, status=status, content_type=kind)


def _raw(data: bytes) -> Callable[[web.Request], Any]:
    """Bytes on the wire as they are, then the end of the connection."""

    async def answering(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(data)
        request.transport.close()
        raise asyncio.CancelledError

    return answering


async def _drip(request: web.Request) -> web.StreamResponse:
    """A byte now and then, without end."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for _ in range(10_000):
        await response.write(b" ")
        await asyncio.sleep(0.02)
    return response


async def _flood(request: web.Request) -> web.StreamResponse:
    """Bytes as fast as they go, without end."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for _ in range(10_000):
        await response.write(b" " * MEGABYTE)
    return response


@cache
def _small_and_large() -> bytes:
    return gzip.compress(b"[" + b" " * (200 * MEGABYTE) + b"]", 1)


def _bomb(request: web.Request) -> web.Response:
    return web.Response(
        body=_small_and_large(), headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )


def _never(request: web.Request) -> Any:
    return asyncio.sleep(3600)


ANSWERS: Mapping[str, Callable[[web.Request], Any]] = {
    "html with 200": text(LOGIN_PAGE, kind="text/html"),
    "html called json": text(LOGIN_PAGE),
    "html with 403": text(LOGIN_PAGE, 403, "text/html"),
    "empty": text(""),
    "null": text("null"),
    "number": text("17"),
    "text": text('"ok"'),
    "list": text("[]"),
    "empty object": text("{}"),
    "null result": text('{"count": 1, "result": null}'),
    "object result": text('{"count": 1, "result": {"id": 1}}'),
    "odd entries": text('{"count": 4, "result": [null, 1, "x", [], {}]}'),
    "truncated json": text('{"count": 1, "result": [{"id": 1, "slice_na'),
    "not utf-8": text(b'{"count": 1, "result": ["\xff\xfe"]}'),
    "nan": text('{"count": NaN, "result": [Infinity]}'),
    "deep json": text("[" * 200_000),
    "deep closed json": text("[" * 5_000 + "]" * 5_000),
    "huge number": text('{"count": 1' + "0" * 5_000 + ', "result": []}'),
    "204": lambda request: web.Response(status=204),
    "202": text('{"job_id": "x"}', 202),
    "400": text('{"errors": []}', 400),
    "401": text('{"msg": "Token has expired"}', 401),
    "403": text('{"message": "Forbidden"}', 403),
    "404": text('{"message": "Not found"}', 404),
    "422": text('{"msg": "Not enough segments"}', 422),
    "422 of a schema": text('{"message": {"q": ["bad"]}}', 422),
    "500": text('{"message": "Fatal error"}', 500),
    "503": text("upstream", 503, "text/plain"),
    "599": text("?", 599, "text/plain"),
    "429": lambda request: reply({}, 429),
    "429 for an hour": lambda request: reply({}, 429, {"Retry-After": "3600"}),
    "429 for ever": lambda request: reply({}, 429, {"Retry-After": "1e400"}),
    "429 in the past": lambda request: reply({}, 429, {"Retry-After": "Mon, 01 Jan 1990 00:00:00 GMT"}),
    "429 with nonsense": lambda request: reply({}, 429, {"Retry-After": "Mon, 99 Foo -1"}),
    "redirect to itself": lambda request: web.Response(status=302, headers={"Location": str(request.rel_url)}),
    "redirect inside": lambda request: web.Response(status=307, headers={"Location": "http://169.254.169.254/latest"}),
    "redirect to a file": lambda request: web.Response(status=301, headers={"Location": "file:///etc/passwd"}),
    "redirect without place": lambda request: web.Response(status=308),
    "slow drip": _drip,
    "flood": _flood,
    "gzip bomb": _bomb,
    "not gzip": lambda request: web.Response(body=b"plain", headers={"Content-Encoding": "gzip"}),
    "no answer": _never,
    "connection cut": _raw(b""),
    "half a body": _raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"),
    "not http": _raw(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "bad chunks": _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
    "two lengths": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
    "long header": _raw(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n{}"),
    "many headers": _raw(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 20_000 + b"\r\n{}"),
    "bad status": _raw(b"HTTP/1.1 999999 OK\r\n\r\n{}"),
}


def endless(same: bool, count: object) -> Fault:
    """Lists that always have one more full page."""
    numbers = itertools.count(1)

    def answering(request: web.Request) -> web.Response:
        ids: Iterator[int] = iter(range(1, 101)) if same else itertools.islice(numbers, 100)
        return reply({"count": count, "result": [{"id": number, "slice_name": "x"} for number in ids]})

    return at("charts", answering)


def changed(place: str, change: Callable[[Row], object]) -> Fault:
    """Superset's own answer at one place, changed."""

    async def fault(request: web.Request, answer: Answer) -> web.StreamResponse:
        answered = await answer(request)
        if not PLACES[place](request.path) or not isinstance(answered, web.Response) or answered.status != 200:
            return answered
        body = json.loads(answered.text or "null")
        change(body)
        return reply(body)

    return fault


def every(field: str, value: object) -> Callable[[Row], object]:
    """A change of one field of all entries."""

    def change(body: Row) -> None:
        for entry in body["result"] if isinstance(body["result"], list) else [body["result"]]:
            entry[field] = value

    return change


WRONG_VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    1.5,
    10**30,
    1e300,
    "",
    " ",
    "x" * 5_000,
    "\ud800\x00\u202e",
    SQL_TITLE,
    "{% if %}{{ {{ '}} {#",
    [],
    {},
    [[1], None, {"id": "x"}],
    {"id": {"id": []}, "sql": 1},
)
FIELDS: tuple[tuple[str, str], ...] = (
    *(("charts", name) for name in ("id", "slice_name", "params", "datasource_id", "datasource_type", "dashboards")),
    *(("datasets", name) for name in ("id", "table_name", "schema", "catalog", "sql", "database")),
    *(("databases", name) for name in ("id", "database_name", "backend", "sqlalchemy_uri")),
    *(("dashboards", name) for name in ("id", "dashboard_title", "slug")),
    *(("saved queries", name) for name in ("id", "label", "sql", "schema", "catalog", "database", "sql_tables")),
    *(("runs", n) for n in ("id", "sql", "executed_sql", "status", "start_time", "tab_name", "user", "database")),
    *(("data", name) for name in ("query", "language")),
    ("users", "id"),
    ("users", "username"),
    ("me", "id"),
)


def hostile_cases() -> Iterator[tuple[str, Fault]]:
    """All of them, with their names."""
    for place in PLACES:
        for name, answering in ANSWERS.items():
            yield f"{name} at {place}", at(place, answering)
    for count in (None, 100, 10**9, -1, "many", 1e999):
        for same in (True, False):
            yield f"endless, same={same}, count={count}", endless(same, count)
    for place, field in FIELDS:
        for value in WRONG_VALUES:
            yield f"{field} of {place} is {str(value)[:20]!r}", changed(place, every(field, value))
    for place, field in (
        ("charts", "slice_name"),
        ("saved queries", "label"),
        ("saved queries", "sql"),
        ("runs", "sql"),
    ):
        yield f"10 MB {field} of {place}", changed(place, every(field, "n" * (10 * MEGABYTE)))
        yield f"10 MB of templates, {field} of {place}", changed(place, every(field, "{{ '" * (10 * MEGABYTE // 4)))
    yield "dashboards of 10 MB names", changed("dashboards", every("dashboard_title", "d" * (10 * MEGABYTE)))
    yield "lists that fill 40 MB", changed("charts", every("params", "p" * (14 * MEGABYTE)))
