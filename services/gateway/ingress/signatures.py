"""Who sent a webhook: what its headers claim, and whether the raw body and a secret of the source prove it. Pure.

Nothing of the body is looked at before. A claim is compared with every valid secret, however soon one fits, and each
comparison takes the same time wherever the texts differ.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from libs.common.errors import Unauthorized

Kind = Literal["github", "gitlab", "argocd", "devlake", "generic"]
Reason = Literal[
    "missing_signature", "sha1_only", "token_not_enough", "malformed_signature", "stale_signature", "wrong_signature"
]

WINDOW_SECONDS: Final = 300
SIGNING_PREFIX: Final = "whsec_"
# Kinds whose senders can sign, but need not.
SIGNED_OR_TOKEN: Final[frozenset[Kind]] = frozenset({"gitlab", "generic"})
_MOST_SIGNATURES: Final = 10
_TIMESTAMP: Final = re.compile(rb"[0-9]{1,12}")
# A dot would let the parts of what is signed change places.
_MESSAGE_ID: Final = re.compile(rb"[\x21-\x2d\x2f-\x7e]{1,255}")
# In lower case only, as every sender writes them: of a signature there is one spelling.
_HEX: Final = re.compile(rb"[0-9a-f]{64}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{43}=")


class Rejected(Unauthorized):
    """401. `reason` is for the audit; neither holds anything of a secret or of the request."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="tidemark webhooks"'})
        self.reason: Reason = reason


class Headers:
    """Headers of a request, by name in lower case."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in raw:
            self._values.setdefault(name.lower(), []).append(value)

    def one(self, name: str) -> bytes | None:
        """The header's value. Raises Rejected where there are several: nobody can say which one is meant."""
        found = self._values.get(name.encode(), [])
        if len(found) > 1:
            raise Rejected("malformed_signature", f"The header {name} must come once.")
        return found[0] if found else None

    def text(self, name: str) -> str | None:
        """A header that proves nothing; the first of several."""
        found = self._values.get(name.encode())
        return found[0].decode("utf-8", "replace") if found else None


@dataclass(frozen=True, slots=True)
class Signature:
    """An HMAC-SHA256 of `before` and the body: one of those that are `given` must fit."""

    given: tuple[bytes, ...] = field(repr=False)
    written: Callable[[bytes], bytes]
    key: Callable[[str], bytes]
    before: bytes = b""

    def fits(self, body: bytes, secrets: Sequence[str]) -> bool:
        """Whether a secret made one of the signatures."""
        fitting = False
        for key in filter(None, map(self.key, secrets)):
            made = hmac.new(key, self.before, hashlib.sha256)
            made.update(body)
            expected = self.written(made.digest())
            for given in self.given:
                fitting |= hmac.compare_digest(expected, given)
        return fitting


@dataclass(frozen=True, slots=True)
class Token:
    """The secret itself, in a header. Digests are compared, so that the time tells nothing of its length either."""

    given: bytes = field(repr=False)

    def fits(self, _body: bytes, secrets: Sequence[str]) -> bool:
        """Whether it is one of the secrets."""
        digest, fitting = hashlib.sha256(self.given).digest(), False
        for secret in filter(None, secrets):
            fitting |= hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), digest)
        return fitting


Claim = Signature | Token


def text_key(secret: str) -> bytes:
    """The text itself is the key."""
    return secret.encode()


