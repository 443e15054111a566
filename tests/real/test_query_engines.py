"""Saved queries through the gateway on servers other than Postgres: the same envelope, codes and redaction."""

from typing import Any

import pytest

from deploy.local.mariadb import MariaDb
from deploy.local.opensearch import OpenSearchNode
from deploy.local.query_samples import DATABASE, READER
from tests.integration.query_harness import Reply, Shop
from tests.real.conftest import READER_PASSWORD

pytestmark = pytest.mark.real
SALES = "SELECT region, amount, sold_at FROM sales WHERE status = '{{ status }}' ORDER BY id LIMIT {{ most }}"
SEARCH = """{"_source": ["region", "amount"], "query": {"term": {"status": "{{ status }}"}},
             "sort": [{"sold_at": "asc"}], "size": {{ most }}}"""


async def saved(shop: Shop, type_slug: str, value: dict[str, Any], text: str) -> str:
    """The slug of a query on a secret of its own."""
    made = await shop.secret("engine", type_slug, value)
    assert made.status == 201, made.body
    query = await shop.query(text, secret_key="engine")
    assert query.status == 201, query.body
    return str(query.body["data"]["slug"])


def error(reply: Reply) -> tuple[int, str]:
    assert READER_PASSWORD not in str(reply.body)
    return reply.status, reply.body["code"]


async def test_mysql(shop: Shop, mariadb: MariaDb) -> None:
    value = {
        "host": "127.0.0.1", "port": mariadb.port, "database": DATABASE, "username": READER,
        "password": READER_PASSWORD,
    }  # fmt: skip
    slug = await saved(shop, "analytics-mysql", value, SALES)
    done = await shop.execute(slug, status="paid", most=1)
    assert (done.status, done.body["total"]) == (200, 1)
    assert done.body["data"] == [{"region": "North", "amount": 20.25, "sold_at": "2024-01-16T11:00:00"}]
    assert (await shop.execute(slug, status="paid' OR '1'='1", most=9)).body["data"] == []
    assert error(await shop.query("SELECT sleep(5)", name="slow", secret_key="engine")) == (400, "QueryValidationError")
    missing = await shop.query("SELECT nope FROM sales", name="missing", secret_key="engine")
    assert error(await shop.execute(missing.body["data"]["slug"])) == (422, "QueryExecutionError")
    wrong = await shop.call("PUT", "secrets/engine/", {"value": value | {"password": "not-the-password"}})
    assert wrong.status == 200, wrong.body
    assert error(await shop.execute(slug, status="paid", most=1)) == (502, "ConnectorError")


async def test_opensearch(shop: Shop, opensearch: OpenSearchNode) -> None:
    value = {"host": "http://127.0.0.1", "port": opensearch.port, "index": "logs-2024"}
    slug = await saved(shop, "analytics-elasticsearch", value, SEARCH)
    done = await shop.execute(slug, status="paid", most=1)
    assert (done.status, done.body["total"]) == (200, 1)
    assert done.body["data"] == [{"_id": "2", "region": "North", "amount": 20.25}]
    assert error(await shop.execute(slug, status="paid", most=-1)) == (400, "QueryValidationError")
