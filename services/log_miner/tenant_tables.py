"""What a deleted tenant leaves to be removed: every table with a `tenant_id` but the copy of the tenants itself."""

from typing import Final

# Whoever refers to another stands before it.
TENANT_TABLES: Final = (
    "unsent_batch",
    "unsent_record",
    "mining_job",
    "mining_cursor",
    "mining_origin",
    "schedule_run",
    "connector_schedule",
    "connector",
    "erased_name",
)
