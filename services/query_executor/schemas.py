"""Bodies of requests and answers."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from libs.common.schedule_bodies import Schedule
from services.query_executor.domain import RESERVED_SECRET_KEYS, ConnectionType, execution_key
from services.query_executor.secret_types import BY_SLUG, SecretSettings
from services.query_executor.store.apps import TypeRow
from services.query_executor.store.executions import Execution
from services.query_executor.store.jobs import ExecutionJob
from services.query_executor.store.results import Result
from services.query_executor.store.schedules import QuerySchedule

Item = TypeVar("Item")
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"\S")]
Description = Annotated[str, Field(max_length=10_000)]
Tag = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$")]
QueryText = Annotated[str, Field(min_length=1, max_length=65_536, pattern=r"\S")]
Slug = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


def _not_reserved(key: str) -> str:
    if key in RESERVED_SECRET_KEYS:
        raise ValueError(f"must not be one of: {', '.join(sorted(RESERVED_SECRET_KEYS))}")
    return key


SecretKey = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$"), AfterValidator(_not_reserved)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Done(BaseModel):
    """What is answered where there is nothing to show."""

    status: Literal["success"]
    message: str


class One(Done, Generic[Item]):
    data: Item


class Many(One[list[Item]], Generic[Item]):
    total: int


class Failure(BaseModel):
    """Every error below /api/apps. `errors` names fields of the request."""

    status: Literal["error"]
    code: Annotated[
        str,
        Field(
            description="QueryValidationError, QueryExecutionError, SecretResolutionError, ConnectorError; NotFound,"
            " Conflict, Forbidden, Unavailable and their like for what concerns no query."
        ),
    ]
    message: str
    errors: dict[str, list[str]]
    details: dict[str, Any]


class NewApp(Body):
    name: Name
    description: Description | None = None


class AppChange(Body):
    """What is named changes; the slug stays."""

    name: Name = ""
    description: Description | None = None


class AppOut(Answer):
    id: UUID
    slug: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime


class NewSecretType(Body):
    """A type of plain keys and values, for `{{ secret.key }}`."""

    slug: Slug
    name: Name | None = None
    description: Description | None = None


class SecretTypeOut(Answer):
    slug: str
    name: str
    description: str | None
    driver: Annotated[str | None, Field(description="What opens connections with it; null for plain values.")]
    value_schema: Annotated[dict[str, Any] | None, Field(description="JSON Schema of `value`; null for plain values.")]
    created_at: datetime

    @classmethod
    def of(cls, row: TypeRow) -> "SecretTypeOut":
        known = BY_SLUG.get(row.slug)
        return cls(
            slug=row.slug,
            name=row.name,
            description=row.description,
            driver=known.engine.value if known else None,
            value_schema=known.model.model_json_schema() if known else None,
            created_at=row.created_at,
        )


Value = Annotated[
    Any,
    Field(
        description="As the type's `value_schema` says; for other types text, a number, true or false, or an object of"
        " these. It is never shown again."
    ),
]


class NewSecret(Body):
    key: SecretKey
    type_slug: Annotated[str, Field(min_length=1, max_length=63)]
    value: Value
    description: Description | None = None
    settings: SecretSettings = SecretSettings()


class SecretChange(Body):
    """What is named changes. Fields of a connection's value that are left out are kept, null removes one."""

    value: Value = None
    description: Description | None = None
    settings: SecretSettings = SecretSettings()


class SecretRotation(Body):
    """A new value, and so a new version; fields of a connection's value that are left out are kept."""

    value: Value


class SecretOut(Answer):
    id: UUID
    key: str
    type_slug: str
    description: str | None
    settings: SecretSettings
    version: Annotated[int, Field(description="Rises with each new value.")]
    created_at: datetime
    updated_at: datetime


class ColumnOut(Answer):
    name: str
    type: Annotated[str, Field(description="As the server names it.")]


class TableOut(Answer):
    schema_name: Annotated[str | None, Field(alias="schema", description="Null where the server has none.")]
    name: str
    columns: list[ColumnOut]


class SchemaPage(Many[TableOut]):
    truncated: bool


class StepOut(Answer):
    """`warning`: it works, and should be otherwise."""

    step: str
    ok: bool
    warning: bool
    detail: str
    fix: str | None


class SecretTest(Answer):
    ok: bool
    steps: list[StepOut]


class NewQuery(Body):
    name: Annotated[Name, Field(description="Human-readable query name.")]
    description: Description | None = None
    connection_type: ConnectionType = "external"
    secret_key: Annotated[
        str | None, Field(max_length=128, description="Required for external, null or omitted for internal queries.")
    ] = None
    query_text: Annotated[QueryText, Field(description="Query template (SQL or Elasticsearch DSL).")]
    tags: Annotated[list[Tag], Field(max_length=50)] = []
    parameters: Annotated[list[dict[str, Any]], Field(max_length=100)] = []


