"""The alternative: a gateway as FastAPI and httpx give it, with the same checks and the same internal token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import httpx
import jwt
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import Response

from libs.common.auth import InternalSigner, Principal
from libs.common.process import run
from services.gateway.settings import Settings


def build(settings: Settings) -> FastAPI:
    """One shared client, one route; the token is verified and another minted for each request."""
    signer = InternalSigner.of(settings.internal_key_id, settings.internal_private_key.get_secret_value())
    upstream = settings.upstreams["aggregator"]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=upstream) as client:
            app.state.client = client
            yield

    app = FastAPI(telemetry={"operation_spans": False}, lifespan=lifespan)

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/{path:path}")
    async def forward(request: Request, path: str, authorization: Annotated[str, Header()]) -> Response:
        principal = _principal(_claims(settings, authorization))
        headers = {"authorization": f"Bearer {signer.mint(principal)}"}
        answer = await app.state.client.get(f"/{path}", params=request.query_params, headers=headers)
        return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])

    return app


def _claims(settings: Settings, authorization: str) -> dict[str, Any]:
    assert settings.jwt_secret is not None
    try:
        claims: dict[str, Any] = jwt.decode(
            authorization.removeprefix("Bearer "),
            settings.jwt_secret.get_secret_value(),
            algorithms=["HS256"],
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except jwt.PyJWTError:
        raise HTTPException(401) from None
    return claims


def _principal(claims: dict[str, Any]) -> Principal:
    return Principal(UUID(claims["tenant"]), claims["sub"], roles=frozenset(claims.get("roles") or ()))


if __name__ == "__main__":
    run("naive", Settings, build)
