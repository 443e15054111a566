"""The internal token: what goes in comes out, and nobody else can make one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.common.auth import AUDIENCE, ISSUER, InternalSigner, InternalVerifier, Principal
from libs.common.errors import Forbidden, Unauthorized
from libs.common.remembered import Remembered
from libs.common.sealed import encode

KEY = Ed25519PrivateKey.generate()
PUBLIC = encode(KEY.public_key().public_bytes_raw())
SIGNER = InternalSigner.of("k1", encode(KEY.private_bytes_raw()))
VERIFIER = InternalVerifier.of({"k1": PUBLIC})
FULL = Principal(
    tenant=uuid4(),
    subject="ada",
    environment="staging",
    username="ada",
    email="ada@example.com",
    given_name="Ada",
    family_name="Lovelace",
    roles=frozenset({"staff", "superuser"}),
    connector_id=uuid4(),
    connector_version=7,
)


@pytest.mark.parametrize(
    "principal", [FULL, Principal(None, "root"), replace(FULL, actor_type="api_key", roles=frozenset())]
)
def test_a_principal_survives_the_way_inward(principal: Principal) -> None:
    assert VERIFIER.verify(SIGNER.mint(principal)) == principal


AT = datetime.now(UTC).replace(microsecond=0)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The clock of the library that checks the claims stands so long behind `AT`."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls.fromtimestamp(AT.timestamp() + seconds, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Clock)


def test_a_token_lives_sixty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    token = replace(SIGNER, now=lambda: AT).mint(FULL)
    later(monkeypatch, 59)
    assert replace(VERIFIER, _verified=Remembered[str, Principal]()).verify(token) == FULL
    later(monkeypatch, 61)
    with pytest.raises(Unauthorized):
        replace(VERIFIER, _verified=Remembered[str, Principal]()).verify(token)


def _claims(**changes: object) -> dict[str, object]:
    now = datetime.now(UTC)
    known = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + timedelta(seconds=60),
        "sub": "x",
        "environment": "production",
        "actor_type": "user",
    }
    return {name: value for name, value in (known | changes).items() if value is not None}


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "iat", "sub"])
def test_a_token_without_its_claims_is_refused(claim: str) -> None:
    token = jwt.encode(_claims(**{claim: None}), KEY, algorithm="EdDSA", headers={"kid": "k1"})
    with pytest.raises(Unauthorized):
        VERIFIER.verify(token)


@pytest.mark.parametrize("changes", [{"iss": "somebody"}, {"aud": "tidemark"}])
def test_a_token_for_somebody_else_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Unauthorized):
        VERIFIER.verify(jwt.encode(_claims(**changes), KEY, algorithm="EdDSA", headers={"kid": "k1"}))


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_only_the_gateway_s_own_signature_counts() -> None:
    stranger = jwt.encode(_claims(), Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "k1"})
    unsigned = jwt.encode(_claims(), "", algorithm="none", headers={"kid": "k1"})
    confused = jwt.encode(_claims(), PUBLIC, algorithm="HS256", headers={"kid": "k1"})
    unknown = jwt.encode(_claims(), KEY, algorithm="EdDSA", headers={"kid": "k2"})
    nameless = jwt.encode(_claims(), KEY, algorithm="EdDSA")
    for token in (stranger, unsigned, confused, unknown, nameless, "", "a.b.c", "x"):
        with pytest.raises(Unauthorized):
            VERIFIER.verify(token)


def test_keys_rotate() -> None:
    new = Ed25519PrivateKey.generate()
    both = InternalVerifier.of({"k2": encode(new.public_key().public_bytes_raw()), "k1": PUBLIC})
    assert both.verify(SIGNER.mint(FULL)) == FULL
    assert both.verify(InternalSigner("k2", new).mint(FULL)) == FULL


def test_a_remembered_token_is_refused_when_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [0.0]
    remembered = Remembered[str, Principal](lambda: passed[0])
    verifier = replace(VERIFIER, now=lambda: AT + timedelta(seconds=59), _verified=remembered)
    old = replace(SIGNER, now=lambda: AT).mint(FULL)
    later(monkeypatch, 59)
    assert verifier.verify(old) == FULL
    passed[0] = 1.5
    later(monkeypatch, 60.5)
    with pytest.raises(Unauthorized):
        verifier.verify(old)


def test_a_remembered_token_is_no_longer_good_where_its_key_was_taken_away() -> None:
    token = SIGNER.mint(FULL)
    assert VERIFIER.verify(token) == FULL
    with pytest.raises(Unauthorized):
        InternalVerifier.of({"k2": PUBLIC}).verify(token)


def test_a_refused_token_is_not_remembered_and_remembered_ones_do_not_mix() -> None:
    verifier = InternalVerifier.of({"k1": PUBLIC})
    staff, other = SIGNER.mint(FULL), SIGNER.mint(replace(FULL, roles=frozenset()))
    for _ in range(2):
        assert verifier.verify(staff).roles == FULL.roles
        assert verifier.verify(other).roles == frozenset()
        with pytest.raises(Unauthorized):
            verifier.verify(staff[:-4] + "AAAA")
    assert len(verifier._verified) == 2
    assert staff not in repr(verifier)


def test_a_superuser_without_tenant_cannot_act_in_one() -> None:
    with pytest.raises(Forbidden, match="tenant"):
        Principal(None, "root", roles=frozenset({"superuser"})).require_tenant()
