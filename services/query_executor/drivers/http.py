"""HTTP to a server whose host a user typed: checked addresses, no redirects, no cookies, bounded answers."""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from services.query_executor.drivers.network_errors import connector_error
from services.query_executor.drivers.source import Pooling, Resolve
from services.query_executor.drivers.tls import unverified
from services.query_executor.errors import QueryExecutionError

_AGENT: Final = "tidemark-query"
_CONNECT_SECONDS: Final = 10.0
_CHUNK: Final = 64 * 1024
_MIB: Final = 2**20


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


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that came whole."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _tls(secure: bool, ssl_mode: str) -> ssl.SSLContext | bool:
    """HTTPS is verified; `require` takes any certificate, as libpq does."""
    if not secure and ssl_mode in ("require", "verify-full"):
        raise connector_error("tls_failed", "The secret's ssl_mode asks for TLS, but its address has none.")
    return unverified() if ssl_mode == "require" else True


class HttpClient:
    """Requests to one host and port."""

    def __init__(
        self, host: str, port: int, resolve: Resolve, pooling: Pooling, *, secure: bool, ssl_mode: str
    ) -> None:
        self._host, self._port, self._resolve, self._pooling = host, port, resolve, pooling
        self._secure, self._ssl_mode = secure, ssl_mode
        name = f"[{host}]" if ":" in host else host
        self._base = f"{'https' if secure else 'http'}://{name}:{port}"
        self._session: aiohttp.ClientSession | None = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=2 * self._pooling.connections,  # one more each to stop a statement
                keepalive_timeout=self._pooling.idle_seconds,
                resolver=_CheckedAddresses(self._resolve),
                use_dns_cache=False,
                ssl=_tls(self._secure, self._ssl_mode),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    async def post(self, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Any:
        """A request that is on its way; use it as a context manager. Raises ConnectorError for a redirect."""
        if _is_address(self._host):
            await self._resolve(self._host, self._port)  # the HTTP client resolves names alone
        sent = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers}
        response = await self._opened().post(
            self._base + path, params=query, headers=sent, data=body, allow_redirects=False
        )
        if 300 <= response.status < 400:
            response.close()
            raise connector_error("redirected", "The server sends us to another address, which is not followed.")
        return response

    async def whole(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes, most: int
    ) -> Answer:
        """An answer of at most so many bytes. Raises QueryExecutionError for a larger one."""
        async with await self.post(path, query, headers, body) as response:
            content = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                content += chunk
                if len(content) > most:
                    response.close()
                    message = f"The server's answer is larger than {most // _MIB} MiB; ask for less."
                    raise QueryExecutionError(message)
            return Answer(response.status, bytes(content), response.headers)

    async def close(self) -> None:
        """Close what is kept alive."""
        if self._session is not None:
            await self._session.close()
            self._session = None
