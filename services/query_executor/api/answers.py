"""Answers of executions: in pieces that are not joined, or sent while the result is still being read."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from libs.common.errors import TidemarkError
from libs.common.failures import describe
from services.query_executor.download import Send as SendBytes

Result = TypeVar("Result")
KEY_HEADER = "X-Execution-Key"
_UNWATCHED_SECONDS: Final = 0.02
_SMALL: Final = 64 * 1024
_log = structlog.get_logger()


async def while_there(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Do something as long as the client waits for it; None when it leaves, and then the statement has been stopped.

    Whether it has left is asked from some milliseconds on: most work is done by then.
    """
    caller = asyncio.current_task()
    assert caller is not None
    watch = _Watch(receive, caller)
    timer = asyncio.get_running_loop().call_later(_UNWATCHED_SECONDS, watch.start)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.left and caller.cancelling() == 1:
            return None
        raise
    finally:
        timer.cancel()
        watch.stop()


class _Watch:
    """Cancels the task that serves a client when the client leaves."""

    def __init__(self, receive: Receive, caller: "asyncio.Task[Any]") -> None:
        self.left = False
        self._receive = receive
        self._caller = caller
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Cancel no more, and take back what was asked for."""
        if self._task is not None:
            self._task.cancel()
        if self.left:
            self._caller.uncancel()

    async def _run(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        self._caller.cancel()


class Pieces(Response):
    """A body whose pieces are let go as they are sent; a small one is sent as a whole."""

    def __init__(self, pieces: list[bytes], headers: dict[str, str], media_type: str) -> None:
        length = sum(map(len, pieces))
        super().__init__(None, headers={**headers, "content-length": str(length)}, media_type=media_type)
        self._pieces = pieces if length > _SMALL else [b"".join(pieces)]

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
