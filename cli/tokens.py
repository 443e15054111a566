"""Development tokens, as an identity provider would issue them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from cli.settings import OperatorSettings


class NoSigningSecret(Exception):
    """The operator's settings hold no secret to sign with."""

    def __init__(self) -> None:
        super().__init__(
            "TIDEMARK_JWT_SECRET is not set and no local stack has written .local/operator.env; run `make up`"
        )


def development_token(
    settings: OperatorSettings,
    tenant: UUID | None,
    roles: Sequence[str] = (),
    username: str = "developer",
    environment: str = "production",
    lifetime: timedelta = timedelta(hours=12),
) -> str:
    """An HS256 token. Raises NoSigningSecret."""
    if settings.jwt_secret is None:
        raise NoSigningSecret
    now = datetime.now(UTC)
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "iat": now,
        "exp": now + lifetime,
        "sub": username,
        "preferred_username": username,
        "environment": environment,
        "roles": list(roles),
        **({"tenant": str(tenant)} if tenant else {}),
    }
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm="HS256")
