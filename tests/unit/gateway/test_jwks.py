"""Key sets rotate; the issuer is asked neither too often nor given up when it is away."""

from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from services.gateway.jwks import FRESH_SECONDS, KeySet, usable_keys
from tests.unit.gateway.tokens import EC_KEY, RSA_KEY, jwk


class Issuer:
    """Publishes keys, or is away."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys: list[dict[str, Any]] | None = list(keys)
        self.asked = 0
        self.now = 1000.0

    async def fetch(self) -> Mapping[str, Any]:
        self.asked += 1
        if self.keys is None:
            raise TimeoutError
        return {"keys": self.keys}

    def key_set(self) -> KeySet:
        return KeySet(fetch=self.fetch, monotonic=lambda: self.now)


async def test_keys_are_fetched_once_while_they_are_fresh() -> None:
    issuer = Issuer(jwk(RSA_KEY, "r1"))
    keys = issuer.key_set()
    for _ in range(3):
        assert await keys.key("r1", "RS256") is not None
    assert issuer.asked == 1
    issuer.now += FRESH_SECONDS
    await keys.key("r1", "RS256")
    assert issuer.asked == 2


async def test_a_new_key_is_found_and_a_withdrawn_one_forgotten() -> None:
    issuer = Issuer(jwk(RSA_KEY, "r1"))
    keys = issuer.key_set()
    assert await keys.key("r1", "RS256") is not None
    issuer.keys = [jwk(RSA_KEY, "r2")]
    issuer.now += 31
    assert await keys.key("r2", "RS256") is not None
    assert await keys.key("r1", "RS256") is None


async def test_unknown_key_ids_do_not_make_us_ask_all_the_time() -> None:
    issuer = Issuer(jwk(RSA_KEY, "r1"))
    keys = issuer.key_set()
    for number in range(50):
        assert await keys.key(f"made-up-{number}", "RS256") is None
    assert issuer.asked == 1


async def test_old_keys_stay_while_the_issuer_is_away() -> None:
    issuer = Issuer(jwk(RSA_KEY, "r1"))
    keys = issuer.key_set()
    await keys.key("r1", "RS256")
    issuer.keys, issuer.now = None, issuer.now + FRESH_SECONDS
    assert await keys.key("r1", "RS256") is not None
    assert issuer.asked == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s"},
        {"kty": "RSA", "kid": "broken"},
        jwk(RSA_KEY, "enc", use="enc"),
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "o"},
        {},
    ],
)
def test_keys_that_cannot_serve_are_left_out_and_the_others_stay(bad: dict[str, Any]) -> None:
    assert [key.key_id for key in usable_keys({"keys": [bad, jwk(EC_KEY, "e1")]})] == ["e1"]


async def test_a_key_serves_its_own_algorithm_only() -> None:
    p384 = jwk(ec.generate_private_key(ec.SECP384R1()), "p384")
    keys = KeySet({"keys": [jwk(RSA_KEY, "r1"), jwk(RSA_KEY, "rs512", alg="RS512"), jwk(EC_KEY, "e1"), p384]})
    assert await keys.key("r1", "ES256") is None
    assert await keys.key("e1", "RS256") is None
    assert await keys.key("p384", "ES256") is None
    assert await keys.key("rs512", "RS256") is None
    assert await keys.key("e1", "ES256") is not None


async def test_two_keys_need_a_name() -> None:
    keys = KeySet({"keys": [jwk(RSA_KEY, "r1"), jwk(RSA_KEY, "r2")]})
    assert await keys.key(None, "RS256") is None
    assert await keys.key("r2", "RS256") is not None
