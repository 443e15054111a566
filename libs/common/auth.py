"""Identity between the gateway and the services: a 60-second token, EdDSA, checked once when a request arrives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from libs.common.errors import Forbidden, Unauthorized
from libs.common.remembered import Remembered
from libs.common.sealed import decode
from libs.common.settings import Environment

AUDIENCE = "tidemark-services"
ISSUER = "tidemark-gateway"
LIFETIME = timedelta(seconds=60)
ActorType = Literal["user", "api_key", "recipient", "service", "unknown"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `tenant` is None only for a superuser token that names no tenant."""

    tenant: UUID | None
    subject: str
    environment: Environment = "production"
    actor_type: ActorType = "user"
    username: str | None = None
    email: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    roles: frozenset[str] = field(default_factory=frozenset)
    connector_id: UUID | None = None
    connector_version: int | None = None

    @property
    def is_superuser(self) -> bool:
        return "superuser" in self.roles

    @property
    def is_staff(self) -> bool:
        return "staff" in self.roles

    def require_tenant(self) -> UUID:
        """The tenant, or 403 for a token without one."""
        if self.tenant is None:
            raise Forbidden("This token names no tenant; use a token with a `tenant` claim.")
        return self.tenant

    def about_connector(self, connector_id: UUID, version: int) -> "Principal":
        """The same principal, with the connector and the version of it that the gateway saw."""
        return replace(self, connector_id=connector_id, connector_version=version)


def _claims(principal: Principal, now: datetime) -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + LIFETIME,
        "sub": principal.subject,
        "tenant": str(principal.tenant) if principal.tenant else None,
        "environment": principal.environment,
        "actor_type": principal.actor_type,
        "preferred_username": principal.username,
        "email": principal.email,
        "given_name": principal.given_name,
        "family_name": principal.family_name,
        "roles": sorted(principal.roles),
        "connector_id": str(principal.connector_id) if principal.connector_id else None,
        "connector_version": principal.connector_version,
    }


def _uuid_or_none(value: object) -> UUID | None:
    return UUID(str(value)) if value else None


def _principal(claims: Mapping[str, Any]) -> Principal:
    return Principal(
        tenant=_uuid_or_none(claims.get("tenant")),
        subject=claims["sub"],
        environment=claims["environment"],
        actor_type=claims["actor_type"],
        username=claims.get("preferred_username"),
        email=claims.get("email"),
        given_name=claims.get("given_name"),
        family_name=claims.get("family_name"),
        roles=frozenset(claims.get("roles") or ()),
        connector_id=_uuid_or_none(claims.get("connector_id")),
        connector_version=claims.get("connector_version"),
    )


def _real_time() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class InternalSigner:
    """The gateway's side: mints the token that services accept."""

    key_id: str
    key: Ed25519PrivateKey = field(repr=False)
    now: Callable[[], datetime] = _real_time

    @classmethod
    def of(cls, key_id: str, private_key: str) -> "InternalSigner":
        """From a raw Ed25519 private key in base64url."""
        return cls(key_id, Ed25519PrivateKey.from_private_bytes(decode(private_key)))

    def mint(self, principal: Principal) -> str:
        """A token for one request."""
        return jwt.encode(
            _claims(principal, self.now()), cast(Any, self.key), algorithm="EdDSA", headers={"kid": self.key_id}
        )


@dataclass(frozen=True, slots=True)
class InternalVerifier:
    """A service's side: accepts tokens signed by one of the gateway's keys, and nothing else."""

    keys: Mapping[str, Ed25519PublicKey]
    now: Callable[[], datetime] = _real_time
    # The gateway sends the same token for some seconds, and its signature is the dearest step of a small request.
    _verified: Remembered[str, Principal] = field(default_factory=Remembered, repr=False, compare=False)

    @classmethod
    def of(cls, public_keys: Mapping[str, str]) -> "InternalVerifier":
        """From raw Ed25519 public keys in base64url by key id."""
        return cls({kid: Ed25519PublicKey.from_public_bytes(decode(key)) for kid, key in public_keys.items()})

    def verify(self, token: str) -> Principal:
        """The principal of a token; Unauthorized where the token is not the gateway's or has expired."""
        principal = self._verified.get(token)
        if principal is None:
            try:
                claims = self._claims(token)
                principal = _principal(claims)
            except (jwt.PyJWTError, KeyError, ValueError):
                raise Unauthorized("The internal token is missing, expired or not signed by this gateway.") from None
            self._verified.put(token, principal, claims["exp"] - self.now().timestamp())
        return principal

    def _claims(self, token: str) -> dict[str, Any]:
        key = self.keys[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(
            token,
            cast(Any, key),
            algorithms=["EdDSA"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )
