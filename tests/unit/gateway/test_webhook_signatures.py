"""Who sent a webhook: only whoever holds a secret of the source, whatever else a request says."""

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.ingress.signatures import (
    Headers,
    Kind,
    Reason,
    Rejected,
    claim_of,
    standard_key,
    text_key,
    verify,
)
from tests.support import webhooks

NOW = 1_773_835_500
SECRET = "a-secret-of-the-source-0123456789"
KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"id": "run-4711", "übrigens": "ja"}'.encode()

Signer = Callable[[str, bytes], dict[str, str]]


def _github(secret: str, body: bytes) -> dict[str, str]:
    return webhooks.github_headers(secret, body, "deployment_status", "d-1")


def _gitlab(secret: str, body: bytes) -> dict[str, str]:
    return webhooks.standard_headers(secret, body, "m-1", NOW)


def _own(secret: str, body: bytes) -> dict[str, str]:
    return webhooks.own_headers(secret, body, NOW)


# By kind: how its sender signs, and in which header the signature stands.
SIGNERS: dict[Kind, tuple[Signer, str]] = {
    "github": (_github, "x-hub-signature-256"),
    "gitlab": (_gitlab, "webhook-signature"),
    "generic": (_own, "x-tidemark-signature"),
}
TOKENS: list[tuple[Kind, str, str]] = [
    ("gitlab", "X-Gitlab-Token", "{}"),
    ("argocd", "X-Tidemark-Token", "{}"),
    ("argocd", "Authorization", "Bearer {}"),
    ("devlake", "X-Tidemark-Token", "{}"),
    ("devlake", "Authorization", "bearer {}"),
    ("generic", "Authorization", "Bearer {}"),
]
signed_kinds = pytest.mark.parametrize("kind", SIGNERS)
kinds = st.sampled_from(sorted(SIGNERS))


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def outcome(
    kind: Kind,
    headers: list[tuple[bytes, bytes]],
    body: bytes = BODY,
    secrets: tuple[str, ...] = (SECRET,),
    now: float = NOW,
    signed_only: bool = False,
) -> Reason | None:
    """Why a request is refused; None where it is taken."""
    try:
        verify(claim_of(kind, Headers(headers), now, signed_only=signed_only), body, secrets)
    except Rejected as rejected:
        return rejected.reason
    return None


def signed(kind: Kind, secret: str = SECRET, body: bytes = BODY, **changes: str) -> list[tuple[bytes, bytes]]:
    written = {name.lower(): value for name, value in SIGNERS[kind][0](secret, body).items()}
    return raw(written | {name.replace("_", "-"): value for name, value in changes.items()})


# --- what is taken


@signed_kinds
@pytest.mark.parametrize("secret", [SECRET, KEY, "ein Geheimnis über sechzehn Zeichen", "x"])
def test_the_secret_opens(kind: Kind, secret: str) -> None:
    """As a text, but for Standard Webhooks, which writes keys in base64."""
    assert outcome(kind, signed(kind, secret), secrets=(secret,)) is None


@pytest.mark.parametrize(("kind", "header", "form"), TOKENS)
def test_the_token_opens(kind: Kind, header: str, form: str) -> None:
    assert outcome(kind, raw({header: form.format(SECRET)})) is None
    assert outcome(kind, raw({header: form.format("Bearer " + SECRET)})) == "wrong_signature"
    assert (
        outcome(kind, raw({header: form.format(SECRET)}), secrets=("another-secret-of-the-source",))
        == "wrong_signature"
    )


@signed_kinds
def test_during_a_rotation_both_secrets_open_and_no_third(kind: Kind) -> None:
    both = ("the-new-secret-0123456789", "the-old-secret-0123456789")
    for secret, expected in ((both[0], None), (both[1], None), (SECRET, "wrong_signature")):
        assert outcome(kind, signed(kind, secret), secrets=both) == expected


def test_the_published_vectors() -> None:
    """GitHub's documentation, and the example of the Standard Webhooks specification."""
    headers = raw({"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"})
    assert outcome("github", headers, b"Hello, World!", ("It's a Secret to Everybody",)) is None
    example = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert outcome("gitlab", raw(example), b'{"test": 2432232314}', (secret,), now=1614265330) is None


# --- what is not


