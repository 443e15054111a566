"""Waiting requests."""

import time

import pytest

from libs.common.errors import BadRequest
from libs.common.prefer import wait_seconds, wait_until


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 120),
        ("", 120),
        ("wait=10", 10),
        ("Wait = 10", 10),
        ('wait="10"', 10),
        ("wait=0", 0),
        ("wait=99999", 600),
        ("respond-async", 0),
        ("respond-async, wait=10", 10),
        ("wait=10;respond-async", 10),
        ("return=minimal", 120),
        ("return=minimal, respond-async", 0),
    ],
)
def test_preferences(prefer: str | None, seconds: float) -> None:
    assert wait_seconds(prefer) == seconds


@pytest.mark.parametrize("prefer", ["wait", "wait=soon", "wait=-1", "wait=1.5"])
def test_a_wait_that_is_no_number_is_refused(prefer: str) -> None:
    with pytest.raises(BadRequest):
        wait_seconds(prefer)


async def test_the_wait_ends_when_it_is_done() -> None:
    values = iter(range(100))

    async def read() -> int:
        return next(values)

    assert await wait_until(read, lambda value: value == 3, 30) == 3


async def test_the_wait_ends_when_the_time_is_up() -> None:
    reads: list[float] = []

    async def read() -> str:
        reads.append(time.monotonic())
        return "running"

    assert await wait_until(read, lambda value: value == "done", 0.2) == "running"
    assert reads[-1] - reads[0] >= 0.2
    assert await wait_until(read, lambda value: value == "done", 0) == "running"
