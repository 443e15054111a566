"""What a deleted tenant leaves to be removed: every table with a `tenant_id` but the copy of the tenants itself."""

from typing import Final

# Whoever refers to another stands before it.
TENANT_TABLES: Final = (
    "query_result_part",
    "query_result",
    "execution_job",
    "query_schedule",
    "query_execution",
    "analytics_query_version",
    "analytics_query",
    "secret",
    "secret_type",
    "app",
    "erased_name",
    "tenant_schema",
)
