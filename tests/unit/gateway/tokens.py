"""Tokens as an issuer, or somebody who pretends to be one, would make them."""

import time
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from services.gateway.settings import Settings

SECRET = "unit-test-secret-of-at-least-32-bytes"
TENANT = uuid4()
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def claims(**changes: object) -> dict[str, Any]:
    """Good claims, with changes; a None takes a claim away."""
    now = int(time.time())
    good: dict[str, object] = {
        "iss": "tidemark",
        "aud": "tidemark",
        "iat": now,
        "exp": now + 600,
        "sub": "ada",
        "tenant": str(TENANT),
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def hs256(secret: str = SECRET, **changes: object) -> str:
    return jwt.encode(claims(**changes), secret, algorithm="HS256")


def jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, key_id: str, **more: str) -> dict[str, Any]:
    """The public half as the issuer publishes it."""
    if isinstance(key, rsa.RSAPrivateKey):
        public: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    public.pop("key_ops", None)
    return {**public, "kid": key_id, **more}


def settings(**changes: Any) -> Settings:
    url = SecretStr("postgresql://nobody@127.0.0.1/none")
    return Settings(
        **{
            "http_port": 1,
            "api_database_url": url,
            "worker_database_url": url,
            "internal_public_keys": {},
            "sealing_keys": {},
            "internal_key_id": "k1",
            "internal_private_key": SecretStr("x"),
            "jwt_secret": SecretStr(SECRET),
            **changes,
        }
    )
