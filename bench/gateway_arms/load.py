"""The load: some keep-alive connections, each with one request in flight; a process of its own.

It reads a Load as JSON from standard input and prints a Round as JSON. No HTTP library stands in it: what it spends
itself is taken from the two cores that the servers share with it.
"""

import asyncio
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop

PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked, over how many connections, and for how long; with bodies it is posted, a body a connection."""

    url: str
    bearer: str = field(repr=False)
    seconds: float
    connections: int = 16
    bodies: tuple[str, ...] = ()
    content_type: str = ""

    def request(self, number: int) -> bytes:
        """The bytes of each request of one of the connections."""
        at, body = urlsplit(self.url), self.bodies[number % len(self.bodies)].encode() if self.bodies else b""
        method = "POST" if body else "GET"
        lines = [f"{method} {at.path} HTTP/1.1", f"Host: {at.netloc}", f"Authorization: Bearer {self.bearer}"]
        lines += [f"Content-Type: {self.content_type}", f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([*lines, "Accept: */*", "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Round:
    """What one run of a load saw; times in milliseconds, the processor's in seconds."""

    requests: int
    rate: float
    p50: float
    p99: float
    cpu: float


class _Connection(asyncio.Protocol):
    """Asks again as soon as an answer is complete, until the time is over."""

    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self._request = request
        self._until = until
        self._latencies = latencies
        self._buffer = b""
        self._awaited = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is none of asyncio's
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._awaited:
            self._awaited = _size(self._buffer)
        if not self._awaited or len(self._buffer) < self._awaited:
            return
        now = time.perf_counter()
        self._latencies.append(now - self._asked)
        self._buffer, self._awaited = b"", 0
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self._until:
            self.done.set_exception(error or ConnectionError("the server closed a connection"))
        else:
            self.done.set_result(None)


def _size(received: bytes) -> int:
    """Bytes of the whole answer, 0 while its head is incomplete. Raises ConnectionError for any but 200 and 202."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    if not received.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 202 ")):
        raise ConnectionError(f"answered {received[:300]!r}")
    head = received[:end].lower()
    at = head.index(b"content-length:") + 15
    return end + 4 + int(head[at:].split(b"\r\n", 1)[0])


async def _run(load: Load) -> Round:
    at, latencies = urlsplit(load.url), list[float]()
    host, port = at.hostname or "", at.port or 80
    loop, began = asyncio.get_running_loop(), time.perf_counter()

    def connection(number: int) -> _Connection:
        return _Connection(load.request(number), began + load.seconds, latencies)

    numbers = range(load.connections)
    made = [await loop.create_connection(partial(connection, number), host, port) for number in numbers]
    async with asyncio.timeout(load.seconds + PATIENCE):
        await asyncio.gather(*(protocol.done for _, protocol in made))
    seconds = time.perf_counter() - began
    cuts = statistics.quantiles(latencies, n=100)
    return Round(len(latencies), len(latencies) / seconds, cuts[49] * 1e3, cuts[98] * 1e3, sum(os.times()[:2]))


def main() -> None:
    """Run the load of standard input."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.buffer.write(msgspec.json.encode(runner.run(_run(load))))


if __name__ == "__main__":
    main()
