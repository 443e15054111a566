"""What a deleted tenant leaves to be removed: every table with a `tenant_id` but the copy of the tenants itself."""

from typing import Final

TENANT_TABLES: Final = (
    "parked_deployment",
    "deployment_state",
    "deployment",
    "component_ref",
    "component",
    "environment_ref",
    "environment",
    "audit_event",
    "erased_name",
)
