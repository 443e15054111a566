"""Connector types and their settings: the one place that knows which types exist and what each needs."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

WAREHOUSE_TYPES = frozenset({"snowflake", "bigquery", "postgres"})
BI_TYPES = frozenset({"superset", "metabase", "looker", "tableau", "power_bi"})
CONNECTOR_TYPES = WAREHOUSE_TYPES | BI_TYPES

Name = Annotated[str, Field(min_length=1, max_length=253)]


class PostgresSettings(BaseModel):
    """A Postgres warehouse whose queries are mined. One connector is one database of the cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["postgres"] = "postgres"
    host: Annotated[Name, Field(description="Host name or address of the server.")]
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: Annotated[Name, Field(max_length=63, description="Database whose queries are mined.")]
    username: Annotated[Name, Field(max_length=63, description="Login role; reads the log or pg_stat_statements.")]
    password: Annotated[SecretStr, Field(description="Password of the login role.")]
    ssl_mode: Annotated[
        Literal["disable", "prefer", "require", "verify-full"], Field(description="As libpq's sslmode.")
    ] = "prefer"
    default_schemas: Annotated[
        tuple[Name, ...], Field(min_length=1, description="Search path that completes names without a schema.")
    ] = ("public",)
    mode: Annotated[
        Literal["auto", "statements", "csvlog"],
        Field(
            description="What is mined: the csvlog (exact users and times), or the counters of pg_stat_statements;"
            " `auto` takes the csvlog where it can be read and holds all statements."
        ),
    ] = "auto"
    log_reader: Annotated[
        Literal["auto", "pg_read_file", "file_fdw"],
        Field(description="How the csvlog is read: by function, or through a foreign table; `auto` probes."),
    ] = "auto"
    log_table: Annotated[str | None, Field(description="Foreign table over the csvlog (file_fdw), `schema.table`.")] = (
        None
    )
    exclude_users: Annotated[
        tuple[Name, ...], Field(description="Roles whose statements are no usage, such as monitoring.")
    ] = ()
    lookback_days: Annotated[int, Field(ge=1, le=365, description="How far the first mining reads back.")] = 30


def _base_url(url: str) -> str:
    """A web address without credentials, query and trailing slash. No message repeats it: it may hold a secret."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError("must be an http:// or https:// address") from None
    if not usable:
        raise ValueError("must be an http:// or https:// address")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("must not hold credentials, a query or a fragment")
    return url.rstrip("/")


BaseUrl = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_base_url)]


class SupersetSettings(BaseModel):
    """An Apache Superset whose charts, dashboards, saved queries and SQL Lab history are read through its API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["superset"] = "superset"
    base_url: Annotated[BaseUrl, Field(description="Where Superset answers, such as https://superset.example.com.")]
    username: Annotated[Name, Field(description="Account to log in with; it sees what is scraped.")]
    password: Annotated[SecretStr, Field(description="Password of the account.")]
    provider: Annotated[Literal["db", "ldap"], Field(description="Who knows the account.")] = "db"
    verify_tls: Annotated[bool, Field(description="Whether the server's certificate must be trusted.")] = True
    include_sql_lab: Annotated[bool, Field(description="Whether SQL Lab runs are read as executions.")] = True
    exclude_users: Annotated[
        tuple[Name, ...], Field(description="User names whose SQL Lab runs are no usage; the account's own never are.")
    ] = ()
    page_size: Annotated[int, Field(ge=1, le=100, description="Entries a request; Superset gives at most 100.")] = 100
    lookback_days: Annotated[int, Field(ge=1, le=365, description="How far the first sync reads SQL Lab back.")] = 30


# One more member per type that becomes real; the discriminator is `type`.
AnySettings = PostgresSettings | SupersetSettings
ConnectorSettings = Annotated[AnySettings, Field(discriminator="type")]
SETTINGS_MODELS: dict[str, type[PostgresSettings] | type[SupersetSettings]] = {
    "postgres": PostgresSettings,
    "superset": SupersetSettings,
}
AVAILABLE_TYPES = tuple(sorted(SETTINGS_MODELS))


def settings_context(tenant: object, connector_id: object) -> str:
    """What sealed connector settings are bound to, so that they cannot be moved to another connector."""
    return f"connector:{tenant}:{connector_id}"