@given(kinds, st.data())
def test_any_flipped_bit_is_refused(kind: Kind, data: st.DataObject) -> None:
    """Of the body, of the signature, and of what else is signed."""
    headers = signed(kind)
    parts = ["body", *(name for name, _ in headers if name in _SIGNED[kind])]
    part = data.draw(st.sampled_from(parts))
    if part == "body":
        assert outcome(kind, headers, _flipped(BODY, data)) == "wrong_signature"
        return
    changed = [(name, _flipped(value, data) if name == part else value) for name, value in headers]
    assert outcome(kind, changed) is not None


_SIGNED: dict[Kind, set[bytes]] = {
    "github": {b"x-hub-signature-256"},
    "gitlab": {b"webhook-signature", b"webhook-id", b"webhook-timestamp"},
    "generic": {b"x-tidemark-signature"},
}


def _flipped(value: bytes, data: st.DataObject) -> bytes:
    at = data.draw(st.integers(0, len(value) * 8 - 1))
    changed = bytearray(value)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


@given(kinds, st.data())
def test_a_part_of_a_signature_is_refused(kind: Kind, data: st.DataObject) -> None:
    """The bare prefix too."""
    name = SIGNERS[kind][1].encode()
    whole = dict(signed(kind))[name]
    part = data.draw(st.one_of(st.integers(0, len(whole) - 1).map(lambda n: whole[:n]), st.binary(max_size=80)))
    changed = [(each, part if each == name else value) for each, value in signed(kind)]
    assert outcome(kind, changed) is not None


@given(st.sampled_from(TOKENS), st.text(max_size=60))
def test_only_the_whole_token_opens(token: tuple[Kind, str, str], text: str) -> None:
    kind, header, form = token
    for given_token in (text, SECRET[:-1], SECRET + "x", SECRET[1:], SECRET.upper(), ""):
        if given_token.strip() != SECRET:
            assert outcome(kind, raw({header: form.format(given_token)})) in ("wrong_signature", "missing_signature")


@signed_kinds
@pytest.mark.parametrize("secrets", [(), ("",), ("", "")])
def test_no_secret_opens_nothing(kind: Kind, secrets: tuple[str, ...]) -> None:
    """Neither to a signature under the empty key, nor to an empty token."""
    assert outcome(kind, signed(kind, ""), secrets=secrets) == "wrong_signature"
    assert outcome("argocd", raw({"X-Tidemark-Token": ""}), secrets=secrets) == "missing_signature"
    assert outcome("argocd", raw({"X-Tidemark-Token": "x"}), secrets=secrets) == "wrong_signature"


def test_a_key_that_is_none_opens_nothing() -> None:
    assert [standard_key(each) for each in ("whsec_", "whsec_%%%", "plain")] == [b"", b"", b"plain"]
    assert text_key("whsec_") == b"whsec_"
    empty = base64.b64encode(hmac.new(b"", f"m-1.{NOW}.".encode() + BODY, hashlib.sha256).digest()).decode()
    assert (
        outcome("gitlab", signed("gitlab", webhook_signature=f"v1,{empty}"), secrets=("whsec_",)) == "wrong_signature"
    )


def test_sha1_alone_is_refused_and_says_why() -> None:
    sha1 = {"X-Hub-Signature": webhooks.github_headers(SECRET, BODY, "push", "1")["X-Hub-Signature"]}
    with pytest.raises(Rejected, match="SHA-1") as caught:
        claim_of("github", Headers(raw(sha1)), NOW)
    assert (caught.value.status, caught.value.reason) == (401, "sha1_only")
    in_disguise = {"X-Hub-Signature-256": sha1["X-Hub-Signature"]}
    assert outcome("github", raw(in_disguise)) == "malformed_signature"


@pytest.mark.parametrize("kind", ["github", "gitlab", "argocd", "devlake", "generic"])
def test_without_a_signature_nothing_is_taken(kind: Kind) -> None:
    assert (
        outcome(kind, raw({"Content-Type": "application/json", "Authorization": "Basic eDp5"})) == "missing_signature"
    )


def test_the_kind_decides_and_no_header() -> None:
    """Another vendor's form is none, however right it is."""
    everything = raw(_github(SECRET, BODY) | {"User-Agent": "GitHub-Hookshot/1", "X-GitHub-Event": "push"})
    for kind in ("gitlab", "argocd", "devlake", "generic"):
        assert outcome(kind, everything) == "missing_signature"
    assert (
        outcome("github", raw({"X-Gitlab-Token": SECRET, "Authorization": f"Bearer {SECRET}"})) == "missing_signature"
    )
    assert outcome("argocd", signed("generic")) == "missing_signature"


