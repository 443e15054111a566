"""Settings of the gateway."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, model_validator

from libs.common.settings import ServiceSettings

Algorithm = Literal["HS256", "RS256", "ES256"]


class Settings(ServiceSettings):
    """Who may come in, where the services are, and how much may pass at once."""

    internal_key_id: Annotated[str, Field(description="Id of the key that signs internal tokens.")]
    internal_private_key: Annotated[
        SecretStr, Field(description="base64url Ed25519 private key that signs internal tokens.")
    ]
    upstreams: Annotated[dict[str, str], Field(default_factory=dict, description="JSON object of service → base URL.")]

    jwt_issuer: Annotated[str, Field(description="`iss` that a token must carry.")] = "tidemark"
    jwt_audience: Annotated[str, Field(description="`aud` that a token must carry.")] = "tidemark"
    jwt_algorithms: Annotated[
        tuple[Algorithm, ...], Field(description="JSON list of the signature algorithms that are accepted.")
    ] = ("HS256", "RS256", "ES256")
    jwt_secret: Annotated[
        SecretStr | None, Field(description="HS256 secret, at least 32 bytes; no HS256 tokens where it is unset.")
    ] = None
    jwt_jwks: Annotated[
        dict[str, Any] | None, Field(description="JSON Web Key Set of the issuer, inline (public keys).")
    ] = None
    jwt_jwks_url: Annotated[str | None, Field(description="Address of the issuer's JSON Web Key Set.")] = None
    jwt_leeway_seconds: Annotated[float, Field(ge=0, le=60, description="Clock difference to the issuer.")] = 10.0

    egress_allow: Annotated[
        tuple[str, ...],
        Field(description="JSON list of networks and host names that connectors may name although not public."),
    ] = ()
    proxy_max_body_bytes: Annotated[
        int, Field(gt=0, description="Largest body passed through to a service, else 413.")
    ] = 104_857_600
    proxy_max_in_flight: Annotated[
        int, Field(gt=0, description="Requests passed through at the same time; more are answered 503.")
    ] = 500
    proxy_connect_seconds: Annotated[float, Field(gt=0, description="Time to connect to a service, else 503.")] = 5.0
    idempotency_lease_seconds: Annotated[
        float, Field(gt=0, description="After a crash, a request under the same Idempotency-Key runs again after this.")
    ] = 60.0

    ingress_max_event_bytes: Annotated[
        int, Field(gt=0, le=900_000, description="Largest event taken by `POST /events`, else 413.")
    ] = 262_144
    ingress_max_events: Annotated[int, Field(gt=0, description="Most events of one batched request, else 413.")] = 1_000
    ingress_max_in_flight: Annotated[
        int, Field(gt=0, description="Events that wait for the broker's acknowledgement; more are answered 429.")
    ] = 10_000
    ingress_acknowledge_seconds: Annotated[
        float, Field(gt=0, le=60, description="Time for the broker to acknowledge an event from outside, else 503.")
    ] = 10.0

    webhook_max_in_flight: Annotated[
        int, Field(gt=0, description="Webhooks that are worked on at the same time; more are answered 429.")
    ] = 200
    webhook_read_seconds: Annotated[
        float, Field(gt=0, description="Time for the body of a webhook to arrive, else 408.")
    ] = 10.0

    @model_validator(mode="after")
    def _long_secret(self) -> Self:
        if self.jwt_secret is not None and len(self.jwt_secret.get_secret_value().encode()) < 32:
            raise ValueError("TIDEMARK_JWT_SECRET must be at least 32 bytes long")
        return self
