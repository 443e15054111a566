"""Tokens from outside: each way to forge one is refused, each good one gives its principal."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from libs.common.auth import Principal
from services.gateway.identity import Identity, KeyVerifier, NotAuthenticated, TokenVerifier
from services.gateway.jwks import KeySet
from tests.unit.gateway.tokens import EC_KEY, RSA_KEY, TENANT, claims, hs256, jwk, settings

JWKS = {"keys": [jwk(RSA_KEY, "r1"), jwk(EC_KEY, "e1")]}
BOTH = TokenVerifier(settings(), KeySet(JWKS))


async def _principal(token: str, verifier: TokenVerifier = BOTH) -> Principal:
    return (await verifier.verify(token))[0]


@pytest.mark.parametrize(
    "token",
    [
        hs256(),
        jwt.encode(claims(), RSA_KEY, algorithm="RS256", headers={"kid": "r1"}),
        jwt.encode(claims(), EC_KEY, algorithm="ES256", headers={"kid": "e1"}),
        jwt.encode(claims(), RSA_KEY, algorithm="RS256"),
    ],
    ids=["HS256", "RS256", "ES256", "the only RSA key"],
)
async def test_good_tokens(token: str) -> None:
    assert await _principal(token) == Principal(TENANT, "ada")


async def test_all_claims_are_read() -> None:
    token = hs256(
        environment="staging",
        preferred_username="ada.l",
        email="a@b.c",
        given_name="Ada",
        family_name="L",
        roles=["staff", "superuser"],
    )
    wanted = Principal(
        TENANT, "ada", "staging", "user", "ada.l", "a@b.c", "Ada", "L", frozenset({"staff", "superuser"})
    )
    assert await _principal(token) == wanted


async def test_a_superuser_may_name_no_tenant() -> None:
    assert (await _principal(hs256(tenant=None))).tenant is None


def _unsigned() -> str:
    head, body = ({"alg": "none", "typ": "JWT"}, claims())
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, body)]
    return ".".join([*parts, ""])


def _confused(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, key_id: str, encoding: Encoding) -> str:
    """The public key taken for an HS256 secret; signed by hand, since the library refuses to."""
    form = PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(encoding, form)
    head = {"alg": "HS256", "typ": "JWT", "kid": key_id}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims())]
    signed = b".".join(parts)
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed, public)
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


FORGED = {
    "alg none": _unsigned(),
    "another secret": hs256("another-secret-of-at-least-32-bytes!!"),
    "public RSA key as secret": _confused(RSA_KEY, "r1", Encoding.PEM),
    "public EC key as secret": _confused(EC_KEY, "e1", Encoding.DER),
    "another RSA key": jwt.encode(
        claims(), rsa.generate_private_key(65537, 2048), algorithm="RS256", headers={"kid": "r1"}
    ),
    "unknown key id": jwt.encode(claims(), RSA_KEY, algorithm="RS256", headers={"kid": "r2"}),
    "EC key id with RS256": jwt.encode(claims(), RSA_KEY, algorithm="RS256", headers={"kid": "e1"}),
    "algorithm that is not pinned": jwt.encode(claims(), RSA_KEY, algorithm="PS256", headers={"kid": "r1"}),
    "HS512": jwt.encode(claims(), "x" * 64, algorithm="HS512"),
    "expired": hs256(exp=int(time.time()) - 30),
    "not yet": hs256(nbf=int(time.time()) + 86_400),
    "another issuer": hs256(iss="somebody"),
    "another audience": hs256(aud="tidemark-services"),
    "no expiry": hs256(exp=None),
    "no subject": hs256(sub=None),
    "no issuer": hs256(iss=None),
    "no audience": hs256(aud=None),
    "tenant that is no id": hs256(tenant="shop"),
    "tenant that is a number": hs256(tenant=7),
    "environment": hs256(environment="testing"),
    "roles as text": hs256(roles="superuser"),
    "roles as numbers": hs256(roles=[1]),
    "no token": "abc",
    "empty parts": "..",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
async def test_forged_and_malformed_tokens_are_refused(token: str) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        await _principal(token)
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer")


async def test_an_algorithm_without_key_is_refused() -> None:
    only_keys = TokenVerifier(settings(jwt_secret=None), KeySet(JWKS))
    only_secret = TokenVerifier(settings(), KeySet())
    narrowed = TokenVerifier(settings(jwt_algorithms=("ES256",)), KeySet(JWKS))
    rs256 = jwt.encode(claims(), RSA_KEY, algorithm="RS256", headers={"kid": "r1"})
    for verifier, token in ((only_keys, hs256()), (only_secret, rs256), (narrowed, rs256), (narrowed, hs256())):
        with pytest.raises(NotAuthenticated):
            await _principal(token, verifier)


async def test_the_clock_of_the_issuer_may_differ_a_little() -> None:
    assert await _principal(hs256(exp=int(time.time()) - 5)) == Principal(TENANT, "ada")


def test_a_short_secret_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="32 bytes") as refused:
        settings(jwt_secret="short-canary")
    assert "canary" not in str(refused.value)


@dataclass
class Counting:
    """A verifier that counts, in place of a real one."""

    times: int = 0
    seconds: float = 600

    async def verify(self, token: str) -> tuple[Principal, float]:
        self.times += 1
        if token == "bad":
            raise NotAuthenticated("No.")
        return Principal(TENANT, token), time.time() + self.seconds


def _identity(tokens: Any, now: list[float]) -> Identity:
    return Identity(tokens, cast(KeyVerifier, None), monotonic=lambda: now[0])


async def test_a_verified_token_is_believed_for_a_minute() -> None:
    counting, now = Counting(), [0.0]
    identity = _identity(counting, now)
    for moment, times in ((0, 1), (59, 1), (61, 2)):
        now[0] = moment
        assert (await identity.principal("Bearer t")).subject == "t"
        assert counting.times == times


async def test_it_is_believed_no_longer_than_it_lives() -> None:
    counting, now = Counting(seconds=5), [0.0]
    identity = _identity(counting, now)
    await identity.principal("Bearer t")
    now[0] = 6
    await identity.principal("Bearer t")
    assert counting.times == 2


async def test_a_refused_token_is_never_believed_and_tokens_do_not_mix() -> None:
    counting, now = Counting(), [0.0]
    identity = _identity(counting, now)
    await identity.principal("Bearer a")
    for _ in range(2):
        with pytest.raises(NotAuthenticated):
            await identity.principal("Bearer bad")
    assert (await identity.principal("bearer  a")).subject == "a"
    assert (await identity.principal("Bearer b")).subject == "b"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "tmk_x"])
async def test_without_bearer_nobody_is_known(header: str | None) -> None:
    with pytest.raises(NotAuthenticated, match="Authorization: Bearer"):
        await _identity(Counting(), [0.0]).principal(header)
