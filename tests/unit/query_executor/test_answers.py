"""A client that leaves stops the work that it waited for; whatever else ends the work passes through."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from services.query_executor.api.answers import Pieces, while_there


class Client:
    """One side of a request: whether it has left."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.sent: list[MutableMapping[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)


class Work:
    """Waits until it may end; notes how it ended."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.begun, self.stopping, self.may_stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.may_stop.set()
        self.ended = ""

    async def run(self) -> str:
        self.begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.stopping.set()
            try:
                await self.may_stop.wait()
                await asyncio.sleep(0)  # something to be done before it has stopped
            finally:
                self.ended = "cancelled"
            raise
        self.ended = "done"
        return "result"


async def test_work_that_ends_is_answered() -> None:
    client, work, others = Client(), Work(), asyncio.all_tasks()
    work.may_end.set()
    assert await while_there(client.receive, work.run()) == "result"
    assert asyncio.all_tasks() <= others, "nobody waits for the client any more"


async def test_a_client_that_leaves_stops_the_work_before_it_is_said() -> None:
    client, work = Client(), Work()
    waiting = asyncio.create_task(while_there(client.receive, work.run()))
    await work.begun.wait()
    client.left.set()
    assert await waiting is None
    assert work.ended == "cancelled"
    assert waiting.cancelling() == 0


async def test_a_client_that_has_left_before_is_noticed() -> None:
    client, work = Client(), Work()
    client.left.set()
    assert await while_there(client.receive, work.run()) is None
    assert work.ended == "cancelled"


async def test_what_cancels_the_request_cancels_the_work_and_is_no_leaving() -> None:
    client, work = Client(), Work()
    waiting = asyncio.create_task(while_there(client.receive, work.run()))
    await work.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended == "cancelled"


async def test_leaving_and_being_cancelled_at_once_is_being_cancelled() -> None:
    client, work = Client(), Work()
    work.may_stop.clear()
    waiting = asyncio.create_task(while_there(client.receive, work.run()))
    client.left.set()
    await work.stopping.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended == "cancelled"


async def test_a_failure_passes() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        await while_there(Client().receive, fails())


async def test_work_that_ends_although_the_client_left_leaves_no_cancellation_behind() -> None:
    client = Client()

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "result"
        return ""

    client.left.set()
    assert await while_there(client.receive, stubborn()) == "result"
    async with asyncio.timeout(5):  # counts cancellations of this task
        await asyncio.sleep(0)


@pytest.mark.parametrize(("size", "messages"), [(10, 1), (100_000, 3)])
async def test_a_small_body_is_sent_as_a_whole_and_a_large_one_in_its_pieces(size: int, messages: int) -> None:
    client = Client()
    pieces = [b"[", b"x" * size, b"]"]
    answer = Pieces(list(pieces), {}, "application/json")
    await answer({"type": "http"}, client.receive, client.send)
    start, *bodies = client.sent
    assert dict(start["headers"])[b"content-length"] == str(size + 2).encode()
    assert (len(bodies), b"".join(each["body"] for each in bodies)) == (messages, b"".join(pieces))
    assert [each["more_body"] for each in bodies] == [True] * (messages - 1) + [False]
