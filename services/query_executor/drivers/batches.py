"""How many rows a batch takes, so that it is a few MiB however wide the rows are."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

FIRST_ROWS: Final = 64
_MOST_ROWS, _BATCH_BYTES = 1000, 4 * 1024 * 1024


def next_size(records: Sequence[Iterable[Any]]) -> int:
    """So many rows as those of this batch make about 4 MiB."""
    some = records[:: max(1, len(records) // 16)]
    if not some:
        return 1
    size = sum(len(value) for record in some for value in record if isinstance(value, (str, bytes)))
    return max(1, min(_MOST_ROWS, _BATCH_BYTES * len(some) // (size + 1)))
