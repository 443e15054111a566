"""What a deleted tenant leaves to be removed: every table with a `tenant_id` but the copy of the tenants itself."""

from typing import Final

TENANT_TABLES: Final = (
    "sync_job",
    "sync_cursor",
    "sync_origin",
    "schedule_run",
    "connector_schedule",
    "connector",
    "erased_name",
)
