"""The issuer's public keys: inline, or fetched, cached, and fetched again when a token names a new one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp
import jwt
import structlog

FRESH_SECONDS: Final = 600.0
# A token that names an unknown key makes us look at once, but nobody can make us look all the time.
_LEAST_PAUSE: Final = 30.0
_FAMILY: Final = {"RS256": "RSA", "ES256": "EC"}
_log = structlog.get_logger()

Fetch = Callable[[], Awaitable[Mapping[str, Any]]]


def fetch_from(session: aiohttp.ClientSession, url: str) -> Fetch:
    """Fetches a key set over HTTP."""

    async def fetch() -> Mapping[str, Any]:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=5)) as answer:
            answer.raise_for_status()
            keys: Mapping[str, Any] = await answer.json(content_type=None)
            return keys

    return fetch


def usable_keys(jwks: Mapping[str, Any]) -> list[jwt.PyJWK]:
    """The signature keys of a set that we can use; a key of an unknown kind is no reason to refuse the others."""
    keys = list[jwt.PyJWK]()
    for raw in jwks.get("keys", ()):
        if raw.get("use", "sig") != "sig" or raw.get("kty") not in _FAMILY.values():
            continue
        try:
            keys.append(jwt.PyJWK(raw))
        except jwt.PyJWTError:
            _log.warning("a key of the issuer's key set cannot be used", kid=str(raw.get("kid"))[:64])
    return keys


class KeySet:
    """Keys by id and algorithm."""

    def __init__(
        self,
        inline: Mapping[str, Any] | None = None,
        fetch: Fetch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inline = usable_keys(inline or {})
        self._fetched = list[jwt.PyJWK]()
        self._fetch = fetch
        self._monotonic = monotonic
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()

    async def key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key that a token names; without a name the only one there is for the algorithm."""
        found = self._find(key_id, algorithm)
        if self._fetch is not None and self._is_due(FRESH_SECONDS if found else _LEAST_PAUSE):
            await self._look()
            found = self._find(key_id, algorithm)
        return found

    def _find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [key for key in (*self._inline, *self._fetched) if _fits(key, algorithm)]
        named = [key for key in fitting if key.key_id == key_id] if key_id is not None else fitting
        return named[0] if len(named) == 1 or (named and key_id is not None) else None

    def _is_due(self, pause: float) -> bool:
        return self._looked_at is None or self._monotonic() - self._looked_at >= pause

    async def _look(self) -> None:
        """Old keys stay when the issuer cannot be reached."""
        assert self._fetch is not None
        async with self._looking:
            if not self._is_due(_LEAST_PAUSE):
                return
            self._looked_at = self._monotonic()
            try:
                self._fetched = usable_keys(await self._fetch())
            except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError, TypeError) as error:
                _log.warning("the issuer's key set cannot be fetched", error=type(error).__name__)


def _fits(key: jwt.PyJWK, algorithm: str) -> bool:
    """A key serves its own algorithm only, so that no public key is ever taken for a secret."""
    return key.key_type == _FAMILY[algorithm] and key.algorithm_name == algorithm
