"""A bounded set of sessions with one server, for client libraries whose own pools do not fit."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from services.query_executor.drivers.source import Pooling
from services.query_executor.drivers.turns import Turns


class Session(Protocol):
    """One login."""

    @property
    def alive(self) -> bool:
        """Whether the server has kept its side open, as far as this side knows."""

    async def end(self) -> None:
        """Close it. Never fails."""


S = TypeVar("S", bound=Session)


class Sessions(Generic[S]):
    """Sessions are made when needed, at most so many at once; one that is unused for long is closed."""

    def __init__(self, connect: Callable[[], Awaitable[S]], pooling: Pooling) -> None:
        self._connect = connect
        self._idle_seconds = pooling.idle_seconds
        self._turns = Turns(pooling.connections)
        self._idle: list[tuple[S, asyncio.TimerHandle]] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self) -> S:
        """A session, to be given back or dropped. Raises Unavailable where none gets free in time."""
        await self._turns.take()
        try:
            return await self._unused() or await self._connect()
        except BaseException:
            self._turns.release()
            raise

    async def _unused(self) -> S | None:
        while self._idle:
            session, timer = self._idle.pop()
            timer.cancel()
            if session.alive:
                return session
            await session.end()
        return None

    async def give(self, session: S) -> None:
        """Take a session back that is as new."""
        if self._closed:
            await self.drop(session)
            return
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, session)
        self._idle.append((session, timer))
        self._turns.release()

    async def drop(self, session: S) -> None:
        """Close a session that is not fit for another statement."""
        try:
            await session.end()
        finally:
            self._turns.release()

    def _expire(self, session: S) -> None:
        self._idle = [each for each in self._idle if each[0] is not session]
        task = asyncio.create_task(session.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Close all that are unused; those in use are closed when they come back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for _, timer in idle:
            timer.cancel()
        await asyncio.gather(*(session.end() for session, _ in idle), *self._ending)
