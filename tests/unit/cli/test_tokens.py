"""Development tokens."""

from uuid import uuid4

import jwt
import pytest
from pydantic import SecretStr

from cli.settings import OperatorSettings
from cli.tokens import NoSigningSecret, development_token

SECRET = "a-secret-of-more-than-thirty-two-bytes"


def test_a_token_names_what_it_was_asked_for() -> None:
    tenant = uuid4()
    settings = OperatorSettings(jwt_secret=SecretStr(SECRET))
    token = development_token(settings, tenant, ("staff",), username="ada", environment="staging")
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="tidemark", issuer="tidemark")
    assert (claims["tenant"], claims["roles"], claims["environment"]) == (str(tenant), ["staff"], "staging")


def test_without_a_tenant_the_claim_is_absent() -> None:
    token = development_token(OperatorSettings(jwt_secret=SecretStr(SECRET)), None)
    assert "tenant" not in jwt.decode(token, SECRET, algorithms=["HS256"], audience="tidemark")


def test_without_a_secret_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OperatorSettings.model_config, "env_file", None)
    monkeypatch.delenv("TIDEMARK_JWT_SECRET", raising=False)
    with pytest.raises(NoSigningSecret, match="make up"):
        development_token(OperatorSettings(), None)
