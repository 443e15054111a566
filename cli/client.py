"""The gateway, as the command line sees it."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp


class GatewayError(Exception):
    """An answer that is no success, with the gateway's own words."""

    def __init__(self, status: int, body: Any) -> None:
        detail = body.get("detail", body) if isinstance(body, dict) else body
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.body = body


class Gateway:
    """JSON over HTTP with a bearer token: `async with Gateway(url, token) as gateway: …`."""

    def __init__(self, base_url: str, token: str) -> None:
        self._session = aiohttp.ClientSession(
            base_url, headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=180)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str | int] | None = None,
        prefer: str | None = None,
    ) -> Any:
        """The parsed answer; GatewayError for anything but 2xx. `prefer` is the header of RFC 7240."""
        headers = {"Prefer": prefer} if prefer else {}
        async with self._session.request(method, path, json=body, params=query, headers=headers) as response:
            json_type = response.content_type == "application/json"
            answer = await response.json() if json_type else await response.text()
            if response.status >= 300:
                raise GatewayError(response.status, answer)
            return answer

    async def get(self, path: str, **query: str | int) -> Any:
        return await self.call("GET", path, query=query)

    async def post(self, path: str, body: Any = None, *, prefer: str | None = None) -> Any:
        return await self.call("POST", path, body, prefer=prefer)

    async def first_named(self, path: str, name: str) -> Any | None:
        """The item of a paged list with that name, or None."""
        query: dict[str, str | int] = {"limit": 500}
        while True:
            page = await self.get(path, **query)
            for item in page["items"]:
                if item["name"] == name:
                    return item
            if not page.get("next_cursor"):
                return None
            query["cursor"] = page["next_cursor"]

    async def ensure(self, path: str, body: dict[str, Any]) -> Any:
        """Create, or find what already bears that name."""
        try:
            return await self.post(path, body)
        except GatewayError as error:
            if error.status != 409:
                raise
            return await self.first_named(path, body["name"])
