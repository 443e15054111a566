"""The search driver against a real OpenSearch 2.19: with no parser in front of it, then both."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from deploy.local.opensearch import OpenSearchNode
from deploy.local.query_samples import INDEX
from services.query_executor.drivers import Limits
from services.query_executor.drivers.elasticsearch import maker
from services.query_executor.drivers.pools import Drivers
from services.query_executor.drivers.source import Pooling, Source
from services.query_executor.errors import ConnectorError, QueryExecutionError, QueryTimeout
from services.query_executor.guard import Policy
from services.query_executor.statement import Bound, Engine
from tests.support import query_drivers
from tests.support.processes import eventually
from tests.support.query_drivers import HOSTILE, LIMITS, dial, proved, refused_by_the_parser, rows_of

pytestmark = pytest.mark.real

POLICY = Policy(index="logs-*", max_rows=1000)
# A minute of work for a script in each document; it looks at nothing but the clock of its loop.
SLOW = {"script": {"script": {"source": "long n = 0; for (int i = 0; i < 900000; i++) { n += i % 7 } return n > 0"}}}


def source(node: OpenSearchNode, **changes: Any) -> Source:
    settings = {name: changes.pop(name) for name in ("ssl_mode",) if name in changes}
    value = {"host": "http://127.0.0.1", "port": node.port, "index": "logs-*"}
    return query_drivers.source(Engine.ELASTICSEARCH, value | changes, **settings)


def search(body: dict[str, Any]) -> Bound:
    return Bound(Engine.ELASTICSEARCH, (), (), body)


@pytest.fixture
async def drivers() -> AsyncIterator[Drivers]:
    found = Drivers({Engine.ELASTICSEARCH: maker(dial, Pooling(2, 0.5))}, limit=8)
    yield found
    await found.close()


@pytest.fixture
async def node(opensearch: OpenSearchNode) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(opensearch.url) as session:
        yield session


async def objects(drivers: Drivers, where: Source, body: dict[str, Any], limits: Limits = LIMITS) -> list[Any]:
    """Rows as objects without what they lack."""
    columns, rows = await query_drivers.result_of(drivers, where, search(body), limits)
    names = [column.name for column in columns]
    return [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]


async def test_hits_are_rows_with_one_level_of_names(drivers: Drivers, opensearch: OpenSearchNode) -> None:
    found = await objects(drivers, source(opensearch), {"sort": [{"sold_at": "asc"}], "size": 1})
    assert found == [
        {
            "_id": "1", "region": "North", "status": "open", "amount": 10.5, "sold_at": "2024-01-15T10:30:00Z",
            "customer.name": "Customer 1", "customer.tags": ["a", "b"], "note": "Sale number 1",
        }
    ]  # fmt: skip


async def test_how_many_there_are(drivers: Drivers, opensearch: OpenSearchNode) -> None:
    limits = Limits(2, 10**6, 60.0)
    where = source(opensearch)
    async with drivers.lease(where) as driver, driver.run(search({"size": 1000}), limits) as rows:
        assert len(await rows.batch()) == 2  # the limit stands in the search itself
        assert rows.available == 4
        assert await rows.batch() == []


async def test_buckets_are_rows(drivers: Drivers, opensearch: OpenSearchNode) -> None:
    body = {
        "size": 0,
        "aggs": {
            "region": {
                "terms": {"field": "region", "order": {"_key": "asc"}},
                "aggs": {"status": {"terms": {"field": "status"}, "aggs": {"revenue": {"sum": {"field": "amount"}}}}},
            }
        },
    }
    assert await objects(drivers, source(opensearch), body) == [
        {"region": "Europe", "status": "paid", "doc_count": 1, "revenue": 99.99},
        {"region": "North", "status": "open", "doc_count": 1, "revenue": 10.5},
        {"region": "North", "status": "paid", "doc_count": 1, "revenue": 20.25},
        {"region": "O'Brien", "status": "open", "doc_count": 1, "revenue": 0.1},
    ]


async def test_aggregations_of_other_shapes(drivers: Drivers, opensearch: OpenSearchNode) -> None:
    where = source(opensearch)
    months = {"date_histogram": {"field": "sold_at", "calendar_interval": "month", "format": "yyyy-MM"}}
    assert await objects(drivers, where, {"size": 0, "aggs": {"month": months}}) == [
        {"month": "2024-01", "doc_count": 3},
        {"month": "2024-02", "doc_count": 1},
    ]
    metrics = {"most": {"max": {"field": "amount"}}, "amount": {"stats": {"field": "amount"}}}
    (one,) = await objects(drivers, where, {"size": 0, "aggs": metrics})
    assert one == {
        "most": 99.99, "amount.count": 4, "amount.min": 0.1, "amount.max": 99.99, "amount.avg": pytest.approx(32.71),
        "amount.sum": pytest.approx(130.84),
    }  # fmt: skip
    paid = {"paid": {"filter": {"term": {"status": "paid"}}, "aggs": {"least": {"min": {"field": "amount"}}}}}
    assert await objects(drivers, where, {"size": 0, "aggs": paid}) == [{"paid.doc_count": 2, "paid.least": 20.25}]
    named = {"kind": {"filters": {"filters": {"open": {"term": {"status": "open"}}, "none": {"match_none": {}}}}}}
    assert await objects(drivers, where, {"size": 0, "aggs": named}) == [
        {"kind": "none", "doc_count": 0},
        {"kind": "open", "doc_count": 2},
    ]
    both = {"both": {"composite": {"sources": [{"s": {"terms": {"field": "status"}}}]}}}
    assert await objects(drivers, where, {"size": 0, "aggs": both}) == [
        {"both.s": "open", "doc_count": 2},
        {"both.s": "paid", "doc_count": 2},
    ]
    middle = {"middle": {"percentiles": {"field": "amount", "percents": [50]}}}
    assert list((await objects(drivers, where, {"size": 0, "aggs": middle}))[0]) == ["middle.50.0"]
    top = {"region": {"terms": {"field": "region", "size": 1}, "aggs": {"first": {"top_hits": {"size": 1}}}}}
    (with_hits,) = await objects(drivers, where, {"size": 0, "aggs": top})
    assert with_hits["first"][0]["region"] == with_hits["region"] == "North"


async def test_buckets_are_cut_at_the_limit(drivers: Drivers, opensearch: OpenSearchNode) -> None:
    body = {"size": 0, "aggs": {"region": {"terms": {"field": "region"}}}}
    assert len(await objects(drivers, source(opensearch), body, Limits(1, 10**6, 60.0))) == 2  # the limit and one


async def test_values_arrive_unchanged(
    drivers: Drivers, opensearch: OpenSearchNode, node: aiohttp.ClientSession
) -> None:
    async with node.put("/logs-values", json={"mappings": {"properties": {"v": {"type": "keyword"}}}}) as made:
        made.raise_for_status()
    for number, text in enumerate(HOSTILE):
        async with node.put(f"/logs-values/_doc/{number}?refresh=true", json={"v": text, "long": 2**53 + 1}) as put:
            put.raise_for_status()
    template = '{"query": {"term": {"v": "{{ v }}"}}, "size": 10}'
    where = source(opensearch, index="logs-values")
    for number, text in enumerate(HOSTILE):
        bound = proved(Engine.ELASTICSEARCH, template, {"v": text}, POLICY)
        assert await rows_of(drivers, where, bound) == [(str(number), text, str(2**53 + 1))]
    async with node.delete("/logs-values"):
        pass


async def test_the_documented_search_on_its_whole_way(drivers: Drivers, opensearch: OpenSearchNode) -> None:
    text = """{"_source": ["region", "amount"],
      "query": {"bool": {"must": [{"match": {"status": "{{ status }}"}},
        {"range": {"sold_at": {"gte": "{{ start_date }}", "lte": "{{ end_date }}"}}}]}},
      "sort": [{"sold_at": "desc"}], "size": 100}"""
    params = {"status": "paid", "start_date": "2024-01-01", "end_date": "2024-12-31"}
    bound = proved(Engine.ELASTICSEARCH, text, params, POLICY)
    found = await rows_of(drivers, source(opensearch), bound)
    assert [dict(zip(("_id", "amount", "region"), row, strict=True)) for row in found] == [
        {"_id": "3", "amount": 99.99, "region": "Europe"},
        {"_id": "2", "amount": 20.25, "region": "North"},
    ]


async def searches(node: aiohttp.ClientSession, actions: str = "*search*") -> int:
    """How many tasks of searches the node is at work on."""
    async with node.get("/_tasks", params={"actions": actions}) as answer:
        nodes = (await answer.json())["nodes"].values()
    return sum(len(each["tasks"]) for each in nodes)


async def requests(node: aiohttp.ClientSession) -> int:
    return await searches(node, "indices:data/read/search")


@pytest.fixture
async def many(opensearch: OpenSearchNode, node: aiohttp.ClientSession) -> AsyncIterator[str]:
    """An index whose documents a script takes long for."""
    lines = b'{"index":{}}\n{"a":1}\n' * 5000
    headers = {"Content-Type": "application/x-ndjson"}
    async with node.post("/logs-many/_bulk?refresh=true", data=lines, headers=headers) as put:
        put.raise_for_status()
    yield "logs-many"
    async with node.delete("/logs-many"):
        pass


async def test_a_search_that_nobody_waits_for_stops_on_the_server(
    drivers: Drivers, opensearch: OpenSearchNode, node: aiohttp.ClientSession, many: str
) -> None:
    where = source(opensearch, index=many)
    slow = asyncio.create_task(objects(drivers, where, {"query": SLOW}, Limits(10, 10**6, 60.0)))

    async def runs() -> bool:
        return await searches(node) > 0

    async def stopped() -> bool:
        return await searches(node) == 0

    await eventually(runs)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    await eventually(stopped, seconds=45)
    with pytest.raises(QueryTimeout):
        await objects(drivers, where, {"query": SLOW}, Limits(10, 10**6, 0.5))
    await eventually(stopped, seconds=45)
    assert len(await objects(drivers, source(opensearch, index=INDEX), {})) == 4


async def test_searches_at_once_are_bounded(
    drivers: Drivers, opensearch: OpenSearchNode, node: aiohttp.ClientSession, many: str
) -> None:
    where = source(opensearch, index=many)
    tasks = [asyncio.create_task(objects(drivers, where, {"query": SLOW}, Limits(1, 10**6, 60.0))) for _ in range(5)]

    async def both() -> bool:
        return await requests(node) == 2

    await eventually(both)
    await asyncio.sleep(0.3)
    assert await requests(node) == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


PARSERS = [
    '{"query": {"script": {"script": "true"}}}',
    '{"query": {"\\u0073cript": {"script": "true"}}}',
    '{"query": {"script_score": {"query": {"match_all": {}}, "script": {"source": "1"}}}}',
    '{"script_fields": {"x": {"script": "1"}}}',
    '{"derived": {"x": {"type": "long", "script": "emit(1)"}}}',
    '{"sort": [{"_script": {"type": "number", "script": "1"}}]}',
    '{"size": 0, "aggs": {"x": {"max": {"script": "1"}}}}',
    '{"query": {"wrapper": {"query": "eyJtYXRjaF9hbGwiOiB7fX0="}}}',
    '{"query": {"terms": {"region": {"index": "secrets", "id": "1", "path": "x"}}}}',
    '{"runtime_mappings": {"x": {"type": "long"}}}',
]


@pytest.mark.parametrize("text", PARSERS)
async def test_what_the_way_lets_through_the_parser_refuses(text: str) -> None:
    """The only limits of the way itself are `_search` and the index: these are the parser's."""
    refused_by_the_parser(Engine.ELASTICSEARCH, text)


