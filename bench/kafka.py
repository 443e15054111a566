"""What the benchmarks of messaging stand on: a broker, records as collectors send them, topics of a run."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.infrastructure import KAFKA, Infrastructure, remove_state
from deploy.setup.topics import create_topics
from libs.common.broker import physical_name
from libs.common.events import BiQueryScraped, ColumnUse, ConnectorRef, TableRef
from libs.common.settings import CommonSettings
from libs.common.topics import BI_QUERY_SCRAPED, Topic

PARTITIONS: Final = 2
TOPIC: Final[Topic] = BI_QUERY_SCRAPED
_AT: Final = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
_TENANT, _JOB, _CONNECTOR = (UUID(int=number) for number in (1 << 100, 2 << 100, 3 << 100))
_SQL: Final = (
    "SELECT o.id, o.total FROM shop.public.orders o JOIN shop.public.customers c ON c.id = o.customer_id"
    " WHERE o.status = ?"
)


@asynccontextmanager
async def broker() -> AsyncIterator[str]:
    """Address of the broker in `TEST_KAFKA`, else of one of this run's own."""
    given = os.environ.get("TEST_KAFKA")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        try:
            async with Infrastructure.on_free_ports(Path(folder), only=(KAFKA,)) as servers:
                yield servers.kafka.bootstrap_servers
        finally:
            remove_state(Path(folder))


@asynccontextmanager
async def fresh_topic(kafka: str) -> AsyncIterator[CommonSettings]:
    """Settings under whose prefix the topic and its dead letters exist, as long as the context lasts."""
    settings = CommonSettings(kafka=kafka, topic_prefix=f"bench{uuid4().hex[:8]}.")
    names = [physical_name(settings, name) for name in (TOPIC.name, TOPIC.dead_letter)]
    await create_topics(kafka, [NewTopic(name, PARTITIONS, 1) for name in names])
    try:
        yield settings
    finally:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.delete_topics(names)
        await admin.close()


def record(number: int) -> BiQueryScraped:
    """A mined execution: two tables, two columns, about 900 bytes of JSON."""
    tables = [("shop", "public", name) for name in ("orders", "customers")]
    columns = [(tables[0], "id"), (tables[0], "total")]
    return BiQueryScraped(
        tenant=_TENANT,
        id=uuid4(),
        connector=ConnectorRef(id=_CONNECTOR, type="postgres", name="Shop"),
        dialect="postgres",
        job_id=_JOB,
        sync_seq=3,
        job_seq=number + 1,
        resource_type="query_log",
        resource_id=uuid4().hex,
        sql_text=_SQL,
        executed_by=f"user{number % 500}@example.com",
        executed_at=_AT,
        tables=tuple(TableRef(name=name, display=".".join(name)) for name in tables),
        columns=tuple(ColumnUse(table=table, column=column) for table, column in columns),
    )


def messages(count: int) -> Iterator[tuple[str, BiQueryScraped, dict[str, str]]]:
    """(key, record, extensions) as a collecting service gives them to its publisher; keys over both partitions."""
    for number in range(count):
        place = {"jobid": str(_JOB), "syncseq": "3", "jobseq": str(number + 1)}
        yield f"{_TENANT}:{number % 64}", record(number), place
