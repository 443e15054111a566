"""Who comes from outside: a JWT of the issuer or an API key becomes a Principal."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, cast, get_args
from uuid import UUID

import jwt

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.errors import Unauthorized
from libs.common.remembered import Remembered
from libs.common.settings import Environment
from services.gateway.domain import PresentedKey, presented_key
from services.gateway.jwks import KeySet
from services.gateway.settings import Settings
from services.gateway.store import api_keys as store

# How long a verified token is believed: bounds how late a revocation or a withdrawn issuer's key takes effect.
_TOKEN_BELIEVED: Final = 60.0
_KEY_BELIEVED: Final = 10.0
_USE_NOTED: Final = timedelta(minutes=1)
_REQUIRED: Final = ["exp", "iss", "aud", "sub"]


class NotAuthenticated(Unauthorized):
    """401 that names the scheme."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="tidemark"'})


def principal_of(claims: Mapping[str, Any]) -> Principal:
    """The principal of verified claims; NotAuthenticated where one of them has a wrong form."""
    environment, roles = claims.get("environment") or "production", claims.get("roles") or []
    if environment not in get_args(Environment):
        raise NotAuthenticated("The token's `environment` must be production or staging.")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise NotAuthenticated("The token's `roles` must be a list of strings.")
    try:
        tenant = UUID(claims["tenant"]) if claims.get("tenant") else None
    except (ValueError, AttributeError, TypeError):
        raise NotAuthenticated("The token's `tenant` must be a UUID.") from None
    return Principal(
        tenant=tenant,
        subject=str(claims["sub"]),
        environment=cast(Environment, environment),
        username=_text(claims, "preferred_username"),
        email=_text(claims, "email"),
        given_name=_text(claims, "given_name"),
        family_name=_text(claims, "family_name"),
        roles=frozenset(roles),
    )


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class TokenVerifier:
    """JWTs of one issuer. An algorithm is accepted only with the kind of key that belongs to it."""

    settings: Settings
    keys: KeySet

    async def verify(self, token: str) -> tuple[Principal, float]:
        """The principal and when the token expires (seconds since 1970)."""
        try:
            header = jwt.get_unverified_header(token)
            claims = jwt.decode(
                token,
                cast(Any, await self._key(header)),
                algorithms=[header["alg"]],
                issuer=self.settings.jwt_issuer,
                audience=self.settings.jwt_audience,
                leeway=self.settings.jwt_leeway_seconds,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("The token has expired.") from None
        except (jwt.PyJWTError, ValueError, KeyError, TypeError):
            raise NotAuthenticated("The token is not valid here.") from None
        return principal_of(claims), float(claims["exp"]) + self.settings.jwt_leeway_seconds

    async def _key(self, header: Mapping[str, Any]) -> str | jwt.PyJWK:
        algorithm = header.get("alg")
        if algorithm in self.settings.jwt_algorithms:
            if algorithm == "HS256" and self.settings.jwt_secret is not None:
                return self.settings.jwt_secret.get_secret_value()
            if algorithm in {"RS256", "ES256"}:
                key = await self.keys.key(header.get("kid"), str(algorithm))
                if key is not None:
                    return key
        raise jwt.InvalidKeyError


@dataclass(frozen=True, slots=True)
class KeyVerifier:
    """API keys of all tenants."""

    database: Database
    clock: Clock

    async def verify(self, presented: PresentedKey) -> Principal:
        """The principal of a key that is not revoked; notes its use, at most once a minute."""
        now = self.clock()
        async with self.database.work() as connection:
            key = await store.find_api_key(connection, presented.id)
            if key is None or not presented.fits(key.secret_hash) or key.revoked_at is not None:
                raise NotAuthenticated("The API key is unknown or revoked.")
            if key.last_used_at is None or key.last_used_at < now - _USE_NOTED:
                await store.mark_api_key_used(connection, key, now)
        return Principal(
            tenant=key.tenant_id,
            subject=str(key.id),
            environment=key.environment,
            actor_type="api_key",
            username=key.name,
            roles=frozenset(key.roles),
        )


def _real_time() -> float:
    return datetime.now(UTC).timestamp()


class DeletionCheck(Protocol):
    """Tells which tenants are deleted."""

    async def __call__(self, tenant: UUID) -> bool:
        """Whether this one is."""

    def forget(self, tenant: UUID) -> None:
        """This one was deleted just now."""


class Identity:
    """Verifies what comes, and remembers what it verified for a short while."""

    def __init__(
        self,
        tokens: TokenVerifier,
        keys: KeyVerifier,
        monotonic: Callable[[], float] = time.monotonic,
        real_time: Callable[[], float] = _real_time,
        deleted: DeletionCheck | None = None,
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._real_time = real_time
        self._deleted = deleted
        self._known = Remembered[bytes, Principal](monotonic)

    async def principal(self, authorization: str | None) -> Principal:
        """The caller by its Authorization header; NotAuthenticated (401) otherwise, and where its tenant is deleted."""
        principal = await self._principal(authorization)
        if self._deleted and principal.tenant is not None and await self._deleted(principal.tenant):
            raise NotAuthenticated("The tenant of this token was deleted.")
        return principal

    async def _principal(self, authorization: str | None) -> Principal:
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise NotAuthenticated("Send `Authorization: Bearer …` with a token or an API key.")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        principal = self._known.get(digest)
        if principal is None:
            principal, believed = await self._verify(token)
            self._known.put(digest, principal, believed)
        return principal

    async def _verify(self, token: str) -> tuple[Principal, float]:
        presented = presented_key(token)
        if presented is not None:
            return await self._keys.verify(presented), _KEY_BELIEVED
        principal, expires = await self._tokens.verify(token)
        return principal, min(_TOKEN_BELIEVED, expires - self._real_time())

    def forget_tenant(self, tenant: UUID) -> None:
        """A deleted tenant's tokens and keys are refused here at once."""
        if self._deleted:
            self._deleted.forget(tenant)

    def forget_key(self, key_id: UUID) -> None:
        """A revoked key is refused here at once."""
        subject = str(key_id)
        for digest, principal in self._known:
            if principal.actor_type == "api_key" and principal.subject == subject:
                self._known.forget(digest)