@pytest.mark.parametrize(
    "body",
    [
        {"doc": {"status": "gone"}},
        {"index": {"_index": "logs-2024"}},
        {"delete": {"_id": "1"}},
        {"query": {"match_all": {}}, "script": {"source": "ctx.op = 'delete'"}},
        {"pit": {"id": "x"}},
    ],
)
async def test_nothing_but_a_search_is_understood(
    drivers: Drivers, opensearch: OpenSearchNode, body: dict[str, Any]
) -> None:
    with pytest.raises(QueryExecutionError):
        await objects(drivers, source(opensearch), body)
    assert len(await objects(drivers, source(opensearch), {})) == 4


async def test_another_index_is_out_of_reach(
    drivers: Drivers, opensearch: OpenSearchNode, node: aiohttp.ClientSession
) -> None:
    async with node.put("/secrets/_doc/1?refresh=true", json={"x": "canary"}) as put:
        put.raise_for_status()
    found = await objects(drivers, source(opensearch), {"query": {"term": {"_index": "secrets"}}})
    assert found == []
    async with node.delete("/secrets"):
        pass


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"query": {"range": {"sold_at": {"gte": "canary"}}}}, "parse_exception"),
        ({"query": {"nope": {"x": "canary"}}}, "parsing_exception"),
        ({"query": {"regexp": {"region": "canary{"}}}, "query_shard_exception"),
        ({"size": 0, "aggs": {"canary": {"terms": {"field": "note"}}}}, "illegal_argument_exception"),
    ],
)
async def test_errors_name_no_value(
    drivers: Drivers, opensearch: OpenSearchNode, body: dict[str, Any], kind: str
) -> None:
    with pytest.raises(QueryExecutionError) as failed:
        await objects(drivers, source(opensearch), body)
    assert failed.value.details["type"] == kind
    assert "canary" not in str(failed.value) + str(failed.value.details)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [({"port": 1}, "refused"), ({"host": "https://127.0.0.1"}, "tls_failed"), ({"ssl_mode": "require"}, "tls_failed")],
)
async def test_the_way_to_the_server_is_named(
    drivers: Drivers, opensearch: OpenSearchNode, changes: dict[str, Any], cause: str
) -> None:
    with pytest.raises(ConnectorError) as failed:
        await objects(drivers, source(opensearch, **changes), {})
    assert failed.value.details == {"cause": cause}


async def test_an_index_that_does_not_exist(drivers: Drivers, opensearch: OpenSearchNode) -> None:
    with pytest.raises(QueryExecutionError) as missing:
        await objects(drivers, source(opensearch, index="nothing"), {})
    assert missing.value.details == {"status": 404, "type": "index_not_found_exception"}
    assert await objects(drivers, source(opensearch, index="nothing-*"), {}) == []
