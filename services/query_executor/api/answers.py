"""Answers of executions: in pieces that are not joined, or sent while the result is still being read."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from libs.common.errors import TidemarkError
from libs.common.failures import describe
from services.query_executor.download import Send as SendBytes

Result = TypeVar("Result")
KEY_HEADER = "X-Execution-Key"
_log = structlog.get_logger()


async def while_there(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Do something as long as the client waits for it; None when it leaves, and then the statement has been stopped."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Pieces(Response):
    """A body whose pieces are let go as they are sent."""

    def __init__(self, pieces: list[bytes], headers: dict[str, str], media_type: str) -> None:
        super().__init__(None, headers={**headers, "content-length": str(sum(map(len, pieces)))}, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._pieces.reverse()
        while self._pieces:
            await send({"type": "http.response.body", "body": self._pieces.pop(), "more_body": bool(self._pieces)})


class Flow(Response):
    """`work` is given what sends bytes; the answer begins with the first of them.

    A failure before is answered as any other. After it the server closes the connection in the middle of the answer,
    so that what was sent is not taken for all; `last_words` may say why.
    """

    def __init__(
        self,
        work: Callable[[SendBytes], Coroutine[Any, Any, None]],
        last_words: Callable[[TidemarkError], bytes],
        headers: dict[str, str],
        media_type: str,
    ) -> None:
        super().__init__(None, headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self._work = work
        self._last_words = last_words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def push(data: bytes) -> None:
            nonlocal started
            if not started:
                started = True
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})

        async def whole() -> bool:
            await self._work(push)
            return True

        try:
            if await while_there(receive, whole()):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:
            if not started:
                raise
            # The server closes the connection of an answer that is not completed.
            _log.warning("a result broke off", error=describe(error))
            await self._say(push, error)

    async def _say(self, push: Callable[[bytes], Awaitable[None]], error: Exception) -> None:
        if isinstance(error, TidemarkError):
            await push(self._last_words(error))
