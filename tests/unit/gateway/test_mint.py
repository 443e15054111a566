"""Internal tokens are used again for a few seconds, by the very same caller alone."""

from dataclasses import replace
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.common.auth import InternalSigner, InternalVerifier, Principal
from libs.common.remembered import MOST
from libs.common.sealed import encode
from services.gateway.service import Mint

KEY = Ed25519PrivateKey.generate()
VERIFIER = InternalVerifier.of({"k1": encode(KEY.public_key().public_bytes_raw())})
ADA = Principal(uuid4(), "ada", roles=frozenset({"staff"}))


def _mint(now: list[float]) -> Mint:
    return Mint(InternalSigner("k1", KEY), lambda: now[0])


def test_a_token_is_used_again_for_ten_seconds() -> None:
    now, times = [0.0], list[bool]()
    mint = _mint(now)
    first = mint.token(ADA)
    for moment in (0.0, 9.9, 10.1):
        now[0] = moment
        times.append(mint.token(ADA) is first)
    assert times == [True, True, False]


def test_whoever_differs_in_anything_gets_another_token() -> None:
    mint = _mint([0.0])
    connector = ADA.about_connector(uuid4(), 1)
    callers = [
        ADA,
        replace(ADA, roles=frozenset()),
        replace(ADA, roles=frozenset({"staff", "superuser"})),
        replace(ADA, tenant=uuid4()),
        replace(ADA, environment="staging"),
        replace(ADA, actor_type="api_key"),
        connector,
        replace(connector, connector_version=2),
    ]
    for caller in [*callers, *callers]:
        assert VERIFIER.verify(mint.token(caller)) == caller


def test_no_more_are_kept_than_fit() -> None:
    mint = _mint([0.0])
    mint._signer = _Fake()  # type: ignore[assignment]
    for number in range(MOST + 10):
        mint.token(Principal(None, str(number)))
    assert len(mint._minted) == MOST


class _Fake:
    """Signs nothing: ten thousand signatures take a second."""

    def mint(self, principal: Principal) -> str:
        return principal.subject
