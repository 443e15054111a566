"""Working ahead changes neither items nor failures."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from services.log_miner.ahead import OneBehind, one_ahead


class Maker:
    """Makes numbers, and notes how far it came."""

    def __init__(self, count: int, fail_at: int | None = None) -> None:
        self.count = count
        self.fail_at = fail_at
        self.made = 0
        self.closed = False

    async def numbers(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self.count):
                if number == self.fail_at:
                    raise ValueError("torn")
                await asyncio.sleep(0)
                self.made = number + 1
                yield number
        finally:
            self.closed = True


@pytest.mark.parametrize("count", [0, 1, 2, 7])
async def test_items_keep_their_order(count: int) -> None:
    maker = Maker(count)
    assert [number async for number in one_ahead(maker.numbers())] == list(range(count))
    assert maker.closed


async def test_the_next_item_is_made_meanwhile_and_no_more() -> None:
    maker = Maker(9)
    async with aclosing(one_ahead(maker.numbers())) as numbers:
        assert await anext(numbers) == 0
        for _ in range(50):
            await asyncio.sleep(0)
        assert maker.made == 2


async def test_a_failure_comes_in_its_turn() -> None:
    numbers = one_ahead(Maker(5, fail_at=3).numbers())
    assert [await anext(numbers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="torn"):
        await anext(numbers)


async def test_left_early_the_making_stops() -> None:
    maker = Maker(9)
    async with aclosing(one_ahead(maker.numbers())) as numbers:
        await anext(numbers)
    assert maker.closed
    assert maker.made <= 2


class Sent:
    """Notes which pieces of work were begun and which were done."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.may_go_on = asyncio.Event()

    async def work(self, number: int) -> None:
        self.begun.append(number)
        await self.may_go_on.wait()
        if number == 13:
            raise ValueError("refused")
        self.done.append(number)


async def test_work_goes_on_behind_one_piece_at_a_time() -> None:
    sent = Sent()
    async with OneBehind() as behind:
        await behind.begin(sent.work(1))
        following = asyncio.create_task(behind.begin(sent.work(2)))
        await asyncio.sleep(0)
        assert (sent.begun, sent.done, following.done()) == ([1], [], False)
        sent.may_go_on.set()
        await following
        assert sent.done[0] == 1
        await behind.done()
        assert (sent.begun, sent.done) == ([1, 2], [1, 2])


async def test_what_work_raises_comes_before_the_next_begins() -> None:
    sent = Sent()
    sent.may_go_on.set()
    async with OneBehind() as behind:
        await behind.begin(sent.work(13))
        with pytest.raises(ValueError, match="refused"):
            await behind.begin(sent.work(14))
        await behind.done()
    assert sent.begun == [13]


async def test_left_early_the_work_is_cancelled() -> None:
    sent = Sent()

    async def fail() -> None:
        async with OneBehind() as behind:
            await behind.begin(sent.work(1))
            await asyncio.sleep(0)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    sent.may_go_on.set()
    await asyncio.sleep(0)
    assert (sent.begun, sent.done) == ([1], [])
