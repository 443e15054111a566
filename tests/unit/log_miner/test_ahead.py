"""Working ahead changes neither items nor failures."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from services.log_miner.ahead import one_ahead


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
