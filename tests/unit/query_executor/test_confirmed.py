"""Statements that are made ready before their look-up has ended: what is run, in which order, and what stays open."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.query_executor.drivers import Limits, Row, Rows
from services.query_executor.drivers.confirmed import Confirmed
from services.query_executor.service.lookups import Changed, Lookup
from services.query_executor.statement import Bound, Engine
from services.query_executor.store.executions import Runnable
from services.query_executor.store.queries import Query

NOW = datetime(2026, 3, 4, tzinfo=UTC)
QUERY = Query(UUID(int=1), "one", "One", None, (), 1, "external", "db", "SELECT 1", (), NOW, NOW)
KNOWN = Runnable(UUID(int=2), QUERY, None, True)
BOUND, LIMITS = Bound(Engine.POSTGRES, ("SELECT 1",), ()), Limits(1, 1, 1.0)


class Server:
    """A driver that notes what it is asked for."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.is_ready, self.is_left = asyncio.Event(), asyncio.Event()
        self.available: int | None = None
        self.columns = ()

    @asynccontextmanager
    async def run(self, _bound: Bound, _limits: Limits) -> AsyncIterator[Rows]:
        self.said.append("ready")
        self.is_ready.set()
        try:
            yield self
        finally:
            self.said.append("left")
            self.is_left.set()

    async def batch(self) -> Sequence[Row]:
        self.said.append("run")
        return ()

    async def close(self) -> None:
        raise AssertionError("whoever confirms does not close")


def asked(answer: "asyncio.Future[Runnable]") -> Lookup:
    async def ask() -> Runnable:
        return await answer

    return Lookup(KNOWN, asyncio.create_task(ask()))


async def read(server: Server, lookup: Lookup) -> None:
    async with Confirmed(server, lookup).run(BOUND, LIMITS) as rows:
        await rows.batch()


async def test_a_statement_is_run_once_it_is_confirmed() -> None:
    server, answer = Server(), asyncio.get_running_loop().create_future()
    lookup = asked(answer)
    reading = asyncio.create_task(read(server, lookup))
    await server.is_ready.wait()
    assert (server.said, lookup.confirmed) == (["ready"], False)
    answer.set_result(KNOWN)
    await reading
    assert (server.said[-2:], lookup.confirmed) == (["run", "left"], True)


async def test_what_has_changed_is_not_run() -> None:
    server, answer = Server(), asyncio.get_running_loop().create_future()
    found = replace(KNOWN, query=replace(QUERY, version=2))
    answer.set_result(found)
    with pytest.raises(Changed) as changed:
        await read(server, asked(answer))
    assert "run" not in server.said
    assert (changed.value.lookup.runnable, changed.value.lookup.confirmed) == (found, True)


async def test_a_failure_of_the_look_up_is_the_failure() -> None:
    server, answer = Server(), asyncio.get_running_loop().create_future()
    answer.set_exception(ConnectionRefusedError())
    lookup = asked(answer)
    with pytest.raises(ConnectionRefusedError):
        await read(server, lookup)
    assert ("run" not in server.said, lookup.confirmed) == (True, False)


async def test_nothing_is_open_while_a_look_up_takes_long() -> None:
    server, answer = Server(), asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(read(server, asked(answer)))
    await server.is_left.wait()
    assert (server.said, reading.done()) == (["ready", "left"], False)
    answer.set_result(KNOWN)
    await reading
    assert server.said == ["ready", "left", "ready", "run", "left"]


async def test_whoever_leaves_ends_the_look_up() -> None:
    answer: asyncio.Future[Runnable] = asyncio.get_running_loop().create_future()
    lookup = asked(answer)
    reading = asyncio.create_task(read(server := Server(), lookup))
    await server.is_ready.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await lookup.end()
    assert (server.said, answer.cancelled(), lookup.confirmed) == (["ready", "left"], True, False)


async def test_an_end_waits_for_the_look_up_whatever_it_says() -> None:
    answer: asyncio.Future[Runnable] = asyncio.get_running_loop().create_future()
    answer.set_exception(ConnectionRefusedError())
    lookup = asked(answer)
    await asyncio.sleep(0)
    await lookup.end()
    assert not lookup.confirmed
