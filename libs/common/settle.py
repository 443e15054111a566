"""Handling one batch: retries while trouble passes by itself, halving down to the bad records when it does not."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from prometheus_client import Counter

from libs.common.dead_letter import Kind
from libs.common.failures import RetryPolicy, describe, is_transient
from libs.common.records import E, Handler, InvalidRecords, Record


@dataclass(frozen=True, slots=True)
class Bad:
    """Why one record cannot be handled."""

    kind: Kind
    error: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Handled:
    """The record went through, or asked for nothing."""


HANDLED = Handled()
Outcome = Handled | Bad


class GaveUp(Exception):
    """Transient trouble outlasted the budget, or the consumer must stop: nothing of the batch may be committed."""


class Patience:
    """Repeats a call while its failures are transient."""

    def __init__(self, policy: RetryPolicy, stop: asyncio.Event, retried: Counter) -> None:
        self._policy = policy
        self._stop = stop
        self._retried = retried

    async def call(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Await `attempt()` until it succeeds. Raises GaveUp, or the first failure that is not transient."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._policy.budget
        for pause in self._policy.pauses():
            try:
                await attempt()
                return
            except Exception as error:
                if not is_transient(error):
                    raise
                if loop.time() + pause > deadline:
                    raise GaveUp(describe(error)) from error
                await self._wait(pause, error)

    async def _wait(self, pause: float, error: Exception) -> None:
        self._retried.inc()
        try:
            async with asyncio.timeout(pause):
                await self._stop.wait()
        except TimeoutError:
            return
        raise GaveUp(describe(error)) from error


class Settlement(Generic[E]):
    """Gives records to a handler and notes the outcome of each, in order; halves what fails."""

    def __init__(
        self,
        records: Sequence[Record[E]],
        handler: Handler[E],
        patience: Patience,
        on_bad: Callable[[int, Bad], bool],
        outcomes: list[Outcome | None] | None = None,
    ) -> None:
        """`on_bad(position, why)` is told of each bad record; False stops the search: the rest stays open.

        An `on_bad` that looks at the outcomes brings their list: one that knew the settlement would keep it, and the
        batch, in memory until the collector comes.
        """
        self.outcomes: list[Outcome | None] = [None] * len(records) if outcomes is None else outcomes
        self._records = records
        self._handler = handler
        self._patience = patience
        self._on_bad = on_bad
        self._attempts = [0] * len(records)
        self._stopped = False

    async def run(self) -> None:
        """Raises GaveUp."""
        await self._settle(list(range(len(self._records))))

    async def _settle(self, positions: list[int]) -> None:
        if not positions or self._stopped:
            return
        try:
            await self._give(positions)
        except GaveUp:
            raise
        except InvalidRecords as error:
            await self._drop_invalid(positions, error)
        except Exception as error:
            await self._halve(positions, error)
        else:
            for position in positions:
                self.outcomes[position] = HANDLED

    async def _give(self, positions: list[int]) -> None:
        batch = [self._records[position] for position in positions]
        for position in positions:
            self._attempts[position] += 1
        await self._patience.call(lambda: self._handler(batch))

    async def _drop_invalid(self, positions: list[int], error: InvalidRecords) -> None:
        named = {positions[at]: reason for at, reason in error.reasons.items() if 0 <= at < len(positions)}
        if not named:
            await self._halve(positions, error)
            return
        for position, reason in sorted(named.items()):
            self._note(position, "invalid", "InvalidRecord", reason)
        await self._settle([position for position in positions if position not in named])

    async def _halve(self, positions: list[int], error: Exception) -> None:
        if len(positions) == 1:
            self._note(positions[0], "bug", type(error).__name__, describe(error))
            return
        middle = len(positions) // 2
        await self._settle(positions[:middle])
        await self._settle(positions[middle:])

    def _note(self, position: int, kind: Kind, error: str, reason: str) -> None:
        bad = Bad(kind, error, reason, self._attempts[position])
        self.outcomes[position] = bad
        if not self._on_bad(position, bad):
            self._stopped = True
