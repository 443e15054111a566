"""Bodies of the gateway's own routes."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from libs.common.connectors import SETTINGS_MODELS, ConnectorSettings
from libs.common.events import ScheduleRef
from libs.common.schedule_bodies import Schedule
from libs.common.settings import Environment
from services.gateway.domain import available

# Control characters: Postgres takes no NUL, and no name needs the others.
Label = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Item = TypeVar("Item")
Slug = Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Role = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9_.:-]+$")]


class Body(BaseModel):
    """A misspelt field is an error, not a wish that is silently lost."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[Item]):
    """A page of a list. `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None


class CreateTenant(Body):
    name: Label
    slug: Annotated[Slug | None, Field(description="Made from the name where it is omitted.")] = None


class TenantBody(BaseModel):
    id: UUID
    name: str
    slug: str
    version: int
    created_at: datetime


Name = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]+$")]


class EraseUser(Body):
    """Exactly one of both. A person with several names is erased by a request for each."""

    username: Annotated[Name | None, Field(description="As the person logs in here.")] = None
    executed_by: Annotated[
        Name | None, Field(description="As `executed_by` of records shows it; upper and lower case differ.")
    ] = None

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.username is None) == (self.executed_by is None):
            raise ValueError("name exactly one of username and executed_by")
        return self

    @property
    def name(self) -> str:
        """Whichever was given: a name is erased wherever it stands."""
        return self.username or self.executed_by or ""


class ErasureBody(BaseModel):
    status: Annotated[Literal["accepted"], Field(description="Services forget the name within seconds.")]


class CreateApiKey(Body):
    name: Label
    environment: Annotated[Environment | None, Field(description="Default: the caller's own.")] = None
    roles: Annotated[frozenset[Role], Field(max_length=20)] = frozenset()


class ApiKeyBody(BaseModel):
    id: UUID
    name: str
    environment: Environment
    roles: list[str]
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewApiKeyBody(ApiKeyBody):
    key: Annotated[str, Field(description="The key itself. It is shown this once and cannot be read again.")]


def _of_its_type(settings: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """By the model of its type alone, so that an error names the field and not the types that there are besides."""
    if not isinstance(settings, dict):
        return validate(settings)
    return SETTINGS_MODELS[available(settings.get("type"))].model_validate(settings)


class CreateConnector(Body):
    name: Label
    settings: Annotated[ConnectorSettings, WrapValidator(_of_its_type)]
    counts_executions: Annotated[
        bool, Field(description="Off where the same executions are mined from the warehouse as well.")
    ] = True
    schedule: Annotated[Schedule | None, Field(description="Without one, jobs start by request only.")] = None


PartialSettings = Annotated[
    dict[str, Any],
    Field(description="As `GET /connectors/types` describes. A secret that is omitted, or sent as `••••`, is kept."),
]


class ReplaceConnector(Body):
    """The whole connector; omitted settings get their defaults, omitted secrets are kept."""

    name: Label
    settings: PartialSettings
    counts_executions: bool = True
    schedule: Schedule | None = None


class ChangeConnector(Body):
    """What is named changes, the rest stays. `schedule: null` takes the schedule away."""

    name: Label | None = None
    settings: PartialSettings | None = None
    counts_executions: bool | None = None
    schedule: Schedule | None = None


class ConnectorBody(BaseModel):
    id: UUID
    name: str
    type: str
    environment: Environment
    counts_executions: bool
    settings: Annotated[dict[str, Any], Field(description="Secrets are shown as `••••`.")]
    schedule: ScheduleRef | None
    version: Annotated[int, Field(description="Rises with each change.")]
    created_at: datetime
    updated_at: datetime


class ConnectorTypeBody(BaseModel):
    type: str
    kind: Literal["warehouse", "bi"]
    settings_schema: Annotated[dict[str, Any], Field(description="JSON Schema; secrets are `writeOnly`.")]


class ConnectorTypes(BaseModel):
    items: list[ConnectorTypeBody]
