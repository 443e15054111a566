"""Types of secrets: what the value of each must hold. A type that is not one of ours holds keys and values."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from services.query_executor.errors import QueryValidationError
from services.query_executor.statement import Engine

PREFIX: Final = "analytics-"
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|[0-9A-Fa-f:]+:[0-9A-Fa-f:.]+")
_INDEX: Final = re.compile(r"[a-z0-9][a-z0-9._-]*\*?(?:[a-z0-9._-]|\*)*")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]{0,4096}")
# What the client or the connection itself says.
_NOT_A_HEADER: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_DEEPEST: Final = 5


def _single_host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ValueError("must be one host name or IP address, without scheme, port, path or a second host")
    return host


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not hold control characters")
    return text


Host = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_single_host)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=4096)]


class Connection(BaseModel):
    """What a driver needs. The secrets of it show in no repr and no error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @property
    def target(self) -> tuple[str, int]:
        """Host and port that are dialled."""
        raise NotImplementedError

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not show in rows, errors and records."""
        raise NotImplementedError


class SqlConnection(Connection):
    """PostgreSQL, MySQL, Redshift."""

    host: Annotated[Host, Field(description="Database host.")]
    port: Annotated[Port, Field(description="Database port (5432 for PostgreSQL, 3306 for MySQL, 5439 for Redshift).")]
    database: Annotated[Name, Field(description="Database name.")]
    username: Annotated[Name, Field(description="Database username.")]
    password: Annotated[Password, Field(description="Database password.")]

    @property
    def target(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.password.get_secret_value(),)


class ElasticsearchConnection(Connection):
    """Elasticsearch or OpenSearch over HTTP."""

    host: Annotated[str, Field(max_length=2048, description="Elasticsearch host URL.")]
    port: Annotated[Port, Field(description="Port.")] = 9200
    index: Annotated[str, Field(min_length=1, max_length=512, description="Default index pattern.")]
    username: Annotated[Name | None, Field(description="Basic auth username.")] = None
    password: Annotated[Password | None, Field(description="Basic auth password.")] = None
    api_key: Annotated[Password | None, Field(description="API key (alternative to username/password).")] = None
    headers: Annotated[dict[str, SecretStr] | None, Field(description="Custom HTTP headers.")] = None
    max_result_rows: Annotated[int, Field(strict=True, ge=1, description="Maximum rows to return.")] = 10_000

    @field_validator("host")
    @classmethod
    def _web_address(cls, host: str) -> str:
        try:
            parts = urlsplit(host)
            usable = parts.scheme in ("http", "https") and parts.hostname and _HOST.fullmatch(parts.hostname)
            bare = parts.username is None and parts.password is None and parts.port is None
        except ValueError:
            raise ValueError("must be an http:// or https:// address") from None
        if not usable:
            raise ValueError("must be an http:// or https:// address of one host")
        if not bare or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("must not hold credentials, a port, a path or a query; the port is a field of its own")
        return host.rstrip("/")

    @field_validator("index")
    @classmethod
    def _pattern(cls, index: str) -> str:
        names = index.split(",")
        if not all(_INDEX.fullmatch(name) and name.strip("*") for name in names) or "_all" in names:
            raise ValueError(
                "must be lower-case index names or patterns such as logs-*, joined by commas; not * or _all"
            )
        return index

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, SecretStr] | None) -> dict[str, SecretStr] | None:
        for name, value in (headers or {}).items():
            if not _HEADER.fullmatch(name) or name.lower() in _NOT_A_HEADER:
                raise ValueError("holds a name that is no header, or one that is set by the connection itself")
            if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError("holds a value that is not plain text in one line")
        return headers

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.api_key is not None and self.password is not None:
            raise ValueError("api_key is the alternative to username and password; give one of them")
        return self

    @property
    def target(self) -> tuple[str, int]:
        return str(urlsplit(self.host).hostname), self.port

    @property
    def secrets(self) -> tuple[str, ...]:
        known = (self.password, self.api_key, *(self.headers or {}).values())
        return tuple(value.get_secret_value() for value in known if value is not None)


class ClickHouseConnection(SqlConnection):
    """ClickHouse over HTTP."""

    port: Annotated[Port, Field(description="Port (8443 for HTTPS).")]
    secure: Annotated[bool, Field(strict=True, description="Use HTTPS.")] = True


class SecretSettings(BaseModel):
    """How a connection may be used; not secret. `null` or absent: as the installation says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_functions: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$")], ...],
        Field(
            max_length=500, description="Functions that queries may call beside those that are known to be harmless."
        ),
    ] = ()
    max_result_rows: Annotated[int | None, Field(ge=1, description="Most rows of a result.")] = None
    timeout_seconds: Annotated[float | None, Field(ge=0.1, description="Time limit of a statement.")] = None
    ssl_mode: Annotated[
        Literal["disable", "prefer", "require", "verify-full"], Field(description="As libpq's sslmode.")
    ] = "prefer"


