"""log_miner in this process, a stand-in for the aggregator that keeps what it was sent, and a warehouse to mine."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import orjson
import uvicorn
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from fastapi import FastAPI

from deploy.local.ports import free_port
from deploy.setup.bootstrap import with_database
from libs.common.auth import Principal
from libs.common.connector_copy import store_change
from libs.common.connectors import settings_context
from libs.common.db import Connection
from libs.common.envelope import new_envelope
from libs.common.events import BiQueryScraped, BiQueryStored, ConnectorChanged, SyncCompleted
from libs.common.scraped_reading import read_record
from libs.common.sealed import KeyRing
from libs.common.topics import BI_QUERY_SCRAPED, BI_QUERY_STORED
from services.log_miner.packing import unpack
from services.log_miner.settings import Settings
from services.log_miner.store import unsent
from tests.support.platform import Platform
from tests.support.processes import eventually


def miner_settings(platform: Platform, **more: object) -> Settings:
    return Settings.model_validate(platform.settings_values("log_miner", **more))


@dataclass(slots=True)
class Ledger:
    """Everything that log_miner sent, and an answer to each closing record once all its numbers are here."""

    platform: Platform
    records: list[BiQueryScraped] = field(default_factory=list)
    closings: list[SyncCompleted] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answering: bool = True
    _position: dict[int, int] = field(default_factory=dict)

    @property
    def _topic(self) -> str:
        return self.platform.topic_prefix + BI_QUERY_SCRAPED.name

    async def caught_up(self) -> None:
        """Wait until all that the broker has now is here."""
        reader = AIOKafkaConsumer(self._topic, bootstrap_servers=self.platform.kafka)
        await reader.start()
        try:
            ends = await reader.end_offsets(reader.assignment())
        finally:
            await reader.stop()

        async def here() -> bool:
            """The ledger has read to the end of the topic."""
            return all(self._position.get(place.partition, 0) >= end for place, end in ends.items())

        await eventually(here, pause=0.02)

    def numbers(self, job_id: UUID) -> Counter[int]:
        """How often each number of a job came."""
        return Counter(record.job_seq or 0 for record in self.records if record.job_id == job_id)

    def of(self, job_id: UUID) -> dict[int, BiQueryScraped]:
        """Records of a job by number."""
        return {record.job_seq or 0: record for record in self.records if record.job_id == job_id}

    async def follow(self, started: asyncio.Event) -> None:
        consumer = AIOKafkaConsumer(self._topic, bootstrap_servers=self.platform.kafka, auto_offset_reset="earliest")
        producer = AIOKafkaProducer(bootstrap_servers=self.platform.kafka)
        await consumer.start()
        await producer.start()
        started.set()
        try:
            async for message in consumer:
                self.headers.append({name: value.decode() for name, value in message.headers})
                record = read_record(message.value)
                if isinstance(record, BiQueryScraped):
                    self.records.append(record)
                else:
                    self.closings.append(record)
                    await self._answer(producer, record)
                self._position[message.partition] = message.offset + 1
        finally:
            await consumer.stop()
            await producer.stop()

    async def _answer(self, producer: AIOKafkaProducer, closing: SyncCompleted) -> None:
        seen = self.numbers(closing.job_id)
        assert closing.count == len(seen), f"the closing record says {closing.count}, {len(seen)} came"
        if not self.answering:
            return
        stored = BiQueryStored(
            tenant=closing.tenant,
            connector_id=closing.connector.id,
            job_id=closing.job_id,
            sync_seq=closing.sync_seq,
            state="completed",
            received=len(seen),
            upserted=len(seen),
            rejected=0,
            retired=0,
        )
        envelope = new_envelope(stored, source="/test", at=datetime.now(UTC), extensions={})
        await producer.send_and_wait(
            self.platform.topic_prefix + BI_QUERY_STORED.name,
            stored.model_dump_json().encode(),
            key=str(closing.job_id).encode(),
            headers=envelope.to_headers(),
        )


@asynccontextmanager
async def following(platform: Platform) -> AsyncIterator[Ledger]:
    """A ledger that reads from the beginning of the topic on."""
    ledger, started = Ledger(platform), asyncio.Event()
    task = asyncio.create_task(ledger.follow(started))
    await asyncio.wait({task, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield ledger
    finally:
        done = task.done()
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if done and isinstance(outcome, Exception):
            raise outcome


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The application on a port of its own in this process; its base URL."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
            raise RuntimeError("the application did not start")
        await asyncio.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Client:
    """Requests as the gateway would send them inward."""

    platform: Platform
    url: str
    tenant: UUID

    async def __call__(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        connector: UUID | None = None,
        version: int = 1,
    ) -> Answer:
        about = {"connector_id": connector, "connector_version": version} if connector else {}
        sent = self.platform.bearer(self.tenant, username="ada", **about)
        sent |= headers
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, headers=sent) as reply:
            text = await reply.read()
            return Answer(reply.status, orjson.loads(text) if text else None, dict(reply.headers))


@dataclass(frozen=True, slots=True)
class Warehouse:
    """A database of its own on the warehouse cluster, with a role that may read the log."""

    admin_url: str = field(repr=False)
    database: str
    miner: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        return with_database(self.admin_url, self.database)

    def settings(self, **changes: object) -> dict[str, object]:
        parts = urlsplit(self.admin_url)
        return {
            "type": "postgres",
            "host": parts.hostname,
            "port": parts.port,
            "database": self.database,
            "username": self.miner,
            "password": self.password,
            "ssl_mode": "disable",
            "lookback_days": 365,
        } | changes

    async def login(self, role: str, *, grants: str = "") -> str:
        """Create a role of this database's own; its name."""
        name = f"{role}_{self.database}"
        async with administrator(self.url) as admin:
            await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{self.password}'")
            for grant in filter(None, grants.split(";")):
                await admin.execute(f"{grant} TO {name}")
        return name

    async def connect(self, role: str, application: str = "") -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            self.url, user=role, password=self.password, server_settings={"application_name": application}
        )


