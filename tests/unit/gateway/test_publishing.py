"""Reading a request's body at the edge: in pieces, too large, cut off."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from libs.common.auth import Principal
from libs.common.errors import TooLarge
from services.gateway.ingress.publishing import Gone, Publishing


class Anybody:
    """An identity that knows everybody."""

    async def principal(self, authorization: str | None) -> Principal:
        assert authorization == "Bearer t"
        return Principal(UUID(int=1), "ci")


class Echo:
    """An ingress that tells what it was given."""

    async def take(self, caller: Principal, headers: Any, body: bytes) -> list[dict[str, Any]]:
        return [{"by": caller.subject, "body": body.decode()}]


async def publish(*parts: bytes, announced: int | None = None, cut: bool = False) -> list[Any]:
    pending: list[dict[str, Any]] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    pending.append({"type": "http.disconnect"} if cut else {"type": "http.request"})
    sent: list[Any] = []

    async def receive() -> Any:
        return pending.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer t")]
    headers += [(b"content-length", str(announced).encode())] if announced is not None else []
    publishing: Any = Publishing
    await publishing(Anybody(), Echo(), 10)({"headers": headers}, receive, send)
    return sent


@pytest.mark.parametrize("parts", [(), (b"",), (b"abc",), (b"12345", b"67890")])
async def test_a_body_may_come_in_pieces(parts: Iterable[bytes]) -> None:
    head, body = await publish(*parts)
    text = b"".join(parts).decode()
    assert body["body"] == f'{{"results":[{{"by":"ci","body":"{text}"}}]}}'.encode()
    assert (head["status"], dict(head["headers"])[b"content-length"]) == (202, str(len(body["body"])).encode())


@pytest.mark.parametrize(("parts", "announced"), [((b"12345678901",), None), ((b"123456", b"78901"), None), ((), 11)])
async def test_a_body_that_is_too_large_is_not_read_to_its_end(parts: Iterable[bytes], announced: int | None) -> None:
    with pytest.raises(TooLarge, match="10 bytes"):
        await publish(*parts, announced=announced)


async def test_a_sender_that_leaves_publishes_nothing() -> None:
    with pytest.raises(Gone):
        await publish(b"{", cut=True)


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("POST", "/events", True),
        ("POST", "/events/", True),
        ("OPTIONS", "/events", False),
        ("GET", "/events/schemas/", False),
        ("POST", "/events/x", False),
    ],
)
def test_which_requests_are_answered_here(method: str, path: str, takes: bool) -> None:
    assert Publishing.takes({"method": method, "path": path}) is takes
