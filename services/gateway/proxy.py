"""The pass-through: one request to one service, bodies streamed both ways, as plain ASGI over a pooled client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Message, Receive, Scope, Send
from yarl import URL

from libs.common.errors import TidemarkError, TooLarge, Unavailable
from services.gateway.settings import Settings

_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding"
    b" upgrade".split()
)
# The caller's credentials end here; what speaks of the caller inside is said by the internal token alone.
_NOT_INWARD: Final = _HOP_BY_HOP | frozenset(
    b"host authorization cookie expect traceparent tracestate baggage forwarded x-real-ip x-api-key".split()
)
_INTERNAL_PREFIXES: Final = (b"x-forwarded-", b"x-tidemark-", b"x-internal-")
# The server in front writes its own.
_NOT_OUTWARD: Final = _HOP_BY_HOP | {b"date", b"server"}
_ADDED_BY_CLIENT: Final = frozenset({"User-Agent", "Accept", "Accept-Encoding", "Content-Type"})
_ONE_PIECE: Final = 65_536
# Nobody is watched who is answered sooner than this: a watch is a task, and a tenth of a short request.
_UNWATCHED_SECONDS: Final = 0.02
_trace_context = TraceContextTextMapPropagator()

Headers = Sequence[tuple[bytes, bytes]]


class Truncated(ConnectionError):
    """A service broke off in the middle of its answer: the server closes the connection, so that this shows."""


class ClientGone(Exception):
    """The client left before its request was complete."""


def inward_headers(headers: Headers, token: str) -> list[tuple[str, str]]:
    """Headers of the request to a service: no credential, no hop-by-hop header, nothing that only we may say."""
    dropped = _dropped(_NOT_INWARD, headers)
    if any(name == b"transfer-encoding" for name, _ in headers):
        dropped |= {b"content-length"}  # RFC 9112, 6.3: it may be an attempt to smuggle a second request
    kept = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name not in dropped and not name.startswith(_INTERNAL_PREFIXES)
    ]
    carrier: dict[str, str] = {}
    _trace_context.inject(carrier)
    return [*kept, *carrier.items(), ("authorization", f"Bearer {token}")]


def outward_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Headers of the answer as the client gets them."""
    lowered = [(name.lower(), value) for name, value in headers]
    dropped = _dropped(_NOT_OUTWARD, lowered)
    return [(name, value) for name, value in lowered if name not in dropped]


def _dropped(always: frozenset[bytes], headers: Headers) -> frozenset[bytes]:
    """What is always dropped, and what a Connection header names."""
    named = [value for name, value in headers if name == b"connection"]
    return always.union(token.strip().lower() for value in named for token in value.split(b",")) if named else always


@dataclass(frozen=True, slots=True)
class Target:
    """A service's base URL and the internal token for this request."""

    service: str
    base: str
    token: str = field(repr=False)


class Inflow:
    """The body of a request as it arrives, up to a limit."""

    def __init__(self, headers: Headers, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._read = asyncio.Event()
        self.gone = False
        self.failure: TidemarkError | None = None
        given = dict(headers)
        length = given.get(b"content-length", b"0")
        self.announced = int(length) if length.isdigit() else 0
        self.present = self.announced > 0 or b"transfer-encoding" in given
        if self.announced > limit:
            raise self._too_large()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self._limit:,} bytes.")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Piece by piece; raises TooLarge or ClientGone, and remembers it, for the client that reads us wraps it."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            self._size += len(chunk)
            if self._size > self._limit:
                self.failure = self._too_large()
                raise self.failure
            more = message.get("more_body", False)
            if chunk:
                yield chunk
        self._read.set()

    async def cancel_when_gone(self, task: "asyncio.Task[object]") -> None:
        """Cancel a task once the client has left."""
        if self.present:
            await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        task.cancel()


class PassThrough:
    """Sends requests inward; refuses more than a number of them at a time instead of queueing."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._session = session
        self._in_flight = 0

    async def __call__(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what the service answers. Raises TooLarge, Unavailable, or Truncated after the answer began."""
        if self._in_flight >= self._settings.proxy_max_in_flight:
            raise Unavailable("The gateway is busy; try again.")
        inflow = Inflow(scope["headers"], receive, self._settings.proxy_max_body_bytes)
        outflow = Outflow(send)
        self._in_flight += 1
        try:
            with _cancelled_when_gone(inflow):
                await self._exchange(target, scope, inflow, outflow)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if inflow.failure is not None and not outflow.started:
                raise inflow.failure from None
            if outflow.started and not inflow.gone:
                raise Truncated(f"{target.service} broke off its answer") from error
            if not inflow.gone:
                raise Unavailable(f"The service {target.service} cannot be reached; try again.") from None
        finally:
            self._in_flight -= 1

    async def _exchange(self, target: Target, scope: Scope, inflow: Inflow, outflow: "Outflow") -> None:
        async with self._session.request(
            scope["method"],
            inward_url(target.base, scope),
            headers=inward_headers(scope["headers"], target.token),
            data=inflow.chunks() if inflow.present else None,
            skip_auto_headers=_ADDED_BY_CLIENT,
            allow_redirects=False,
        ) as answer:
            await outflow.relay(answer)


class Outflow:
    """The answer on its way to the client."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def relay(self, answer: aiohttp.ClientResponse) -> None:
        """Head and body, each piece as soon as it arrives."""
        length = answer.content_length
        whole = await answer.read() if length is not None and length < _ONE_PIECE else None
        self.started = True
        head: Message = {
            "type": "http.response.start",
            "status": answer.status,
            "headers": outward_headers(answer.raw_headers),
        }
        await self._send(head)
        if whole is None:
            async for chunk in answer.content.iter_any():
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self._send({"type": "http.response.body", "body": whole or b"", "more_body": False})


def inward_url(base: str, scope: Scope) -> URL:
    """The address inside: path and query are the very bytes that came."""
    raw: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    path = (raw + b"?" + query if query else raw).decode("latin-1")
    return URL(base.rstrip("/") + path, encoded=True)


@contextlib.contextmanager
def _cancelled_when_gone(inflow: Inflow) -> Iterator[None]:
    """Ends the block quietly when the client leaves, once the block has lasted a little."""
    task, watchers = asyncio.current_task(), list["asyncio.Task[None]"]()
    assert task is not None

    def watch() -> None:
        watchers.append(asyncio.create_task(inflow.cancel_when_gone(task)))

    timer = asyncio.get_running_loop().call_later(_UNWATCHED_SECONDS, watch)
    try:
        yield
    except asyncio.CancelledError:
        if not inflow.gone:
            raise
        task.uncancel()
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()


@dataclass(frozen=True, slots=True)
class Sessions:
    """HTTP clients: `inward` streams to the services, `outward` reads small documents."""

    inward: aiohttp.ClientSession
    outward: aiohttp.ClientSession

    @classmethod
    def open(cls, settings: Settings) -> "Sessions":
        """Idle connections are kept for less time than a service keeps them, so that none breaks in use."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.proxy_connect_seconds)
        jar = aiohttp.DummyCookieJar()
        inward = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=jar)
        return cls(inward, aiohttp.ClientSession())

    async def close(self) -> None:
        await self.inward.close()
        await self.outward.close()
