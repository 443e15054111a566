"""Connector types and their settings: the one place that knows which types exist and what each needs."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

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


# One more member per type that becomes real; the discriminator is `type`.
ConnectorSettings = Annotated[PostgresSettings, Field(discriminator=None)]
SETTINGS_MODELS: dict[str, type[PostgresSettings]] = {"postgres": PostgresSettings}
AVAILABLE_TYPES = tuple(sorted(SETTINGS_MODELS))


def settings_context(tenant: object, connector_id: object) -> str:
    """What sealed connector settings are bound to, so that they cannot be moved to another connector."""
    return f"connector:{tenant}:{connector_id}"
