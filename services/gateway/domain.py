"""Pure rules of the gateway: names, pages, API keys, masked settings, stored answers."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import BaseModel, SecretStr

from libs.common.connectors import AVAILABLE_TYPES, CONNECTOR_TYPES
from libs.common.errors import BadRequest, Forbidden, Unprocessable
from libs.common.sealed import MASK
from libs.common.slugs import slug_of

KEY_PREFIX: Final = "tmk_"
ANSWER_KEPT: Final = timedelta(hours=24)
# They say "not now" or "not you": the same request may well succeed later.
_PASSING: Final = frozenset({401, 403, 408, 409, 425, 429})
# Where a secret is sent to. One that is kept must not follow the connector to another place.
_DESTINATION: Final[Mapping[str, tuple[str, ...]]] = {"postgres": ("host", "port"), "superset": ("base_url",)}


def chosen_slug(slug: str | None, name: str) -> str:
    """The slug that was sent, or one made from the name; 422 where nothing of the name is left."""
    made = slug or slug_of(name)
    if not made:
        raise Unprocessable("slug: cannot be made from this name; give one of a-z, 0-9 and dashes.")
    return made


# --- pages


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ends: the last row's creation time and id."""

    created_at: datetime
    id: UUID


# --- API keys


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """An API key as a caller sends it."""

    id: UUID
    secret: str

    def fits(self, secret_hash: bytes) -> bool:
        """Whether this is the secret whose hash was stored."""
        return hmac.compare_digest(hash_of(self.secret), secret_hash)


def written_key(key_id: UUID, secret: str) -> str:
    """The key as it is shown, once."""
    return f"{KEY_PREFIX}{key_id.hex}_{secret}"


def presented_key(token: str) -> PresentedKey | None:
    """What a token says where it has the form of an API key, else None."""
    if not token.startswith(KEY_PREFIX):
        return None
    key_id, _, secret = token.removeprefix(KEY_PREFIX).partition("_")
    try:
        return PresentedKey(UUID(hex=key_id), secret) if len(key_id) == 32 and secret else None
    except ValueError:
        return None


def hash_of(secret: str) -> bytes:
    """What is stored of a secret. It has 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(secret.encode()).digest()


def grantable(wanted: frozenset[str], own: frozenset[str]) -> frozenset[str]:
    """Roles that a key may get from somebody with these roles; 403 where it would raise them."""
    if "superuser" in wanted and "superuser" not in own:
        raise Forbidden("roles: only a superuser can give the role `superuser`.")
    return wanted


# --- connector settings


def available(type_name: object) -> str:
    """A connector type of this version; 400 that names those there are for any other."""
    names = ", ".join(AVAILABLE_TYPES)
    if not isinstance(type_name, str):
        raise Unprocessable(f"settings.type: name the connector's type; available: {names}.")
    if type_name in AVAILABLE_TYPES:
        return type_name
    if type_name in CONNECTOR_TYPES:
        raise BadRequest(f"Connector type {type_name!r} is not available in this version; available: {names}.")
    raise BadRequest(f"Unknown connector type; available: {names}.")


def secret_fields(model: type[BaseModel]) -> frozenset[str]:
    """Names of the fields of a settings model that hold secrets."""
    return frozenset(name for name, field in model.model_fields.items() if field.annotation is SecretStr)


def revealed(settings: BaseModel) -> dict[str, Any]:
    """Settings with their secrets in clear, ready to be sealed."""
    plain = settings.model_dump(mode="json")
    for name in secret_fields(type(settings)):
        secret = getattr(settings, name)
        plain[name] = secret.get_secret_value() if secret is not None else None
    return plain


def masked(settings: Mapping[str, Any], secrets: frozenset[str]) -> dict[str, Any]:
    """Settings as they are shown."""
    return {name: MASK if name in secrets and value is not None else value for name, value in settings.items()}


@dataclass(frozen=True, slots=True)
class MergedSettings:
    """Settings to be validated, and the names of the secrets that came from the stored ones."""

    values: dict[str, Any]
    kept: frozenset[str]


def merged(old: Mapping[str, Any], new: Mapping[str, Any], secrets: frozenset[str], *, replace: bool) -> MergedSettings:
    """New settings over old ones; with `replace` an omitted field gets its default, but an omitted secret is kept."""
    if new.get("type", old["type"]) != old["type"]:
        raise Unprocessable("settings.type: cannot be changed; make another connector.")
    kept = frozenset(name for name in secrets if new.get(name, MASK) == MASK and old.get(name) is not None)
    base = {name: old[name] for name in kept} if replace else dict(old)
    given = {name: value for name, value in new.items() if name not in kept}
    return MergedSettings(base | given | {"type": old["type"]}, kept)


def refuse_moved_secret(old: Mapping[str, Any], new: Mapping[str, Any], kept: frozenset[str]) -> None:
    """422 where a kept secret would be sent to another place. Both settings are complete."""
    moved = [name for name in _DESTINATION[old["type"]] if new[name] != old[name]]
    if moved and kept:
        raise Unprocessable(
            f"settings.{', settings.'.join(sorted(kept))}: give it again, because {' and '.join(moved)} changed;"
            " a stored secret is never sent to another server."
        )


def dialled(settings: Mapping[str, Any]) -> tuple[str, int] | None:
    """Host and port that a connector with these (perhaps partial, unchecked) settings would be opened at."""
    if isinstance(settings.get("base_url"), str):
        try:
            parts = urlsplit(settings["base_url"])
            return (parts.hostname, parts.port or 0) if parts.hostname else None
        except ValueError:
            return None
    host, port = settings.get("host"), settings.get("port", 0)
    return (host, port) if isinstance(host, str) and isinstance(port, int) and 0 <= port <= 65535 else None


def refuse_masks(settings: Mapping[str, Any], secrets: frozenset[str]) -> None:
    """422 where a mask stands for a secret that nobody has given yet."""
    for name in secrets:
        if settings.get(name) == MASK:
            raise Unprocessable(f"settings.{name}: give the secret itself.")


# --- Idempotency-Key


@dataclass(frozen=True, slots=True)
class KeyedCall:
    """What is known of a request under an Idempotency-Key; times are real ones."""

    fingerprint: str
    state: Literal["running", "answered"]
    lease_until: datetime
    created_at: datetime


Verdict = Literal["run", "replay", "running", "differs"]


def verdict(call: KeyedCall, fingerprint: str, now: datetime) -> Verdict:
    """What becomes of a further request under a key that is known."""
    if call.created_at <= now - ANSWER_KEPT:
        return "run"
    if not hmac.compare_digest(call.fingerprint, fingerprint):
        return "differs"
    if call.state == "answered":
        return "replay"
    return "running" if call.lease_until > now else "run"


def is_final(status: int) -> bool:
    """Whether an answer is stored: not failures of ours, nor what may pass by itself."""
    return status < 500 and status not in _PASSING
