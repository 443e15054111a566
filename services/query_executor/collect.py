"""Reading a result: as JSON, without secrets, up to the limits of rows and bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from services.query_executor.drivers import Driver, Limits, Row, Rows
from services.query_executor.envelope import OPTIONS, distinct_names, objects
from services.query_executor.redact import Redactor
from services.query_executor.statement import Bound


@dataclass(slots=True)
class Collected:
    """Rows as chunks of JSON objects joined by commas."""

    chunks: list[bytes] = field(default_factory=list, repr=False)
    rows: int = 0
    bytes: int = 0
    truncated: bool = False
    available: int | None = None
    cached_at: datetime | None = None  # when it was read, where it is an earlier execution's
    age: int = 0  # seconds since then

    async def read(self, driver: Driver, bound: Bound, limits: Limits, redactor: Redactor) -> None:
        """Run a statement and collect its rows. Raises what the driver raises."""
        async with driver.run(bound, limits) as rows:
            await self.add(rows, limits, redactor)

    async def add(self, rows: Rows, limits: Limits, redactor: Redactor) -> None:
        """Until the end or a limit."""
        names = distinct_names([column.name for column in rows.columns])
        while not self.truncated and (batch := await rows.batch()):
            room = limits.rows - self.rows
            self.truncated = len(batch) > room
            _take(self, names, batch[:room], limits.bytes, redactor)
        self.available = rows.available


def _take(found: Collected, names: Sequence[str], batch: Sequence[Row], most: int, redactor: Redactor) -> None:
    """Add a batch, or as much of it as there are bytes left."""
    chunk = _dumped(names, batch, redactor)
    if found.bytes + len(chunk) > most:
        found.truncated = True
        kept, size = list[bytes](), found.bytes
        for row in batch:
            one = _dumped(names, [row], redactor)
            size += len(one) + 1
            if size > most:
                break
            kept.append(one)
        batch, chunk = batch[: len(kept)], b",".join(kept)
    if batch:
        found.chunks.append(chunk)
        found.rows += len(batch)
        found.bytes += len(chunk)


def _dumped(names: Sequence[str], batch: Sequence[Row], redactor: Redactor) -> bytes:
    """Objects joined by commas."""
    rows = objects(names, batch)
    dumped = orjson.dumps(rows, option=OPTIONS)
    return (redactor.rows(rows, dumped) or dumped)[1:-1]
