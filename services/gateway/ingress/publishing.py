"""`POST /events` as plain ASGI: a framework's share would be five times what it takes to publish an event."""

from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

from libs.common.errors import TooLarge
from services.gateway.identity import Identity
from services.gateway.ingress.events import Ingress

PATH: Final = "/events"
_PATHS: Final = frozenset({PATH, PATH + "/"})  # a redirect to the other spelling would be taken for a failure


class Gone(Exception):
    """The sender left before it had sent all."""


class Publishing:
    """Who, what, and what became of it. Raises what answers the request, and Gone."""

    def __init__(self, identity: Identity, ingress: Ingress, longest: int) -> None:
        """`longest`: bytes of a request's body at most."""
        self._identity = identity
        self._ingress = ingress
        self._longest = longest

    @staticmethod
    def takes(scope: Scope) -> bool:
        """Whether this answers a request."""
        return scope["path"] in _PATHS and scope["method"] == "POST"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        named: dict[bytes, bytes] = dict(headers)
        caller = await self._identity.principal(named.get(b"authorization", b"").decode("latin-1"))
        body = await self._body(named.get(b"content-length", b""), receive)
        answer = orjson.dumps({"results": await self._ingress.take(caller, headers, body)})
        await send({"type": "http.response.start", "status": 202, "headers": _head(answer)})
        await send({"type": "http.response.body", "body": answer})

    async def _body(self, announced: bytes, receive: Receive) -> bytes:
        if announced.isdigit() and int(announced) > self._longest:
            raise self._too_large()
        parts, size = list[bytes](), 0
        while True:
            message: Any = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._longest:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(parts)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self._longest:,} bytes.")


def _head(answer: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
