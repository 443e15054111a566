"""A result on its way to a client: whatever ends it, nothing reads on when its rows are closed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.query_executor.download import Download
from services.query_executor.drivers import Column, Limits
from services.query_executor.formats.separated import CsvWriter
from services.query_executor.redact import Redactor
from services.query_executor.statement import Bound, Engine

STATEMENT = Bound(Engine.POSTGRES, ("SELECT",), ())
NOTHING = Redactor.of([])
BATCH = [(number, "text") for number in range(10)]


class Endless:
    """Rows whose second batch never comes."""

    columns = (Column("id", "int4"), Column("name", "text"))
    available: int | None = None

    def __init__(self) -> None:
        self.waited = asyncio.Event()
        self.reading = False
        self._first = True

    async def batch(self) -> Sequence[Any]:
        if self._first:
            self._first = False
            return BATCH
        self.reading = True
        self.waited.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.reading = False
        return ()


class Source:
    """A driver that knows whether its rows were being read when they were closed."""

    def __init__(self) -> None:
        self.rows = Endless()
        self.read_when_closed = False

    @asynccontextmanager
    async def run(self, bound: Bound, limits: Limits) -> AsyncIterator[Endless]:
        try:
            yield self.rows
        finally:
            self.read_when_closed = self.rows.reading

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("limits", [Limits(10_000, 20, 1.0), Limits(3, 10_000, 1.0)])
async def test_nothing_reads_on_behind_a_limit(limits: Limits) -> None:
    driver, sent = Source(), list[bytes]()

    async def send(data: bytes) -> None:
        await driver.rows.waited.wait()
        sent.append(data)

    download = Download(CsvWriter(), send)
    await download.read(driver, STATEMENT, limits, NOTHING)
    assert download.truncated
    assert download.rows < len(BATCH)
    assert b"".join(sent).startswith(b"id,name\n0,text\n")
    assert not driver.read_when_closed


async def test_nothing_reads_on_when_the_client_leaves() -> None:
    driver = Source()

    async def send(data: bytes) -> None:
        await driver.rows.waited.wait()
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await Download(CsvWriter(), send).read(driver, STATEMENT, Limits(100, 1000, 1.0), NOTHING)
    assert not driver.read_when_closed
