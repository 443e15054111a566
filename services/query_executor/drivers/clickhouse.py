"""ClickHouse over HTTP: readonly=1, a fixed set of settings, values as the server's own query parameters."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import orjson

from libs.common.errors import TidemarkError
from services.query_executor.drivers import Column, Limits, Row
from services.query_executor.drivers.budget import Budget
from services.query_executor.drivers.clickhouse_errors import named
from services.query_executor.drivers.clickhouse_settings import PROBE, Settings
from services.query_executor.drivers.clickhouse_values import converter, parameter_text, parameter_type
from services.query_executor.drivers.http import HttpClient
from services.query_executor.drivers.lines import Lines
from services.query_executor.drivers.network_errors import named_http_failures
from services.query_executor.drivers.source import Make, Pooling, Resolve, Source
from services.query_executor.drivers.turns import Turns
from services.query_executor.errors import QueryExecutionError
from services.query_executor.secret_types import ClickHouseConnection
from services.query_executor.statement import Bind, Bound
from services.query_executor.template import written

_FORMAT: Final = "JSONCompactEachRowWithNamesAndTypes"
_CODE: Final = "X-ClickHouse-Exception-Code"
_ZONE: Final = "X-ClickHouse-Timezone"
_OF_SETTINGS: Final = (115, 164, 452)
_MOST_ROWS: Final = 1000
_SMALL_ANSWER: Final = 2**20
_KILL_SECONDS: Final = 5.0
_SLACK: Final = 2**20


class ClickHouseRows:
    """Rows as the server sends them: names, types, then one JSON list a line."""

    def __init__(self, lines: Lines, limits: Limits, budget: Budget, zone: str | None, binds: Sequence[Bind]) -> None:
        self.columns: tuple[Column, ...] = ()
        self.available: int | None = None
        self.finished = False
        self._lines, self._budget, self._zone, self._binds = lines, budget, zone, binds
        self._wanted = limits.rows + 1
        self._converters: list[Any] = []
        self._load: Any = orjson.loads

    async def begin(self) -> None:
        """Read the columns; a statement without a result has none."""
        names, types = await self._lines.next(), await self._lines.next()
        if names is None or types is None:
            self.finished, self._wanted = True, 0
            return
        kinds = self._list(types)
        self.columns = tuple(map(Column, self._list(names), kinds))
        self._converters = [converter(kind, self._zone) for kind in kinds]
        if any("Decimal" in kind or "256" in kind or "128" in kind for kind in kinds):
            self._load = _exactly

    async def batch(self) -> Sequence[Row]:
        """The next rows: those that have come, at least one."""
        if self._wanted == 0:
            return ()
        with named_http_failures():
            async with self._budget.spent():
                lines = await self._lines.some(min(self._wanted, _MOST_ROWS))
            rows = [self._row(line) for line in lines]
        self.finished = not lines
        self._wanted = self._wanted - len(rows) if rows else 0
        return rows

    def _row(self, line: bytes) -> Row:
        values = self._list(line)
        return [
            None if value is None else convert(value) for value, convert in zip(values, self._converters, strict=True)
        ]

    def _list(self, line: bytes) -> Any:
        """A server that fails in the middle of a result writes why where a row would stand."""
        text = line.decode("utf-8", "replace")
        if not text.startswith("["):
            self.finished = True
            raise named(text, None, self._binds, self._budget.seconds)
        return self._load(text)


def _exactly(text: str) -> Any:
    """Fractions with all their digits."""
    return json.loads(text, parse_float=Decimal)


class ClickHouseDriver:
    """One version of one secret."""

    def __init__(self, source: Source, resolve: Resolve, pooling: Pooling) -> None:
        assert isinstance(source.connection, ClickHouseConnection)
        known = self._connection = source.connection
        self._client = HttpClient(
            known.host, known.port, resolve, pooling, secure=known.secure, ssl_mode=source.settings.ssl_mode
        )
        self._turns = Turns(pooling.connections)
        self._settings: Settings | None = None

    @asynccontextmanager
    async def run(self, bound: Bound, limits: Limits) -> AsyncIterator[ClickHouseRows]:
        """Run one statement read-only."""
        budget, query_id = Budget(limits.seconds), uuid4().hex
        with named_http_failures():
            await self._turns.take()
        try:
            async with self._answered(bound, limits, budget, query_id) as response:
                rows = self._rows(response, bound, limits, budget)
                try:
                    with named_http_failures():
                        async with budget.spent():
                            await rows.begin()
                    yield rows
                finally:
                    if not rows.finished:
                        await asyncio.shield(self._stop(query_id))
        finally:
            self._turns.release()

    @asynccontextmanager
    async def _answered(self, bound: Bound, limits: Limits, budget: Budget, query_id: str) -> AsyncIterator[Any]:
        """The answer when its first bytes have come; nothing runs on when it is left."""
        try:
            with named_http_failures():
                async with budget.spent():
                    settings = await self._known()
                    response = await self._sent(bound, settings.query(limits), query_id)
        except BaseException:
            await asyncio.shield(self._stop(query_id))
            raise
        try:
            if response.status != 200:
                with named_http_failures():
                    raise await self._refusal(response, bound, limits)
            yield response
        finally:
            response.close()

    async def _refusal(self, response: Any, bound: Bound, limits: Limits) -> TidemarkError:
        """What the server says; where it speaks of settings, the user's profile may have changed since we asked."""
        said = (await response.content.read(_SMALL_ANSWER)).decode("utf-8", "replace")
        error = named(said, response.headers.get(_CODE), bound.binds, limits.seconds)
        if isinstance(error, QueryExecutionError) and error.details.get("code") in _OF_SETTINGS:
            self._settings = None
        return error

    async def _sent(self, bound: Bound, settings: dict[str, str], query_id: str) -> Any:
        text = written(bound, lambda number, bind: f"{{p{number}:{parameter_type(bind)}}}")
        values = {f"param_p{number}": parameter_text(bind) for number, bind in enumerate(bound.binds)}
        query = settings | values | {"query_id": query_id, "default_format": _FORMAT} | self._database()
        return await self._client.post("/", query, self._headers(), text.encode())

    def _rows(self, response: Any, bound: Bound, limits: Limits, budget: Budget) -> ClickHouseRows:
        lines = Lines(response.content, limits.bytes + _SLACK)
        return ClickHouseRows(lines, limits, budget, response.headers.get(_ZONE), bound.binds)

    async def _known(self) -> Settings:
        """What may be set. Asked once; two first statements may both ask."""
        if self._settings is None:
            answer = await self._client.whole("/", self._database(), self._headers(), PROBE.encode(), _SMALL_ANSWER)
            if answer.status != 200:
                raise named(answer.body.decode("utf-8", "replace"), answer.headers.get(_CODE), (), 0.0)
            self._settings = Settings.read(answer.body)
        return self._settings

    async def _stop(self, query_id: str) -> None:
        """Stop a statement that nobody reads; one that has ended already is none. Never fails."""
        text = f"KILL QUERY WHERE query_id = '{query_id}' ASYNC FORMAT Null"
        with suppress(TidemarkError, TimeoutError):
            async with asyncio.timeout(_KILL_SECONDS):
                with named_http_failures():
                    await self._client.whole("/", {}, self._headers(), text.encode(), _SMALL_ANSWER)

    def _database(self) -> dict[str, str]:
        return {"database": self._connection.database}

    def _headers(self) -> dict[str, str]:
        known = self._connection
        pair = f"{known.username}:{known.password.get_secret_value()}"
        return {"Authorization": "Basic " + b64encode(pair.encode()).decode(), "Content-Type": "text/plain"}

    async def close(self) -> None:
        """Close what is kept alive."""
        await self._client.close()


def maker(resolve: Resolve, pooling: Pooling) -> Make:
    """Makes drivers of this engine."""
    return lambda source: ClickHouseDriver(source, resolve, pooling)
