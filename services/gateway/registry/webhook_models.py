"""Bodies of `/webhook-sources`."""

from datetime import datetime
from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, SecretStr, model_validator

from libs.common.settings import Environment
from services.gateway.ingress.mapping import SourceMapping
from services.gateway.ingress.signatures import SIGNED_OR_TOKEN, SIGNING_PREFIX, Kind, standard_key
from services.gateway.registry.models import Body, Label

_SHORTEST: Final = 16
_LONGEST: Final = 256
_KEY_BYTES: Final = 24
_ONLY_SIGNERS: Final = f"signed_only: only for the kinds {', '.join(sorted(SIGNED_OR_TOKEN))}; github always signs"


def _strong(secret: SecretStr) -> SecretStr:
    """The messages hold nothing of the secret."""
    text = secret.get_secret_value()
    if not _SHORTEST <= len(text) <= _LONGEST:
        raise ValueError(f"must have {_SHORTEST} to {_LONGEST} characters")
    if not all("!" <= character <= "~" for character in text):
        raise ValueError("may hold visible ASCII characters only, and no blanks")
    if text.startswith(SIGNING_PREFIX) and len(standard_key(text)) < _KEY_BYTES:
        raise ValueError(f"behind `{SIGNING_PREFIX}` must stand the base64 of at least {_KEY_BYTES} bytes")
    return secret


Secret = Annotated[SecretStr, AfterValidator(_strong), Field(json_schema_extra={"writeOnly": True})]
SignedOnly = Annotated[
    bool, Field(description="Refuse the secret as a plain token (gitlab, generic): take signatures only.")
]


def check_signed_only(kind: Kind, signed_only: bool | None) -> None:
    """Raises ValueError where a kind's senders cannot sign."""
    if signed_only and kind not in SIGNED_OR_TOKEN:
        raise ValueError(_ONLY_SIGNERS)


class CreateWebhookSource(Body):
    name: Label
    kind: Annotated[Kind, Field(description="What sends here; decides how a request is verified and read.")]
    environment: Annotated[Environment | None, Field(description="Default: the caller's own.")] = None
    enabled: bool = True
    signed_only: SignedOnly = False
    secret: Annotated[Secret | None, Field(description="Made where it is omitted.")] = None
    mapping: SourceMapping = SourceMapping()

    @model_validator(mode="after")
    def _can_sign(self) -> Self:
        check_signed_only(self.kind, self.signed_only)
        return self


class ChangeWebhookSource(Body):
    """What is named changes, the rest stays; `mapping` is replaced as a whole. The secret changes by `rotate`."""

    name: Label | None = None
    environment: Environment | None = None
    enabled: bool | None = None
    signed_only: bool | None = None
    mapping: SourceMapping | None = None


class RotateWebhookSecret(Body):
    secret: Annotated[Secret | None, Field(description="Made where it is omitted.")] = None
    old_secret_until: Annotated[
        AwareDatetime | None,
        Field(description="Until when the old secret is valid too; null: until it is revoked. A past time: no longer."),
    ] = None


class WebhookSourceBody(BaseModel):
    id: UUID
    name: str
    kind: Kind
    environment: Environment
    enabled: bool
    signed_only: bool
    mapping: SourceMapping
    path: Annotated[str, Field(description="Where the sender posts to, below the address of this API.")]
    old_secret_valid: Annotated[bool, Field(description="Whether the secret before the last rotation is valid too.")]
    old_secret_until: datetime | None
    version: Annotated[int, Field(description="Rises with each change.")]
    created_at: datetime
    updated_at: datetime


class NewWebhookSourceBody(WebhookSourceBody):
    secret: Annotated[str, Field(description="The secret itself. It is shown this once and cannot be read again.")]
