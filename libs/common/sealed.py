"""Secrets at rest: AES-256-GCM under a key ring. A sealed text is `v1.<key id>.<base64url nonce + ciphertext>`."""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

MASK = "••••"
_NONCE_BYTES = 12
# Sealing and digests never share a key.
_DIGEST_PURPOSE = b"tidemark keyed digest"


class CannotOpen(ValueError):
    """The text is not sealed by a key of this ring, or not for these associated data."""


def encode(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Inverse of `encode`; accepts padded text too."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True, slots=True, repr=False)
class KeyRing:
    """Keys by id. The first seals; each of them opens, so that keys rotate without downtime."""

    keys: Mapping[str, AESGCM]
    digest_keys: Sequence[bytes]

    @classmethod
    def of(cls, keys: Mapping[str, SecretStr]) -> "KeyRing":
        """Build from settings. Raises ValueError where the ring is empty or a key is not 256 bits long."""
        if not keys:
            raise ValueError("sealing_keys needs at least one key")
        ring: dict[str, AESGCM] = {}
        digest_keys: list[bytes] = []
        for key_id, key in keys.items():
            raw = decode(key.get_secret_value())
            if len(raw) != 32 or "." in key_id:
                raise ValueError(f"sealing key {key_id!r} must be 32 bytes in base64url, its id without dots")
            ring[key_id] = AESGCM(raw)
            digest_keys.append(hmac.digest(raw, _DIGEST_PURPOSE, hashlib.sha256))
        return cls(ring, digest_keys)

    @property
    def active(self) -> str:
        """Id of the key that seals."""
        return next(iter(self.keys))

    def seal(self, plain: bytes, *, bound_to: str) -> str:
        """Encrypt, bound to a context (such as tenant and record id) that opening must name again."""
        nonce = os.urandom(_NONCE_BYTES)
        key_id = self.active
        return f"v1.{key_id}.{encode(nonce + self.keys[key_id].encrypt(nonce, plain, bound_to.encode()))}"

    def open(self, sealed: str, *, bound_to: str) -> bytes:
        """Decrypt. Raises CannotOpen, whose message never holds any of the content."""
        try:
            version, key_id, body = sealed.split(".")
            raw = decode(body)
            if version != "v1":
                raise CannotOpen(f"unknown sealing version {version!r}")
            return self.keys[key_id].decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode())
        except (KeyError, InvalidTag, ValueError) as error:
            raise CannotOpen(f"sealed text cannot be opened ({type(error).__name__})") from None

    def digests(self, plain: str, *, bound_to: str) -> list[bytes]:
        """What a text is recognised by without being stored: one digest a key, the active key's first.

        Who holds no key cannot find the text by guessing.
        """
        message = len(bound_to.encode()).to_bytes(4) + bound_to.encode() + plain.encode("utf-8", "surrogatepass")
        return [hmac.digest(key, message, hashlib.sha256) for key in self.digest_keys]

    def is_current(self, sealed: str) -> bool:
        """Whether the active key sealed it; if not, it wants to be sealed again."""
        return sealed.startswith(f"v1.{self.active}.")
