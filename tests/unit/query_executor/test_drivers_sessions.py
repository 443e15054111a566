"""The bounded set of sessions, with sessions that do nothing."""

import asyncio

import pytest

from services.query_executor.drivers.sessions import Sessions
from services.query_executor.drivers.source import Pooling
from tests.support.processes import eventually


class Quiet:
    def __init__(self) -> None:
        self.alive = True
        self.ended = False

    async def end(self) -> None:
        self.ended = True


class Made:
    def __init__(self) -> None:
        self.sessions = list[Quiet]()
        self.fails = False

    async def connect(self) -> Quiet:
        if self.fails:
            raise ConnectionRefusedError
        self.sessions.append(Quiet())
        return self.sessions[-1]


async def test_a_session_that_came_back_is_used_again_while_it_lives() -> None:
    made = Made()
    sessions = Sessions(made.connect, Pooling(2, 60.0))
    first = await sessions.take()
    await sessions.give(first)
    assert await sessions.take() is first
    await sessions.give(first)
    first.alive = False
    second = await sessions.take()
    assert second is not first
    assert first.ended
    await sessions.drop(second)
    assert second.ended
    await sessions.close()


async def test_a_failed_login_takes_no_place() -> None:
    made = Made()
    sessions = Sessions(made.connect, Pooling(1, 60.0))
    made.fails = True
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await sessions.take()
    made.fails = False
    await sessions.give(await sessions.take())
    await sessions.close()


async def test_no_more_than_there_are_places() -> None:
    made = Made()
    sessions = Sessions(made.connect, Pooling(1, 60.0))
    first = await sessions.take()
    waiting = asyncio.create_task(sessions.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    await sessions.give(first)
    assert await waiting is first
    await sessions.give(first)
    await sessions.close()
    assert len(made.sessions) == 1


async def test_what_is_unused_is_closed() -> None:
    made = Made()
    sessions = Sessions(made.connect, Pooling(2, 0.0))
    first = await sessions.take()
    await sessions.give(first)

    async def ended() -> bool:
        return first.ended

    await eventually(ended, seconds=5)
    later = await sessions.take()
    await sessions.close()
    await sessions.give(later)  # what comes back after the end is closed too
    assert later.ended