@pytest.mark.parametrize(("kind", "header"), [("gitlab", "X-Gitlab-Token"), ("generic", "Authorization")])
def test_a_wrong_signature_is_not_helped_by_a_right_token(kind: Kind, header: str) -> None:
    token = raw({header: SECRET if kind == "gitlab" else f"Bearer {SECRET}"})
    assert outcome(kind, token) is None
    assert outcome(kind, [*signed(kind, "another"), *token]) == "wrong_signature"
    assert outcome(kind, token, signed_only=True) == "token_not_enough"
    assert outcome(kind, signed(kind), signed_only=True) is None


@signed_kinds
def test_a_repeated_header_is_refused(kind: Kind) -> None:
    name = SIGNERS[kind][1].encode()
    headers = signed(kind)
    assert outcome(kind, [*headers, (name, dict(headers)[name])]) == "malformed_signature"


# --- several signatures


def test_one_of_several_signatures_must_fit() -> None:
    right = dict(signed("gitlab"))[b"webhook-signature"].decode()
    wrong = "v1," + base64.b64encode(bytes(32)).decode()
    for header, expected in (
        (f"{wrong} {right}", None),
        (f"{right} {wrong}", None),
        (f"v1a,{'A' * 86}== {right}", None),
        (wrong, "wrong_signature"),
        (right.replace("v1,", "v2,"), "malformed_signature"),
        (right.replace("v1,", ""), "malformed_signature"),
        (" ".join([wrong] * 10 + [right]), "malformed_signature"),
    ):
        assert outcome("gitlab", signed("gitlab", webhook_signature=header)) == expected, header
    own = dict(signed("generic"))[b"x-tidemark-signature"].decode()
    for header, expected in (
        (own.replace(",v1", f",v1={'0' * 64},v1"), None),
        (f"{own},v1={'0' * 64}", None),
        (f"{own},v2=later", None),
        (f"{own},t={NOW}", "malformed_signature"),
        (own.upper(), "malformed_signature"),
    ):
        assert outcome("generic", signed("generic", x_tidemark_signature=header)) == expected, header


# --- age


@pytest.mark.parametrize("kind", ["gitlab", "generic"])
@given(apart=st.integers(-100_000, 100_000))
def test_signed_long_ago_or_ahead_is_refused(kind: Kind, apart: int) -> None:
    expected = None if abs(apart) <= 300 else "stale_signature"
    assert outcome(kind, signed(kind), now=NOW + apart) == expected


@pytest.mark.parametrize("written", ["", "soon", "-1", f"{NOW}.0", f" {NOW}", "٣", "9" * 13, "1e9"])
def test_a_time_that_is_none_is_refused(written: str) -> None:
    assert outcome("gitlab", signed("gitlab", webhook_timestamp=written)) == "malformed_signature"
    header = dict(signed("generic"))[b"x-tidemark-signature"].decode().replace(str(NOW), written)
    assert outcome("generic", signed("generic", x_tidemark_signature=header)) == "malformed_signature"


def test_what_is_signed_cannot_be_cut_otherwise() -> None:
    """`a.b` + time + body is also `a` + `b` + …: an id with a dot is refused."""
    assert outcome("gitlab", raw(webhooks.standard_headers(SECRET, BODY, f"m.{NOW}", NOW))) == "malformed_signature"
    assert outcome("gitlab", raw(webhooks.standard_headers(SECRET, BODY, "", NOW))) == "malformed_signature"


# --- in constant time


@pytest.mark.parametrize("kind", ["github", "gitlab", "generic", "argocd"])
def test_every_secret_is_compared_by_the_timing_safe_function(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of a rotation, although the first one fits already."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def counting(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    headers = signed(kind) if kind in SIGNERS else raw({"X-Tidemark-Token": SECRET})
    for secrets in ((SECRET, "another-secret"), ("another-secret", SECRET), ("another-secret", "a-third-secret")):
        compared.clear()
        outcome(kind, headers, secrets=secrets)
        assert len(compared) == 2
        assert all(left == right for left, right in compared), "lengths differ: the comparison would stop early"


def test_nothing_shows_a_secret() -> None:
    claim = claim_of("argocd", Headers(raw({"X-Tidemark-Token": SECRET})), NOW)
    assert SECRET not in repr(claim)
    with pytest.raises(Rejected) as caught:
        verify(claim, BODY, ("another-secret",))
    assert SECRET not in f"{caught.value!r} {caught.value.detail} {caught.value.extra}"
