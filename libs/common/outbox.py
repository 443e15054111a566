"""The outbox: an event that must not be lost is a row of its schema, written in the transaction of the change.

A migration of each schema that produces this way holds `DDL`. The table is exempt from row-level security; the
request path inserts, the worker login reads and deletes. A trigger that writes rows itself fills `topic`, `key`,
`value` and whatever headers it knows (`ce_id`, `ce_type`, `ce_time`, `ce_tenant`, `traceparent`); the relay adds
`ce_specversion`, `ce_source` and `content-type`.

One relay per schema is the leader (a session's advisory lock), sends rows in the order of their ids, pipelined, and
deletes them by id once they are acknowledged. A lower id may be committed later than a higher one; it is sent
then: nothing is skipped, for there is no watermark. Hence the events of one key are in order only where the writers
of that key wait for each other (a row lock on the entity, as an UPDATE takes). A row may be sent twice, never not.

A relay that is awake, which it says by a second lock, looks again by itself, so that whoever writes need not notify
it: a notification takes longer than the row. One whose transaction outlasts a relay that fell asleep meanwhile waits
for the next poll.
"""

import asyncio
import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg
import orjson
import structlog

from libs.common.broker import NO_EXTENSIONS, Publisher, physical_name
from libs.common.clock import Clock, shifted_clock
from libs.common.db import Connection, Pool
from libs.common.envelope import CONTENT_TYPE, new_envelope
from libs.common.errors import TooLarge
from libs.common.events import AnyEvent
from libs.common.failures import RetryPolicy, describe
from libs.common.handover import MAX_MESSAGE_BYTES, Message
from libs.common.messaging_metrics import MessagingMetrics
from libs.common.settings import CommonSettings
from libs.common.telemetry import current_traceparent
from libs.common.topics import Topic

DDL: Final = """\
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key text NOT NULL,
    headers jsonb NOT NULL,
    value text NOT NULL,
    created_at timestamptz NOT NULL,
    error text
);

CREATE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox_' || TG_TABLE_SCHEMA, '');
    RETURN NULL;
END
$$;

CREATE TRIGGER outbox_wake AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake();
"""
# Since a later migration: the lock can be had while the relay sleeps.
WAKE_DDL: Final = """\
CREATE OR REPLACE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    awake CONSTANT bigint := hashtextextended('tidemark-outbox-awake-' || TG_TABLE_SCHEMA, 0);
BEGIN
    IF pg_try_advisory_lock_shared(awake) THEN
        PERFORM pg_advisory_unlock_shared(awake);
        PERFORM pg_notify('outbox_' || TG_TABLE_SCHEMA, '');
    END IF;
    RETURN NULL;
END
$$;
"""

_INSERT: Final = "INSERT INTO outbox (topic, key, headers, value, created_at) VALUES ($1, $2, $3::jsonb, $4, $5)"
_HEADROOM: Final = 16 * 1024
# Rows that come one by one leave together: reading, sending and deleting one takes as long as for a hundred.
_GATHER_SECONDS: Final = 0.02
# And a trickle that does not end leaves ten times a second: a batch of few costs its process and the broker as much.
_TRICKLE_SECONDS: Final = 0.1
_AWAKE: Final = "hashtextextended('tidemark-outbox-awake-' || current_schema(), 0)"
_log = structlog.get_logger()


def outbox_row(
    topic: Topic,
    event: AnyEvent,
    *,
    key: str,
    at: datetime,
    extensions: Mapping[str, str] = NO_EXTENSIONS,
) -> tuple[str, str, str, str, datetime]:
    """Topic, key, headers, value and time as the outbox holds them. Raises TooLarge near 1 MB."""
    value = event.model_dump_json()
    if len(value.encode()) > MAX_MESSAGE_BYTES - _HEADROOM:
        raise TooLarge(f"The event is larger than {MAX_MESSAGE_BYTES - _HEADROOM:,} bytes.")
    envelope = new_envelope(event, source="", at=at, traceparent=current_traceparent(), extensions=extensions)
    headers = {name: text.decode() for name, text in envelope.to_headers() if text}
    return topic.name, key, orjson.dumps(headers).decode(), value, at


async def enqueue(
    connection: Connection,
    topic: Topic,
    event: AnyEvent,
    *,
    key: str,
    at: datetime,
    extensions: Mapping[str, str] = NO_EXTENSIONS,
) -> None:
    """Put an event into the outbox of the connection's schema; `at` is business time. Raises TooLarge near 1 MB."""
    await connection.execute(_INSERT, *outbox_row(topic, event, key=key, at=at, extensions=extensions))


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    topic: str
    key: str
    headers: Mapping[str, str]
    value: str


