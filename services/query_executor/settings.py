"""Settings of query_executor."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    """What query_executor reads beyond every service's settings."""

    egress_allow: Annotated[
        tuple[str, ...],
        Field(description="JSON list of networks and host names that secrets may name although not public."),
    ] = ()
    query_rows: Annotated[int, Field(ge=1, description="Most rows of a result, where its secret says nothing.")] = (
        10_000
    )
    query_rows_ceiling: Annotated[int, Field(ge=1, description="Most rows that a secret may allow.")] = 1_000_000
    query_bytes: Annotated[int, Field(ge=1, description="Most bytes of a result's rows as JSON.")] = 50 * 1024 * 1024
    query_seconds: Annotated[
        float, Field(gt=0, description="Time limit of a statement, where its secret says nothing.")
    ] = 30.0
    query_seconds_ceiling: Annotated[float, Field(gt=0, description="Longest time that a secret may allow.")] = 300.0
    connections_per_secret: Annotated[
        int, Field(ge=1, le=100, description="Connections of one process to the server of one secret.")
    ] = 10
    idle_connection_seconds: Annotated[
        float, Field(gt=0, description="A connection that is unused for this long is closed.")
    ] = 60.0
    pooled_secrets: Annotated[
        int, Field(ge=1, description="Secrets whose connections one process keeps; the longest unused are closed.")
    ] = 200
    internal_connections: Annotated[
        int, Field(ge=2, le=200, description="Connections of one process to tenants' own schemas; two for a tenant.")
    ] = 20
    result_lifetime: Annotated[
        timedelta, Field(description="Results of executions that nobody waits for, and those of `max_age`, are kept.")
    ] = timedelta(days=1)
    job_lease: Annotated[
        timedelta, Field(description="A worker that is silent for this long loses its job to another one.")
    ] = timedelta(seconds=15)
    job_concurrency: Annotated[
        int, Field(ge=2, le=50, description="Executions without a waiting client that one process runs at a time.")
    ] = 4
