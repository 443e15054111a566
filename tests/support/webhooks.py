"""Webhooks as their senders write them: payloads by the vendors' documentation, and their signatures."""

import base64
import hashlib
import hmac
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

PAYLOADS = Path(__file__).parent / "payloads"


def payload(name: str, **changes: object) -> dict[str, Any]:
    """A payload of the folder, changed at dotted paths (written with `__`)."""
    found: dict[str, Any] = deepcopy(json.loads((PAYLOADS / f"{name}.json").read_text()))
    for path, value in changes.items():
        *way, last = path.split("__")
        inner = found
        for part in way:
            inner = inner[part]
        inner[last] = value
    return found


def body_of(content: object) -> bytes:
    """As it goes over the wire; blanks and order are the sender's, so nobody may write it anew."""
    return json.dumps(content, indent=1).encode()


def hub_signature(secret: str, body: bytes) -> str:
    """As GitHub writes it."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github_headers(secret: str, body: bytes, event: str, delivery: str) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/a5788b1",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature": "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest(),
        "X-Hub-Signature-256": hub_signature(secret, body),
    }


def standard_headers(secret: str, body: bytes, message: str, at: int) -> dict[str, str]:
    """As Standard Webhooks says, which GitLab's signing token follows."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    made = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "X-Gitlab-Event": "Deployment Hook",
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(made).decode(),
    }


def own_headers(secret: str, body: bytes, at: int) -> dict[str, str]:
    """As docs/webhooks.md says for senders of one's own."""
    made = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "X-Tidemark-Signature": f"t={at},v1={made}"}
