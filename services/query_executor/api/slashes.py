"""A path with and without a slash at its end is the same, and no redirect loses a body."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

ROOT: Final = "/api/apps"


class TrailingSlash:
    """Middleware: below ROOT every path is routed with a slash at its end, as the specification writes them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(ROOT) and not scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"] + "/", "raw_path": scope["raw_path"] + b"/"}
        await self._app(scope, receive, send)
