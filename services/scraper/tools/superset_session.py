"""Logged in to Superset: tokens that are renewed when they expire, and answers that are what they should be."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from libs.common.connectors import SupersetSettings
from services.scraper.tools.fields import text
from services.scraper.tools.http_client import Answer, HttpClient, Limits, Resolve, http_client
from services.scraper.tools.interface import ToolError

_LOGIN: Final = "/api/v1/security/login"
_REFRESH: Final = "/api/v1/security/refresh"
# A broken query of one chart is answered with 500: asking again does not mend it.
_NO_RETRY: Final = frozenset({500})


@dataclass(frozen=True, slots=True)
class Tokens:
    access: str = field(repr=False)
    refresh: str | None = field(repr=False)


def wants_login(answer: Answer) -> bool:
    """Whether an answer means that the token does not count: 401, a malformed token's 422, a login page with 200."""
    if answer.status == 401:
        return True
    if answer.status == 422:  # flask-jwt-extended says `msg`, Superset's own validation `message` or `errors`
        return isinstance(answer.body, dict) and "msg" in answer.body
    return answer.status == 200 and not answer.is_json


class SupersetSession:
    """Requests as one account. One renewal at a time, however many requests find their token expired."""

    def __init__(self, settings: SupersetSettings, http: HttpClient) -> None:
        self.settings = settings
        self.http = http
        self._tokens: Tokens | None = None
        self._renewing = asyncio.Lock()

    async def login(self) -> None:
        """Get tokens for name and password. Raises ToolError."""
        settings = self.settings
        body = {
            "username": settings.username,
            "password": settings.password.get_secret_value(),
            "provider": settings.provider,
            "refresh": True,
        }
        answer = await self.http.send("POST", _LOGIN, json=body)
        if answer.status == 401:
            raise ToolError("wrong_password", f"Superset refuses the name or the password of {settings.username}.")
        access = text(answer.body, "access_token") if isinstance(answer.body, dict) else None
        if answer.status != 200 or access is None:
            raise _no_superset(settings, answer)
        self._tokens = Tokens(access, text(answer.body, "refresh_token"))

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """An object. Raises ToolError."""
        return _object(path, await self._authorised("GET", path, query=query))

    async def ask(self, method: str, path: str, query: Mapping[str, str] | None = None, json: object = None) -> Answer:
        """An answer of any status that concerns one entry only. Raises ToolError where the failure may pass."""
        return await self._authorised(method, path, query=query, json=json, final=_NO_RETRY)

    async def _authorised(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: object = None,
        final: frozenset[int] = frozenset(),
    ) -> Answer:
        """Send with the token; where it does not count, once more after a refresh and once more after a login."""
        for may_refresh in (True, False, False):
            tokens = self._tokens
            if tokens is None:
                await self._renew(None, may_refresh=False)
                tokens = self._tokens
            assert tokens is not None
            headers = {"Authorization": f"Bearer {tokens.access}"}
            answer = await self.http.send(method, path, query=query, json=json, headers=headers, final=final)
            if not wants_login(answer):
                return answer
            await self._renew(tokens, may_refresh=may_refresh)
        if answer.status == 200:
            raise ToolError(
                "login_page",
                f"{self.settings.base_url} answers with a web page instead of data; a proxy or single sign-on in front"
                " of Superset must let /api/v1 pass.",
            )
        raise ToolError("login_refused", "Superset logs the account in but refuses its tokens.")

    async def _renew(self, stale: Tokens | None, *, may_refresh: bool) -> None:
        async with self._renewing:
            if self._tokens is not stale:  # another request has done it
                return
            if may_refresh and stale is not None and await self._refresh(stale):
                return
            await self.login()

    async def _refresh(self, stale: Tokens) -> bool:
        if stale.refresh is None:
            return False
        answer = await self.http.send("POST", _REFRESH, headers={"Authorization": f"Bearer {stale.refresh}"})
        access = text(answer.body, "access_token") if isinstance(answer.body, dict) else None
        if answer.status != 200 or access is None or access == stale.access:
            return False
        self._tokens = Tokens(access, stale.refresh)
        return True


@asynccontextmanager
async def superset_session(
    settings: SupersetSettings, resolve: Resolve, limits: Limits
) -> AsyncIterator[SupersetSession]:
    """A session for one scrape, not yet logged in. Raises ToolError."""
    async with http_client(settings.base_url, resolve, verify_tls=settings.verify_tls, limits=limits) as http:
        yield SupersetSession(settings, http)


def _object(path: str, answer: Answer) -> dict[str, Any]:
    if answer.status == 200 and isinstance(answer.body, dict):
        return answer.body
    if answer.status == 403:
        raise ToolError("missing_right", f"The account may not read {path}.")
    if answer.status == 404:
        raise ToolError("not_found", f"This Superset has no {path} that the account can see.")
    if answer.status == 200:
        raise ToolError("malformed", f"{path} answered with something that is no JSON object.")
    raise ToolError("refused", f"Superset refused {path} with status {answer.status}.")


def _no_superset(settings: SupersetSettings, answer: Answer) -> ToolError:
    if not answer.is_json:
        return ToolError(
            "login_page",
            f"{settings.base_url} answers the login with a web page instead of JSON (status {answer.status}); is it"
            " Superset, and does no single sign-on stand in front of it?",
        )
    return ToolError(
        "login_refused",
        f"Superset refuses the login of {settings.username} by {settings.provider} with status {answer.status}.",
    )
