"""Settings that every service reads from its environment (prefix `TIDEMARK_`)."""

import os
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

SECRETS_DIR = "TIDEMARK_SECRETS_DIR"

Environment = Literal["production", "staging"]


class TidemarkSettings(BaseSettings):
    """Settings named TIDEMARK_…, from the environment, then from the files below TIDEMARK_SECRETS_DIR."""

    # A failed start prints the error, and what was read so far holds secrets.
    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", extra="ignore", frozen=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Adds mounted secrets: one file per setting, named as its variable."""
        files = SecretsSettingsSource(settings_cls, secrets_dir=os.environ.get(SECRETS_DIR))
        return init_settings, env_settings, dotenv_settings, files


class CommonSettings(TidemarkSettings):
    """What any process of the system needs: where Kafka is, how to log, which clock."""

    mode: Annotated[
        Literal["development", "production"], Field(description="`production` refuses a shifted clock.")
    ] = "development"
    kafka: Annotated[str, Field(description="Bootstrap servers, `host:port[,host:port]`.")] = "127.0.0.1:19092"
    topic_prefix: Annotated[
        str, Field(description="Put in front of every topic and consumer group; lets installations share a broker.")
    ] = ""
    clock_offset: Annotated[float, Field(description="Seconds added to business time; refused in production mode.")] = (
        0.0
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="Least level logged.")] = (
        "INFO"
    )
    default_tenant: Annotated[
        UUID | None,
        Field(description="Tenant of messages that name none (single-tenant installations only)."),
    ] = None
    otlp_endpoint: Annotated[
        str | None, Field(description="OTLP/HTTP traces endpoint; spans are dropped where it is unset.")
    ] = None
    trace_ratio: Annotated[float, Field(ge=0, le=1, description="Share of traces sampled at their root.")] = 1.0

    @model_validator(mode="after")
    def _production_keeps_real_time(self) -> Self:
        if self.mode == "production" and self.clock_offset:
            raise ValueError("TIDEMARK_CLOCK_OFFSET must be 0 in production mode")
        return self


class ServiceSettings(CommonSettings):
    """What a service needs beside: its port, its two database logins, the keys that it trusts."""

    http_host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    http_port: Annotated[int, Field(ge=1, le=65535, description="Port to listen on.")]
    api_database_url: Annotated[
        SecretStr, Field(description="Login of the request path; row-level security binds it to one tenant.")
    ]
    worker_database_url: Annotated[
        SecretStr, Field(description="Login of consumers and jobs, which serve all tenants.")
    ]
    database_pool_size: Annotated[int, Field(ge=1, le=100, description="Connections per pool.")] = 5
    internal_public_keys: Annotated[
        dict[str, str],
        Field(description="JSON object of key id → base64url Ed25519 public key of the gateway's internal tokens."),
    ]
    sealing_keys: Annotated[
        dict[str, SecretStr],
        Field(description="JSON object of key id → base64url 256-bit key; the first one seals, all of them open."),
    ]
    shutdown_seconds: Annotated[
        float, Field(gt=0, description="Budget to finish requests and records in flight after SIGTERM.")
    ] = 10.0
    max_body_bytes: Annotated[int, Field(gt=0, description="Largest request body accepted, else 413.")] = 1_048_576
