"""A result on its way to a client while it is still being read: bounded memory at any size."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

from services.query_executor.drivers import Driver, Limits, Rows
from services.query_executor.drivers.frames import Columnar, FrameSource
from services.query_executor.formats import Batch, Writer
from services.query_executor.redact import Redactor
from services.query_executor.statement import Bound

Send = Callable[[bytes], Awaitable[None]]


class Download:
    """Reads a result and sends it. Nothing is sent before the first rows have come, so that a failure until then is
    answered like any other."""

    def __init__(self, writer: Writer, send: Send) -> None:
        self.writer = writer
        self.rows = 0
        self.bytes = 0
        self.truncated = False
        self._send = send

    async def read(self, driver: Driver, bound: Bound, limits: Limits, redactor: Redactor) -> None:
        """Until the end or a limit of rows or of bytes as they are sent. Raises what the driver raises."""
        # Batches are closed before the rows: what reads ahead must have stopped when their connection is given back.
        async with self._rows(driver, bound, limits, redactor) as rows, aclosing(_ahead(rows)) as batches:
            await self._pass_on(batches, self.writer.begin(rows.columns, redactor), limits)

    async def _pass_on(self, batches: AsyncIterator[Batch], head: bytes, limits: Limits) -> None:
        async for batch in batches:
            kept, chunk = self._fitting(batch[: limits.rows - self.rows], limits.bytes - self.bytes)
            self.rows += len(kept)
            self.bytes += len(chunk)
            await self._send(head + chunk)
            head = b""
            if len(kept) < len(batch):
                self.truncated = True
                return
        if head:
            await self._send(head)

    @asynccontextmanager
    async def _rows(
        self, driver: Driver, bound: Bound, limits: Limits, redactor: Redactor
    ) -> AsyncIterator[Rows | FrameSource]:
        """By columns where driver and format can."""
        if isinstance(driver, Columnar) and self.writer.takes_frames(redactor):
            async with driver.columns(bound, limits) as frames:
                if frames is not None:
                    yield frames
                    return
        async with driver.run(bound, limits) as rows:
            yield rows

    def _fitting(self, batch: Batch, room: int) -> tuple[Batch, bytes]:
        chunk = self.writer.chunk(batch)
        if len(chunk) > room:
            whole, sizes = batch, range(len(batch) + 1)
            most = bisect_right(sizes, room, key=lambda count: len(self.writer.chunk(whole[:count]))) - 1
            batch = whole[: max(most, 0)]
            chunk = self.writer.chunk(batch)
        return batch, chunk


async def _ahead(rows: Rows | FrameSource) -> AsyncGenerator[Batch, None]:
    """The batches; the server is asked for the next one while this one is written."""
    following = asyncio.ensure_future(rows.batch())
    try:
        while batch := await following:
            following = asyncio.ensure_future(rows.batch())
            yield batch
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await following