def standard_key(secret: str) -> bytes:
    """`whsec_` and the key in base64, as Standard Webhooks writes it, or the text itself; empty where it is none."""
    if not secret.startswith(SIGNING_PREFIX):
        return text_key(secret)
    try:
        return base64.b64decode(secret.removeprefix(SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""


def claim_of(kind: Kind, headers: Headers, now: float, *, signed_only: bool = False) -> Claim:
    """What a request claims, by the kind of its source alone. `now`: seconds since 1970. Raises Rejected."""
    if kind == "github":
        return _github(headers)
    if kind == "gitlab" and headers.one("webhook-signature") is not None:
        return _standard(headers, now)
    if kind == "generic" and headers.one("x-tidemark-signature") is not None:
        return _own(headers, now)
    if signed_only and kind in SIGNED_OR_TOKEN:
        raise Rejected("token_not_enough", "This source takes signed requests only.")
    return _gitlab_token(headers) if kind == "gitlab" else _token(headers)


def verify(claim: Claim, body: bytes, secrets: Sequence[str]) -> None:
    """Raises Rejected where none of the secrets proves the claim, and where there is no secret."""
    if not claim.fits(body, secrets):
        raise Rejected("wrong_signature", "The signature or token does not fit this source's secret.")


def _hex(digest: bytes) -> bytes:
    return digest.hex().encode()


def _github(headers: Headers) -> Claim:
    given = headers.one("x-hub-signature-256")
    if given is None and headers.one("x-hub-signature") is not None:
        raise Rejected("sha1_only", "A SHA-1 signature is not accepted: send X-Hub-Signature-256.")
    if given is None:
        raise Rejected("missing_signature", "X-Hub-Signature-256 is missing: set the webhook's secret at GitHub.")
    digest = given.removeprefix(b"sha256=")
    if digest == given or not _HEX.fullmatch(digest):
        raise Rejected("malformed_signature", "X-Hub-Signature-256 must be `sha256=` and 64 hex digits.")
    return Signature((digest,), _hex, text_key)


def _standard(headers: Headers, now: float) -> Claim:
    """Standard Webhooks: `v1,<base64>` of id, time and body; several are parted by blanks."""
    message, timestamp = headers.one("webhook-id") or b"", headers.one("webhook-timestamp") or b""
    if not _MESSAGE_ID.fullmatch(message):
        raise Rejected("malformed_signature", "webhook-id must be 1 to 255 visible characters without a dot.")
    _check_age(timestamp, now, "webhook-timestamp")
    parts = (headers.one("webhook-signature") or b"").split(b" ")
    given = tuple(part[3:] for part in parts if part.startswith(b"v1,") and _BASE64.fullmatch(part[3:]))
    if not given or len(parts) > _MOST_SIGNATURES:
        raise Rejected("malformed_signature", "webhook-signature must be `v1,` and base64; at most ten of them.")
    return Signature(given, base64.b64encode, standard_key, message + b"." + timestamp + b".")


def _own(headers: Headers, now: float) -> Claim:
    """`t=<seconds since 1970>,v1=<hex>`, of time and body; `v1` may come again."""
    parts = [part.strip().partition(b"=") for part in (headers.one("x-tidemark-signature") or b"").split(b",")]
    times = [value for name, _, value in parts if name == b"t"]
    given = tuple(value for name, _, value in parts if name == b"v1" and _HEX.fullmatch(value))
    if len(times) != 1 or not given or len(parts) > _MOST_SIGNATURES:
        raise Rejected("malformed_signature", "X-Tidemark-Signature must be `t=<seconds>,v1=<64 hex digits>`.")
    _check_age(times[0], now, "X-Tidemark-Signature's time")
    return Signature(given, _hex, text_key, times[0] + b".")


def _check_age(timestamp: bytes, now: float, name: str) -> None:
    if not _TIMESTAMP.fullmatch(timestamp):
        raise Rejected("malformed_signature", f"{name} must be whole seconds since 1970.")
    if abs(now - int(timestamp)) > WINDOW_SECONDS:
        raise Rejected("stale_signature", f"{name} is more than five minutes away from our clock.")


def _gitlab_token(headers: Headers) -> Claim:
    token = headers.one("x-gitlab-token")
    if not token:
        raise Rejected("missing_signature", "webhook-signature or X-Gitlab-Token is missing: set it at GitLab.")
    return Token(token)


def _token(headers: Headers) -> Claim:
    token = headers.one("x-tidemark-token")
    if token is None:
        scheme, _, token = (headers.one("authorization") or b"").partition(b" ")
        token = token.strip() if scheme.lower() == b"bearer" else b""
    if not token:
        raise Rejected("missing_signature", "Send the source's secret in X-Tidemark-Token or `Authorization: Bearer`.")
    return Token(token)
