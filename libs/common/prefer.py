"""Waiting requests (RFC 7240): `Prefer: wait=N` and `respond-async`, and the loop that waits."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header

from libs.common.errors import BadRequest

DEFAULT_WAIT_SECONDS = 120.0
LONGEST_WAIT_SECONDS = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_WAIT = re.compile(r'wait\s*=\s*"?(\d+)"?')

T = TypeVar("T")


def wait_seconds(prefer: str | None) -> float:
    """How long a request waits for its job: `wait=N` (at most 600), else not at all for `respond-async`, else 120.

    Raises BadRequest for a `wait` that is no number of seconds; preferences of others are ignored.
    """
    preferences = _preferences(prefer)
    for preference in preferences:
        if found := _WAIT.fullmatch(preference):
            return min(float(found[1]), LONGEST_WAIT_SECONDS)
        if re.match(r"wait\b", preference):
            raise BadRequest("Prefer: wait takes a whole number of seconds, as in `Prefer: wait=30`.")
    return 0.0 if "respond-async" in preferences else DEFAULT_WAIT_SECONDS


def _preferences(prefer: str | None) -> list[str]:
    return [part.strip().lower() for part in re.split("[,;]", prefer or "")]


def asks_async(prefer: str | None) -> bool:
    """Whether a request that is answered at the end by default shall not wait."""
    return "respond-async" in _preferences(prefer)


async def _wait_of_request(prefer: Annotated[str | None, Header()] = None) -> float:
    return wait_seconds(prefer)


# Seconds that the caller of a route wants to wait for the outcome.
Wait = Annotated[float, Depends(_wait_of_request)]


async def wait_until(read: Callable[[], Awaitable[T]], done: Callable[[T], bool], seconds: float) -> T:
    """What `read` gives once it is `done`, or what it gives when the time is up."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        value = await read()
        remaining = deadline - time.monotonic()
        if done(value) or remaining <= 0:
            return value
        await asyncio.sleep(min(pause, remaining))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
