"""What a deleted tenant leaves to be removed: every table with a `tenant_id` but the copy of the tenants itself."""

from typing import Final

# Whoever refers to another stands before it. Marks and statistics go first: no refresh begins any more.
TENANT_TABLES: Final = (
    "usage_mark",
    "usage_dirty",
    "usage_refresh",
    "product_usage_stats",
    "product_user",
    "product_column",
    "product_chart",
    "product_pattern",
    "product_state",
    "usage_window",
    "product_table_key",
    "product_table",
    "data_product",
    "space",
    "query_log",
    "bi_reference",
    "pattern_column",
    "pattern_table_key",
    "pattern_table",
    "sql_pattern",
    "sync_ledger",
    "reference_sync",
    "connector",
    "erased_name",
)
