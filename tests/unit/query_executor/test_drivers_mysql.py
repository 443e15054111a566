"""MySQL's client against servers that lie: no TLS where it is asked for, a request for a file of this machine."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.query_executor.drivers import Limits
from services.query_executor.drivers.mysql import maker
from services.query_executor.drivers.source import Pooling
from services.query_executor.errors import ConnectorError
from services.query_executor.statement import Engine
from tests.support.query_drivers import dial, source, statement

_OK = b"\x00\x00\x00\x02\x00\x00\x00"
_CAPABILITIES = 0x0F_F7FF & ~0x0800  # all of an older server's but TLS
PASSWORD = "canary-password-7741"


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def greeting() -> bytes:
    salt = b"abcdefghijklmnopqrst"
    low, high = _CAPABILITIES & 0xFFFF, _CAPABILITIES >> 16
    return (
        b"\x0a8.0.40\x00"
        + struct.pack("<I", 7)
        + salt[:8]
        + b"\x00"
        + struct.pack("<HBHHB", low, 45, 2, high, 21)
        + bytes(10)
        + salt[8:]
        + b"\x00mysql_native_password\x00"
    )


class Liar:
    """Greets without TLS, lets everybody in, and answers the first statement by asking for a file."""

    def __init__(self) -> None:
        self.heard = list[bytes]()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(packet(0, greeting()))
        try:
            self.heard.append(await self._read(reader))
            writer.write(packet(2, _OK))
            while True:
                self.heard.append(await self._read(reader))
                writer.write(packet(1, b"\xfb/etc/passwd"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        header = await reader.readexactly(4)
        return await reader.readexactly(int.from_bytes(header[:3], "little"))


@asynccontextmanager
async def lying() -> AsyncIterator[tuple[Liar, int]]:
    liar = Liar()
    server = await asyncio.start_server(liar.handle, "127.0.0.1", 0)
    async with server:
        yield liar, server.sockets[0].getsockname()[1]


async def failure(port: int, ssl_mode: str) -> ConnectorError:
    value = {"host": "localhost", "port": port, "database": "d", "username": "u", "password": PASSWORD}
    driver = maker(dial, Pooling(1, 0.2))(source(Engine.MYSQL, value, ssl_mode=ssl_mode))
    with pytest.raises(ConnectorError) as caught:
        async with driver.run(statement(Engine.MYSQL, "SELECT 1"), Limits(1, 1, 2.0)):
            pass
    await driver.close()
    return caught.value


@pytest.mark.parametrize("ssl_mode", ["require", "verify-full"])
async def test_nothing_is_said_to_a_server_that_takes_tls_away(ssl_mode: str) -> None:
    async with lying() as (liar, port):
        assert (await failure(port, ssl_mode)).details == {"cause": "tls_failed"}
    assert liar.heard == []


async def test_a_server_gets_no_file_and_learns_nothing_of_this_machine() -> None:
    async with lying() as (liar, port):
        assert (await failure(port, "prefer")).details == {"cause": "connection_lost"}
    login, *statements = liar.heard
    assert len(statements) == 1  # it asked for a file and heard nothing more
    flags = struct.unpack_from("<I", login)[0]
    assert flags & (1 << 16 | 1 << 7) == 0  # neither several statements at once nor files of ours
    assert b"tidemark-query" in login
    assert not any(word in login for word in (b"_pid", b"_source_host", b"_os", PASSWORD.encode()))
