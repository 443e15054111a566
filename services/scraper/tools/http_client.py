"""JSON over HTTP with a tool that may misbehave: checked addresses, no redirects, bounded answers, bounded patience."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult

from services.scraper.tools.http_errors import network_error
from services.scraper.tools.http_retry import Patience, is_passing, retry_after
from services.scraper.tools.interface import ToolError

# From a host that a user typed to the address that may be dialled. Raises TidemarkError or OSError.
Resolve = Callable[[str, int], Awaitable[str]]

AGENT: Final = "tidemark-scraper"
DEFAULT_PATIENCE: Final = Patience()
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tool may cost: seconds for one request from its start to the last byte, bytes of one answer."""

    request_seconds: float = 30.0
    connect_seconds: float = 10.0
    max_bytes: int = 32 * 2**20
    patience: Patience = DEFAULT_PATIENCE


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that came whole. `body` is its JSON; `is_json` is false where it was none."""

    status: int
    body: Any = field(repr=False)
    is_json: bool


class _CheckedAddresses(AbstractResolver):
    """Asks the egress policy at each dial, so that the address that was judged is the one dialled."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = await self._resolve(host, port)
        version = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=version, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""


@dataclass(slots=True)
class HttpClient:
    """Requests below one base address."""

    base_url: str
    session: aiohttp.ClientSession
    verify_tls: bool
    limits: Limits
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    requests: int = 0

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        final: frozenset[int] = frozenset(),
    ) -> Answer:
        """One request, tried again where the failure may pass; a status in `final` is not tried again.

        Raises ToolError: also for redirects, answers that are too large, and when patience is at an end.
        """
        patience = self.limits.patience
        for attempt in range(1, patience.attempts + 1):
            try:
                answer, wait = await self._once(method, path, query, json, headers)
            except ToolError as error:
                if not error.passing or attempt == patience.attempts:
                    raise
                await self.sleep(patience.pause(attempt, self.chance()))
                continue
            if not is_passing(answer.status) or answer.status in final:
                return answer
            if attempt < patience.attempts and (wait or 0.0) <= patience.longest_retry_after:
                await self.sleep(max(wait or 0.0, patience.pause(attempt, self.chance())))
                continue
            break
        raise _given_up(answer.status, wait)

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        json: object,
        headers: Mapping[str, str] | None,
    ) -> tuple[Answer, float | None]:
        self.requests += 1
        sent = {"Accept": "application/json", **(headers or {})}
        data = None if json is None else orjson.dumps(json)
        if data is not None:
            sent["Content-Type"] = "application/json"
        with network_error(self.base_url):
            async with self.session.request(
                method,
                self.base_url + path,
                params=query,
                data=data,
                headers=sent,
                allow_redirects=False,
                ssl=self.verify_tls,
            ) as response:
                if 300 <= response.status < 400:
                    raise _redirected(self.base_url)
                content = await self._content(response)
                wait = retry_after(response.headers.get("Retry-After"))
                return _answer(response.status, content), wait

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            content += chunk
            if len(content) > self.limits.max_bytes:
                response.close()
                raise ToolError(
                    "answer_too_large",
                    f"An answer was larger than {self.limits.max_bytes // 2**20} MiB; a smaller page_size may help.",
                )
        return bytes(content)


@asynccontextmanager
async def http_client(
    base_url: str, resolve: Resolve, *, verify_tls: bool = True, limits: Limits = DEFAULT_LIMITS
) -> AsyncIterator[HttpClient]:
    """A client for one scrape. Raises ToolError where the address may not be dialled."""
    with network_error(base_url):
        # aiohttp asks no resolver about addresses that are written as such.
        await resolve(*host_and_port(base_url))
    timeout = aiohttp.ClientTimeout(total=limits.request_seconds, sock_connect=limits.connect_seconds)
    connector = aiohttp.TCPConnector(resolver=_CheckedAddresses(resolve), use_dns_cache=False, limit=8)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": AGENT},
        trust_env=False,
    ) as session:
        yield HttpClient(base_url, session, verify_tls, limits)


def host_and_port(base_url: str) -> tuple[str, int]:
    """What a base address dials."""
    parts = urlsplit(base_url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _answer(status: int, content: bytes) -> Answer:
    try:
        return Answer(status, orjson.loads(content), is_json=True)
    except orjson.JSONDecodeError:
        return Answer(status, None, is_json=False)


def _redirected(base_url: str) -> ToolError:
    return ToolError(
        "redirected",
        f"{base_url} answers with a redirect, which is not followed; set base_url to the final address"
        " (https instead of http?) and let no single sign-on stand in front of the API.",
    )


def _given_up(status: int, wait: float | None) -> ToolError:
    if status == 429:
        asked = f" and asks for a pause of {wait:.0f} s" if wait else ""
        return ToolError("throttled", f"The tool answers 429 (too many requests){asked}.", passing=True)
    return ToolError("server_error", f"The tool answers with status {status}, also when asked again.", passing=True)
