"""Lines of an answer that comes bit by bit."""

from collections import deque
from typing import Final

from aiohttp import StreamReader

from services.query_executor.errors import QueryExecutionError

_CHUNK: Final = 256 * 1024
_MIB: Final = 2**20


class Lines:
    """Holds one chunk and the beginning of a line at most. Raises QueryExecutionError for a line over the limit."""

    def __init__(self, content: StreamReader, longest: int) -> None:
        self._content = content
        self._longest = longest
        self._ready: deque[bytes] = deque()
        self._rest = bytearray()
        self._ended = False

    async def next(self) -> bytes | None:
        """The next line, None at the end."""
        found = await self.some(1)
        return found[0] if found else None

    async def some(self, most: int) -> list[bytes]:
        """Lines that have come, at least one while there are any; none at the end."""
        while not self._ready and not self._ended:
            await self._fill()
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    async def _fill(self) -> None:
        chunk = await self._content.read(_CHUNK)
        self._ended = not chunk
        self._rest += chunk
        *whole, rest = self._rest.split(b"\n") if chunk else (*self._rest.split(b"\n"), b"")
        self._rest = bytearray(rest)
        self._ready.extend(bytes(line) for line in whole if line)
        if len(self._rest) > self._longest:
            raise QueryExecutionError(f"A row of the result is larger than {self._longest // _MIB} MiB.")