class QueryChange(Body):
    """What is named changes, the rest stays, and so does the slug."""

    name: Name = ""
    description: Description | None = None
    connection_type: ConnectionType = "external"
    secret_key: Annotated[str | None, Field(max_length=128)] = None
    query_text: QueryText = ""
    tags: Annotated[list[Tag], Field(max_length=50)] = []
    parameters: Annotated[list[dict[str, Any]], Field(max_length=100)] = []


class QueryOut(Answer):
    id: UUID
    name: str
    slug: str
    description: str | None
    connection_type: ConnectionType
    secret_key: str | None
    query_text: str
    tags: list[str]
    parameters: list[dict[str, Any]]
    version: Annotated[int, Field(description="Rises when what a server would see changes.")]
    created_at: datetime
    updated_at: datetime


class Execute(Body):
    params: Annotated[
        dict[str, Any],
        Field(description="Values of the template's parameters; those that it does not use are ignored."),
    ] = {}
    max_age: Annotated[
        float | None,
        Field(
            ge=0,
            le=86_400,
            description="Seconds. A result of the same statement, values and secret that is not older is answered"
            " again; a new one is kept for the next. Without it nothing is reused or kept. JSON only.",
        ),
    ] = None


class JobOut(BaseModel):
    """An execution that nobody waits for. `rows` and `truncated` are known once it is completed."""

    execution_key: str
    state: Literal["pending", "running", "completed", "failed", "cancelled"]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: Annotated[datetime, Field(description="Until then the result is kept.")]
    rows: int | None
    truncated: bool | None
    error: Annotated[dict[str, Any] | None, Field(description="Code, message, errors, details of a failure.")]

    @classmethod
    def of(cls, job: ExecutionJob, result: Result | None = None) -> "JobOut":
        return cls(
            execution_key=execution_key(job.id),
            state=job.state,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            expires_at=job.expires_at,
            rows=result.row_count if result else None,
            truncated=result.truncated if result else None,
            error=job.error,
        )


class JobBody(One[JobOut]):
    execution_key: str


class QueryScheduleIn(Schedule):
    """When a query runs by itself, and with what."""

    params: Annotated[dict[str, Any], Field(default_factory=dict)]


class QueryScheduleOut(BaseModel):
    cron: str
    timezone: str
    next_run_at: datetime
    last_due_at: datetime | None
    last_execution_key: Annotated[
        str | None,
        Field(description="Of the last execution that it began; its rows are for whoever wrote the schedule."),
    ]

    @classmethod
    def of(cls, row: QuerySchedule) -> "QueryScheduleOut":
        return cls(
            cron=row.cron,
            timezone=row.timezone,
            next_run_at=row.next_run_at,
            last_due_at=row.due_at,
            last_execution_key=execution_key(row.execution_id) if row.execution_id else None,
        )


class Executed(Many[dict[str, Any]]):
    """`total` is the number of rows in `data`."""

    execution_key: str
    truncated: Annotated[bool, Field(description="Whether a limit of rows or bytes cut the result.")]
    total_available: Annotated[int | None, Field(description="Rows without the limit, where the server tells.")] = None
    cached_at: Annotated[datetime | None, Field(description="Where `max_age` let an earlier result stand.")] = None


class ResultPage(Executed):
    """Some rows of a kept result; `total` is the number of all of them, `next_cursor` is null on the last page."""

    next_cursor: str | None


class ExecutionOut(BaseModel):
    """One run of a query; no parameter and no statement is kept."""

    execution_key: str
    version: Annotated[int, Field(description="Of the query, as it was then.")]
    secret_version: int | None
    executed_by: str | None
    actor_type: str
    started_at: datetime
    state: Literal["completed", "failed", "cancelled"]
    error_code: str | None
    rows: int
    truncated: bool
    milliseconds: float

    @classmethod
    def of(cls, row: Execution) -> "ExecutionOut":
        return cls(
            execution_key=execution_key(row.id),
            version=row.query_version,
            secret_version=row.secret_version,
            executed_by=row.executed_by,
            actor_type=row.actor_type,
            started_at=row.started_at,
            state=row.state,
            error_code=row.error_code,
            rows=row.row_count,
            truncated=row.truncated,
            milliseconds=row.milliseconds,
        )


class ExecutionPage(Many[ExecutionOut]):
    """The newest first. `total` counts all, `next_cursor` is null on the last page."""

    next_cursor: str | None