class SecretType(BaseModel):
    """A type that each tenant has from the beginning."""

    model_config = ConfigDict(frozen=True)

    slug: str
    name: str
    description: str
    engine: Engine
    model: type[Connection]


_TYPES: Final = (
    ("PostgreSQL", "Relational data, complex queries", Engine.POSTGRES, SqlConnection),
    ("MySQL", "Web application databases", Engine.MYSQL, SqlConnection),
    ("Redshift", "Data warehouse analytics", Engine.REDSHIFT, SqlConnection),
    ("Elasticsearch", "Log analysis, full-text search", Engine.ELASTICSEARCH, ElasticsearchConnection),
    ("ClickHouse", "Real-time analytics, time-series", Engine.CLICKHOUSE, ClickHouseConnection),
)
SEEDED: Final[tuple[SecretType, ...]] = tuple(
    SecretType(slug=PREFIX + engine.value, name=name, description=use, engine=engine, model=model)
    for name, use, engine, model in _TYPES
)
BY_SLUG: Final[Mapping[str, SecretType]] = {each.slug: each for each in SEEDED}

PlainValue: TypeAlias = str | int | float | bool | dict[str, Any]
_JSON: Final[TypeAdapter[JsonValue]] = TypeAdapter(JsonValue)


def is_connection(type_slug: str) -> bool:
    """Whether a type opens connections: its values can not be referenced in templates."""
    return type_slug.startswith(PREFIX)


def parse_value(type_slug: str, value: object) -> Connection | PlainValue:
    """A value checked by its type. Raises QueryValidationError that names `value.<field>`, never what stood there."""
    known = BY_SLUG.get(type_slug)
    if known is None:
        return _plain(value)
    try:
        return known.model.model_validate(value)
    except ValidationError as error:
        raise field_errors(error, "value") from None


def plain_json(value: object) -> Any:
    """A checked value as it is sealed."""
    if not isinstance(value, Connection):
        return value
    return value.model_dump(mode="json", exclude_none=True) | {
        name: _revealed(getattr(value, name)) for name in type(value).model_fields if _hides(getattr(value, name))
    }


def _hides(value: object) -> bool:
    return isinstance(value, SecretStr) or (isinstance(value, dict) and bool(value))


def _revealed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _revealed(inner) for name, inner in value.items()}
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def field_errors(error: ValidationError, prefix: str) -> QueryValidationError:
    """One entry a field. Messages of pydantic's types say what is wanted, not what came."""
    errors: dict[str, list[str]] = {}
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        place = ".".join([prefix, *(str(part) for part in problem["loc"])])
        errors.setdefault(place, []).append(problem["msg"].removeprefix("Value error, "))
    text = "; ".join(f"{place}: {', '.join(messages)}" for place, messages in errors.items())
    return QueryValidationError(text, errors=errors)


def _plain(value: object) -> PlainValue:
    """Text, a number, a truth value, or an object of these, objects within it too."""
    problem = _problem(value, "value", _DEEPEST)
    if problem is not None:
        place, message = problem
        raise QueryValidationError(f"{place}: {message}", errors={place: [message]})
    plain: Any = value
    return plain  # type: ignore[no-any-return]


def _problem(value: object, place: str, depth: int) -> tuple[str, str] | None:
    if isinstance(value, (str, bool, int, float)):
        return None
    if not isinstance(value, dict) or not value:
        return place, "must be text, a number, true or false, or an object of these"
    if depth == 0:
        return place, f"must not be nested more than {_DEEPEST} deep"
    for name, inner in value.items():
        if not _FIELD.fullmatch(name):
            return place, "has a field whose name is not letters, digits, _ and -"
        found = _problem(inner, f"{place}.{name}", depth - 1)
        if found is not None:
            return found
    return None
