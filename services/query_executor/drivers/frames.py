"""Rows by columns, where a driver has them so."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from services.query_executor.drivers import Column, Limits
from services.query_executor.statement import Bound


@dataclass(frozen=True, slots=True)
class Frame:
    """An Arrow record batch that is cut like a list of rows."""

    batch: Any

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def __getitem__(self, rows: slice) -> "Frame":
        start, stop, _ = rows.indices(len(self))
        return Frame(self.batch.slice(start, max(0, stop - start)))


class FrameSource(Protocol):
    """As `Rows`, in frames."""

    @property
    def columns(self) -> Sequence[Column]:
        """As the server names them."""

    async def batch(self) -> Frame | Sequence[Any]:
        """The next frame, empty at the end."""


@runtime_checkable
class Columnar(Protocol):
    """A driver that may have a result by columns."""

    def columns(self, bound: Bound, limits: Limits) -> AbstractAsyncContextManager[FrameSource | None]:
        """The rows that `run` has; None where only `run` serves."""
