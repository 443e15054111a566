"""Idempotency-Key: the first answer is kept and given again; two at a time run once.

A request under a key is buffered, so that it can be compared. What it answers is stored before the client gets it.
If this process dies in between, the lease runs out and the next try runs the request again; services derive the ids
of what they create from the key, so that both runs have one effect. Failures of ours (5xx) are not stored.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.auth import Principal
from libs.common.db import Connection, Database
from libs.common.errors import Conflict, TooLarge, Unavailable, Unprocessable
from libs.common.failures import describe
from libs.common.http import IDEMPOTENCY_HEADER
from libs.common.sealed import KeyRing
from services.gateway.domain import ANSWER_KEPT, KeyedCall, is_final, verdict
from services.gateway.registry.ids import NO_TENANT
from services.gateway.store import calls as store
from services.gateway.store.calls import CallId, StoredCall

BODY_LIMIT: Final = 1_048_576
HEADER: Final = IDEMPOTENCY_HEADER.lower().encode()
_PAGE: Final = 100
_REPLAYED: Final = (b"idempotency-replayed", b"true")
_log = structlog.get_logger()


class InProgress(Conflict):
    code = "request_in_progress"

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is running.", headers={"Retry-After": "1"})


class KeyReused(Unprocessable):
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request.")


def key_of(scope: Scope) -> str | None:
    """The key of a POST; 422 for one that is empty, too long or not plain text."""
    found = [value for name, value in scope["headers"] if name == HEADER]
    if not found or scope["method"] != "POST":
        return None
    key: str = found[0].decode("latin-1")
    if len(found) > 1 or not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise Unprocessable("Idempotency-Key: must be 1 to 255 printable ASCII characters.")
    return key


@dataclass(slots=True)
class Answer:
    """An answer as it is recorded; one that grows beyond the limit is passed on and not kept."""

    send: Send
    start: Message | None = None
    body: bytearray = field(default_factory=bytearray)
    passed_on: bool = False

    async def record(self, message: Message) -> None:
        """Takes the place of `send`."""
        if message["type"] == "http.response.start":
            self.start = message
        elif self.passed_on:
            await self.send(message)
        else:
            self.body += message.get("body", b"")
            if len(self.body) > BODY_LIMIT:
                self.passed_on = True
                await self.give(more=message.get("more_body", False))

    async def give(self, *, more: bool = False, extra: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """Send what was recorded."""
        assert self.start is not None
        await self.send({**self.start, "headers": [*self.start["headers"], *extra]})
        await self.send({"type": "http.response.body", "body": bytes(self.body), "more_body": more})

    @property
    def status(self) -> int:
        return int(self.start["status"]) if self.start else 500

    def dump(self) -> bytes:
        """To be sealed and stored."""
        assert self.start is not None
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.start["headers"]]
        return orjson.dumps({"headers": headers, "body": base64.b64encode(self.body).decode()})

    @classmethod
    def load(cls, send: Send, status: int, dumped: bytes) -> "Answer":
        """Inverse of dump."""
        stored = orjson.loads(dumped)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in stored["headers"]]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        return cls(send, start, bytearray(base64.b64decode(stored["body"])))


def _real_time() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class KeyedCalls:
    """Runs requests under an Idempotency-Key. Leases and ages are in real time."""

    database: Database
    ring: KeyRing
    lease: timedelta

    async def run(
        self, caller: Principal, route: str, key: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer from the store, or by running `app`. Raises TooLarge, InProgress, KeyReused."""
        body = await _whole(receive)
        if body is None:
            return
        call, run = CallId(caller.tenant or NO_TENANT, route, key), uuid4()
        known = await self._claim(call, run, _fingerprint(caller, scope, body))
        if known is not None:
            assert known.status is not None
            assert known.answer is not None
            stored = Answer.load(send, known.status, self.ring.open(known.answer, bound_to=_context(call)))
            await stored.give(extra=(_REPLAYED,))
            return
        answer = Answer(send)
        try:
            async with self._renewed(call, run):
                await app(scope, _given(body), answer.record)
        except Exception:
            await self._settle(call, run, None)
            raise
        await self._settle(call, run, answer)
        if not answer.passed_on:
            await answer.give()

    async def _claim(self, call: CallId, run: UUID, fingerprint: str) -> StoredCall | None:
        """The stored call to be replayed; None where this run owns the key now."""
        now = _real_time()
        sealed = self.ring.seal(fingerprint.encode(), bound_to=_context(call))
        async with self.database.tenant(call.tenant_id) as connection:
            if await store.insert_call(connection, call, run, sealed, now, now + self.lease):
                return None
            known = await store.lock_call(connection, call)
            if known is None:  # pruned or given back this very moment
                raise Unavailable("The Idempotency-Key is being released; try again.")
            match self._verdict(call, known, fingerprint, now):
                case "replay":
                    return known
                case "running":
                    raise InProgress
                case "differs":
                    raise KeyReused
            await store.rerun_call(connection, call, run, sealed, now, now + self.lease)
            return None

    def _verdict(self, call: CallId, known: StoredCall, fingerprint: str, now: datetime) -> str:
        seen = self.ring.open(known.fingerprint, bound_to=_context(call)).decode()
        return verdict(KeyedCall(seen, known.state, known.lease_until, known.created_at), fingerprint, now)

    @contextlib.asynccontextmanager
    async def _renewed(self, call: CallId, run: UUID) -> AsyncIterator[None]:
        """Keeps the lease while the request runs."""
        renewing = asyncio.create_task(self._renew(call, run))
        try:
            yield
        finally:
            renewing.cancel()

    async def _renew(self, call: CallId, run: UUID) -> None:
        while True:
            await asyncio.sleep(self.lease.total_seconds() / 3)
            try:
                async with self.database.tenant(call.tenant_id) as connection:
                    await store.renew_call(connection, call, run, _real_time() + self.lease)
            except Exception as error:
                _log.warning("an idempotency lease cannot be renewed", error=describe(error))

    async def _settle(self, call: CallId, run: UUID, answer: Answer | None) -> None:
        """Store a final answer, else give the key back. A failure leaves it to the lease: the effect is there."""
        try:
            async with self.database.tenant(call.tenant_id) as connection:
                if answer is None or answer.passed_on or not is_final(answer.status):
                    await store.forget_call(connection, call, run)
                else:
                    sealed = self.ring.seal(answer.dump(), bound_to=_context(call))
                    await store.finish_call(connection, call, run, answer.status, sealed)
        except Exception as error:
            _log.warning("an answer under an Idempotency-Key cannot be stored", error=describe(error))

    async def drop_answers_naming(self, connection: Connection, tenant: UUID, name: str) -> None:
        """Forget the answers in which a name stands; their requests would run again, and find what they made."""
        after = ("", "")
        while page := await store.answers_behind(connection, tenant, after, _PAGE):
            for call, status, sealed in page:
                if _names(self.ring.open(sealed, bound_to=_context(call)), status, name):
                    await store.drop_call(connection, call)
            after = (page[-1][0].route, page[-1][0].key)

    async def prune(self) -> None:
        """Drop what is older than a day."""
        async with self.database.work() as connection:
            await store.prune_calls(connection, _real_time() - ANSWER_KEPT)


async def _unsent(_message: Message) -> None:
    """An answer that is only looked at."""


def _names(dumped: bytes, status: int, name: str) -> bool:
    answer = Answer.load(_unsent, status, dumped)
    return any(written in answer.body for written in (json.dumps(name).encode(), orjson.dumps(name)))


def _context(call: CallId) -> str:
    return f"idempotency:{call.tenant_id}:{call.route}:{call.key}"


def _fingerprint(caller: Principal, scope: Scope, body: bytes) -> str:
    """Of all that makes two requests the same: who, where and what."""
    parts = (caller.subject.encode(), caller.environment.encode(), scope["raw_path"], scope["query_string"], body)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


async def _whole(receive: Receive) -> bytes | None:
    """The body; None where the client left. Raises TooLarge."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise TooLarge(f"A request under an Idempotency-Key may have {BODY_LIMIT:,} bytes at most.")
        more = message.get("more_body", False)
    return bytes(body)


def _given(body: bytes) -> Receive:
    """The buffered body as a stream. The client's leaving is not told: the request runs to its end."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    return receive