class Relay:
    """Sends what lies in the outbox of the pool's schema. Holds one connection while it leads."""

    def __init__(
        self,
        pool: Pool,
        publisher: Publisher,
        settings: CommonSettings,
        metrics: MessagingMetrics,
        *,
        clock: Clock | None = None,
        batch: int = 500,
        poll: float = 1.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        """`poll`: seconds between two looks without a notification; also between two tries to become the leader."""
        self._pool = pool
        self._publisher = publisher
        self._settings = settings
        self._metrics = metrics
        self._clock = clock or shifted_clock(settings.clock_offset)
        self._batch = batch
        self._poll = poll
        self._retry = retry or RetryPolicy()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._observed = -math.inf
        self._awake = False
        self.leads = False

    def start(self) -> None:
        """Run until stop()."""
        self._task = asyncio.create_task(self._run())

    async def stop(self, timeout: float = 10.0) -> None:
        """Finish the batch in hand (at most `timeout` seconds), give up leadership."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=timeout)
            if not done:
                self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        pauses = self._retry.pauses()
        while not self._stopping:
            try:
                async with self._pool.acquire() as connection:
                    await self._lead(connection)
                pauses = self._retry.pauses()
                pause = self._poll
            except Exception as error:
                _log.warning("outbox relay failed; trying on", error=describe(error))
                pause = next(pauses)
            await self._wait(pause)

    async def _lead(self, connection: Connection) -> None:
        """Relay as long as the lock is held; return at once where another process has it."""
        schema = await connection.fetchval("SELECT current_schema()")
        lock = f"tidemark-outbox-{schema}"
        if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", lock):
            return
        channel = f"outbox_{schema}"
        await connection.add_listener(channel, self._on_notify)
        self.leads = True
        try:
            while not self._stopping:
                self._wake.clear()
                found = await self.relay_once(connection)
                if found < self._batch:
                    await self._observe(connection)
                    await self._rest(connection, found)
        finally:
            self.leads = self._awake = False
            await self._resign(connection, channel)

    async def _rest(self, connection: Connection, found: int) -> None:
        """Awake while rows come. Asleep for a moment first: some may have been written while it was still awake."""
        if found:
            self._awake = self._awake or await connection.fetchval(f"SELECT pg_try_advisory_lock({_AWAKE})")
            await asyncio.sleep(0 if self._stopping else _TRICKLE_SECONDS)
            return
        fell_asleep, self._awake = self._awake, False
        if fell_asleep:
            await connection.execute(f"SELECT pg_advisory_unlock({_AWAKE})")
        await self._wait(_TRICKLE_SECONDS if fell_asleep else self._poll)
        if self._wake.is_set() and not self._stopping:
            await asyncio.sleep(_GATHER_SECONDS)

    async def _resign(self, connection: Connection, channel: str) -> None:
        with contextlib.suppress(asyncpg.InterfaceError, asyncpg.PostgresError, OSError):
            if connection.is_closed():
                connection.terminate()  # drops the listener, which a lost connection would keep
                return
            await connection.remove_listener(channel, self._on_notify)
            await connection.execute("SELECT pg_advisory_unlock_all()")

    def _on_notify(self, *_: object) -> None:
        self._wake.set()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def relay_once(self, connection: Connection) -> int:
        """Send one batch and delete what was acknowledged; number of rows read. Raises the first failure."""
        rows = await self._read(connection)
        if not rows:
            return 0
        outcomes = await self._publisher.deliver([self._message(row) for row in rows])
        again = {(row.topic, row.key) for row, error in zip(rows, outcomes, strict=True) if _passing(error)}
        # A later row of a key whose earlier one failed is sent again after it, so that the newest comes last.
        done = [row for row, error in zip(rows, outcomes, strict=True) if error is None]
        sent = [row.id for row in done if (row.topic, row.key) not in again]
        await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", sent)
        for row in done:
            self._metrics.published.labels(row.topic).inc()
        await self._set_aside(connection, rows, outcomes)
        for error in outcomes:
            if error is not None and _passing(error):
                raise error
        return len(rows)

    async def _read(self, connection: Connection) -> list[_Row]:
        found = await connection.fetch(
            "SELECT id, topic, key, headers::text AS headers, value FROM outbox"
            " WHERE error IS NULL ORDER BY id LIMIT $1",
            self._batch,
        )
        return [_Row(r["id"], r["topic"], r["key"], orjson.loads(r["headers"]), r["value"]) for r in found]

    def _message(self, row: _Row) -> Message:
        defaults = {"ce_specversion": "1.0", "ce_source": self._publisher.source, CONTENT_TYPE: "application/json"}
        headers = [(name, text.encode()) for name, text in {**defaults, **row.headers}.items()]
        return Message(physical_name(self._settings, row.topic), row.key.encode(), row.value.encode(), headers)

    async def _set_aside(
        self, connection: Connection, rows: Sequence[_Row], outcomes: Sequence[Exception | None]
    ) -> None:
        """What can never be sent (a trigger may write a row that is too large) must not hold up the rest."""
        for row, error in zip(rows, outcomes, strict=True):
            if isinstance(error, TooLarge):
                _log.error("outbox row cannot be sent", id=row.id, topic=row.topic, error=describe(error))
                await connection.execute("UPDATE outbox SET error = $2 WHERE id = $1", row.id, describe(error))

    async def _observe(self, connection: Connection) -> None:
        """Not for each notification: counting takes as long as reading what one of them announced."""
        now = asyncio.get_running_loop().time()
        if now - self._observed < self._poll:
            return
        self._observed = now
        found = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE error IS NULL) AS rows, count(error) AS stuck,"
            " min(created_at) FILTER (WHERE error IS NULL) AS oldest FROM outbox"
        )
        assert found is not None
        self._metrics.outbox_rows.set(found["rows"])
        self._metrics.outbox_stuck.set(found["stuck"])
        oldest = found["oldest"]
        age = (self._clock() - oldest).total_seconds() if oldest else 0.0
        self._metrics.outbox_age.set(max(0.0, age))


def _passing(error: Exception | None) -> bool:
    return error is not None and not isinstance(error, TooLarge)