READ_FILES = "GRANT pg_monitor; GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)"


@asynccontextmanager
async def fresh_warehouse(admin_url: str) -> AsyncIterator[Warehouse]:
    """Dropped, with its roles, at the end."""
    database = f"mine_{uuid4().hex[:8]}"
    async with administrator(admin_url) as admin:
        await admin.execute(f"CREATE DATABASE {database}")
    warehouse = Warehouse(admin_url, database, f"miner_{database}", uuid4().hex)
    await warehouse.login("miner", grants=READ_FILES)
    yield warehouse
    async with administrator(admin_url) as admin:
        await admin.execute(f"DROP DATABASE {database} WITH (FORCE)")
        for row in await admin.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE '%\\_' || $1", database):
            await admin.execute(f"DROP OWNED BY {row[0]}; DROP ROLE {row[0]}")


@asynccontextmanager
async def administrator(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A superuser's connection whose statements are not logged."""
    connection = await asyncpg.connect(url)
    await connection.execute("SET log_min_duration_statement = -1")
    try:
        yield connection
    finally:
        await connection.close()


async def register(
    platform: Platform, tenant: UUID, settings: dict[str, object], *, version: int = 1, connector_id: UUID | None = None
) -> UUID:
    """Put a connector straight into log_miner's copy."""
    connector = connector_id or uuid4()
    keys = KeyRing.of(miner_settings(platform).sealing_keys)
    sealed = keys.seal(orjson.dumps(settings), bound_to=settings_context(tenant, connector))
    change = ConnectorChanged(
        tenant=tenant, id=connector, version=version, name="shop", type=str(settings["type"]), sealed_settings=sealed
    )
    connection = await asyncpg.connect(platform.worker_url("log_miner"))
    await store_change(connection, change)
    await connection.close()
    return connector


def caller(tenant: UUID, connector: UUID) -> Principal:
    return Principal(tenant=tenant, subject="ada", username="ada", connector_id=connector, connector_version=1)


async def stored_record_by_record(connection: Connection, tenant: UUID, job_id: UUID) -> list[BiQueryScraped]:
    """Put what waits to be sent into the table of the version before; the records."""
    batches = await unsent.batches(connection, tenant, job_id)
    await unsent.delete(connection, tenant, job_id)
    traced = [(record, batch.traceparent) for batch in batches for record in unpack(batch.body)]
    await connection.executemany(
        "INSERT INTO unsent_record (tenant_id, job_id, job_seq, record, traceparent) VALUES ($1, $2, $3, $4, $5)",
        [(tenant, job_id, record.job_seq, record.model_dump_json(), trace) for record, trace in traced],
    )
    return [record for record, _ in traced]
