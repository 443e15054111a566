"""Elasticsearch and OpenSearch: one `_search` of the connection's own index, nothing else."""

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, urlsplit

import orjson

from services.query_executor.drivers import Column, Limits, Row
from services.query_executor.drivers.budget import Budget, timed_out
from services.query_executor.drivers.elasticsearch_errors import raise_for
from services.query_executor.drivers.elasticsearch_rows import as_rows, columns_of, of_aggregations, of_hits
from services.query_executor.drivers.http import Answer, HttpClient
from services.query_executor.drivers.network_errors import connector_error, named_http_failures
from services.query_executor.drivers.source import Make, Pooling, Resolve, Source
from services.query_executor.drivers.turns import Turns
from services.query_executor.drivers.values import document
from services.query_executor.secret_types import ElasticsearchConnection
from services.query_executor.statement import Bound

_BATCH: Final = 1000
# Around the documents the answer holds names, scores and the sources' own white space.
_OVERHEAD, _SLACK = 2, 4 * 2**20
# Half of an answer is no answer.
_QUERY: Final = {"allow_partial_search_results": "false"}


class SearchRows:
    """The rows of an answer that came whole."""

    def __init__(self, answer: Mapping[str, Any], body: Mapping[str, Any], limits: Limits) -> None:
        aggregations = answer.get("aggregations")
        buckets = body.get("size") == 0 and isinstance(aggregations, Mapping)
        found = of_aggregations(aggregations) if buckets and aggregations else iter(of_hits(answer))
        named = list(islice(found, limits.rows + 1))
        self.columns: tuple[Column, ...] = columns_of(named)
        self.available = None if buckets else _total(answer)
        self._rows = as_rows(named, self.columns)
        self._next = 0

    async def batch(self) -> Sequence[Row]:
        """The next rows."""
        rows = self._rows[self._next : self._next + _BATCH]
        self._next += len(rows)
        return rows


def _total(answer: Mapping[str, Any]) -> int | None:
    """Hits that match; before Elasticsearch 7 a plain number, with a lower bound unknown."""
    total = answer.get("hits", {}).get("total")
    if isinstance(total, Mapping):
        return total.get("value") if total.get("relation") == "eq" else None
    return total if isinstance(total, int) else None


class ElasticsearchDriver:
    """One version of one secret."""

    def __init__(self, source: Source, resolve: Resolve, pooling: Pooling) -> None:
        assert isinstance(source.connection, ElasticsearchConnection)
        connection = source.connection
        host, port = connection.target
        secure, ssl_mode = urlsplit(connection.host).scheme == "https", source.settings.ssl_mode
        self._client = HttpClient(host, port, resolve, pooling, secure=secure, ssl_mode=ssl_mode)
        self._turns = Turns(pooling.connections)
        self._path = f"/{quote(connection.index, safe='*,')}/_search"
        self._connection = connection

    @asynccontextmanager
    async def run(self, bound: Bound, limits: Limits) -> AsyncIterator[SearchRows]:
        """Search. A search that nobody waits for is stopped by the server: its connection is closed."""
        assert bound.body is not None
        body = _bounded(bound.body, limits)
        budget = Budget(limits.seconds)
        with named_http_failures():
            async with self._turns.one(), budget.spent():
                answer = await self._searched(body, limits)
            rows = SearchRows(answer, body, limits)
        yield rows

    async def _searched(self, body: Mapping[str, Any], limits: Limits) -> Mapping[str, Any]:
        most = limits.bytes * _OVERHEAD + _SLACK
        answer = await self._client.whole(self._path, _QUERY, self._headers(), orjson.dumps(body), most)
        content = _json(answer)
        if answer.status != 200:
            raise_for(answer.status, content, body, limits.seconds)
        if content.get("timed_out"):
            raise timed_out(limits.seconds)
        return content

    def _headers(self) -> dict[str, str]:
        """The secret's own headers, then how it logs in, then what no secret may change."""
        known = self._connection
        headers = {name: value.get_secret_value() for name, value in (known.headers or {}).items()}
        if known.api_key is not None:
            headers["Authorization"] = f"ApiKey {known.api_key.get_secret_value()}"
        elif known.username is not None and known.password is not None:
            pair = f"{known.username}:{known.password.get_secret_value()}"
            headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        return headers | {"Content-Type": "application/json", "Accept": "application/json"}

    async def close(self) -> None:
        """Close what is kept alive."""
        await self._client.close()


def _bounded(body: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The search with the limits of this execution; how many match is counted to the end where it says nothing."""
    bounded = {"track_total_hits": True, **body, "timeout": f"{max(1, int(limits.seconds * 1000))}ms"}
    size = body.get("size")
    if isinstance(size, int) or (isinstance(size, str) and size.isdecimal()):  # servers read both
        bounded["size"] = min(int(size), limits.rows)
    return bounded


def _json(answer: Answer) -> Mapping[str, Any]:
    try:
        content = document(answer.body.decode())
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    if answer.status in (401, 403):
        return {}
    raise connector_error("not_a_search_server", "What answers at the secret's host is no Elasticsearch or OpenSearch.")


def maker(resolve: Resolve, pooling: Pooling) -> Make:
    """Makes drivers of this engine."""
    return lambda source: ElasticsearchDriver(source, resolve, pooling)
