"""A few tables of a shop for the servers that saved queries are tried against."""

from typing import Any, Final

import aiohttp
import mysql.connector.aio
import orjson

from deploy.local.mariadb import ADMIN, MariaDb
from deploy.local.opensearch import OpenSearchNode

DATABASE: Final = "shop"
READER: Final = "reader"
SALES: Final = (
    (1, "North", "open", "10.50", "2024-01-15 10:30:00"),
    (2, "North", "paid", "20.25", "2024-01-16 11:00:00"),
    (3, "Europe", "paid", "99.99", "2024-01-17 12:15:30"),
    (4, "O'Brien", "open", "0.10", "2024-02-01 00:00:00"),
)
INDEX: Final = "logs-2024"


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def values_list() -> str:
    """The sales as SQL writes them after VALUES, in every dialect."""
    return ", ".join(f"({', '.join(map(_literal, row))})" for row in SALES)


CLICKHOUSE_SALES: Final = (
    f"CREATE DATABASE {DATABASE}",
    f"""CREATE TABLE {DATABASE}.sales (id Int32, region String, status String, amount Decimal(12, 2),
        sold_at DateTime('UTC')) ENGINE = MergeTree ORDER BY id""",
    f"INSERT INTO {DATABASE}.sales VALUES {values_list()}",  # noqa: S608 - our own rows
)


async def as_administrator(server: MariaDb, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
    """Run statements; the rows of the last."""
    rows = list[tuple[Any, ...]]()
    async with await mysql.connector.aio.connect(
        host="127.0.0.1", port=server.port, user=ADMIN, password=server.password, database=database, autocommit=True
    ) as connection:
        for text in statements:
            async with await connection.cursor() as cursor:
                await cursor.execute(text)
                rows = list(await cursor.fetchall()) if cursor.with_rows else []
    return rows


async def fill_mariadb(server: MariaDb, reader_password: str) -> None:
    """The shop's tables, and a user who may only read them."""
    await as_administrator(
        server,
        f"CREATE OR REPLACE DATABASE {DATABASE} CHARACTER SET utf8mb4",
        f"""CREATE TABLE {DATABASE}.sales (id int PRIMARY KEY, region varchar(40), status varchar(10),
            amount decimal(12, 2), sold_at datetime)""",
        f"INSERT INTO {DATABASE}.sales VALUES {values_list()}",  # noqa: S608 - our own rows
        f"CREATE OR REPLACE USER '{READER}'@'127.0.0.1' IDENTIFIED BY '{reader_password}'",
        f"GRANT SELECT ON {DATABASE}.* TO '{READER}'@'127.0.0.1'",
    )


_MAPPING: Final = {
    "mappings": {
        "properties": {
            "region": {"type": "keyword"},
            "status": {"type": "keyword"},
            "amount": {"type": "double"},
            "sold_at": {"type": "date"},
            "customer": {"properties": {"name": {"type": "keyword"}, "tags": {"type": "keyword"}}},
            "note": {"type": "text"},
        }
    },
    "settings": {"number_of_replicas": 0, "number_of_shards": 1},
}


def documents() -> list[dict[str, Any]]:
    """The sales as documents with an object inside."""
    return [
        {
            "region": region,
            "status": status,
            "amount": float(amount),
            "sold_at": sold_at.replace(" ", "T") + "Z",
            "customer": {"name": f"Customer {number}", "tags": ["a", "b"]},
            "note": f"Sale number {number}",
        }
        for number, region, status, amount, sold_at in SALES
    ]


async def fill_opensearch(node: OpenSearchNode, index: str = INDEX) -> None:
    """The sales in an index of their own, ready to be searched."""
    lines = list[bytes]()
    for number, document in enumerate(documents(), 1):
        lines += [orjson.dumps({"index": {"_id": str(number)}}), orjson.dumps(document)]
    async with aiohttp.ClientSession(node.url) as session:
        async with session.delete(f"/{index}"):
            pass
        async with session.put(f"/{index}", json=_MAPPING) as made:
            made.raise_for_status()
        headers = {"Content-Type": "application/x-ndjson"}
        async with session.post(f"/{index}/_bulk?refresh=true", data=b"\n".join(lines) + b"\n", headers=headers) as put:
            put.raise_for_status()
