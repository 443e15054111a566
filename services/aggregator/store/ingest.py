"""Storing a batch: COPY into staging tables of the session, then one set-based statement per target, by key."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from libs.common.db import Connection
from services.aggregator.rows import (
    Batch,
    StagedColumn,
    StagedPattern,
    StagedRecord,
    StagedTable,
    StagedTableKey,
)

# COPY into a table with row-level security is refused, hence temporary tables; they empty themselves at commit.
_STAGING = """
CREATE TEMP TABLE IF NOT EXISTS stage_record (
    tenant_id uuid, id uuid, connector_id uuid, environment text, resource_type text, resource_id text,
    chart_key uuid, title text, pattern_id uuid, executed_by text, executed_at timestamptz, execution_count bigint,
    dashboard_id text, dashboard_title text, dashboard_url text, sync_seq bigint, job_seq bigint, said_at timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS stage_pattern (
    tenant_id uuid, id uuid, connector_id uuid, dialect text, sql_text text, text_key uuid, truncated boolean
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS stage_table (
    tenant_id uuid, pattern_id uuid, table_key uuid, connector_id uuid, last_part text, display text
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS stage_table_key (
    tenant_id uuid, match_key uuid, pattern_id uuid, table_key uuid, connector_id uuid
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS stage_column (
    tenant_id uuid, pattern_id uuid, table_key uuid, column_name text
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS stage_touched (tenant_id uuid, pattern_id uuid) ON COMMIT DELETE ROWS;
"""


async def open_staging(connection: Connection) -> None:
    """Make the session's staging tables; they stay for its next batches."""
    await connection.execute(_STAGING)


async def _copy(connection: Connection, table: str, kind: type[NamedTuple], rows: Iterable[tuple[object, ...]]) -> None:
    columns: Sequence[str] = kind._fields
    await connection.copy_records_to_table(table, records=rows, columns=columns, schema_name="pg_temp")


async def stage(connection: Connection, batch: Batch) -> None:
    """Copy a batch into the staging tables."""
    patterns = batch.patterns.values()
    await _copy(connection, "stage_record", StagedRecord, batch.records.values())
    await _copy(connection, "stage_pattern", StagedPattern, (pattern.row for pattern in patterns))
    await _copy(connection, "stage_table", StagedTable, (row for pattern in patterns for row in pattern.tables))
    await _copy(connection, "stage_table_key", StagedTableKey, (row for pattern in patterns for row in pattern.keys))
    await _copy(connection, "stage_column", StagedColumn, (row for pattern in patterns for row in pattern.columns))


async def insert_patterns(connection: Connection, now: datetime) -> None:
    """Patterns never seen before. A known one stays: its id is made of its text and tables."""
    await connection.execute(
        """INSERT INTO sql_pattern (tenant_id, id, connector_id, dialect, sql_text, text_key, truncated, created_at)
           SELECT tenant_id, id, connector_id, dialect, sql_text, text_key, truncated, $1
           FROM stage_pattern ORDER BY tenant_id, id
           ON CONFLICT DO NOTHING""",
        now,
    )


async def insert_pattern_tables(connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO pattern_table (tenant_id, pattern_id, table_key, connector_id, last_part, display)
           SELECT tenant_id, pattern_id, table_key, connector_id, last_part, display
           FROM stage_table ORDER BY tenant_id, pattern_id, table_key
           ON CONFLICT DO NOTHING"""
    )


async def insert_pattern_table_keys(connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO pattern_table_key (tenant_id, match_key, pattern_id, table_key, connector_id)
           SELECT tenant_id, match_key, pattern_id, table_key, connector_id
           FROM stage_table_key ORDER BY tenant_id, match_key, pattern_id, table_key
           ON CONFLICT DO NOTHING"""
    )


async def insert_pattern_columns(connection: Connection) -> None:
    """Columns of a pattern add up, whoever found them: the result does not depend on who came first."""
    await connection.execute(
        """INSERT INTO pattern_column (tenant_id, pattern_id, table_key, column_name)
           SELECT tenant_id, pattern_id, table_key, column_name
           FROM stage_column ORDER BY tenant_id, pattern_id, table_key, column_name
           ON CONFLICT DO NOTHING"""
    )
