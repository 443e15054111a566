"""Storing a batch: COPY into staging tables of the session, then one set-based statement per target, by key."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.common.db import Connection
from services.aggregator.rows import (
    DETAILS,
    Batch,
    Pattern,
    StagedColumn,
    StagedPattern,
    StagedRow,
    StagedTable,
    StagedTableKey,
)

PatternKey = tuple[UUID, UUID]
Versions = dict[PatternKey, int]

# COPY into a table with row-level security is refused, hence temporary tables; they empty themselves at commit.
_STAGING: Final = """
CREATE TEMP TABLE IF NOT EXISTS stage_row (
    origin int, pattern int, id uuid, resource_id text, executed_by text, executed_at timestamptz,
    execution_count bigint, job_seq bigint, title text, dashboard_id text, dashboard_title text, dashboard_url text,
    chart_key uuid
) ON COMMIT DELETE ROWS;
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
"""


# Emptied at commit. `sign`: -1 for what counted before, 1 for what counts now; `chart_key` is null of an execution.
CHANGES: Final = """
CREATE TEMP TABLE IF NOT EXISTS stage_change (
    tenant_id uuid, pattern_id uuid, sign int, at timestamptz, executed_by text, amount bigint, chart_key uuid
) ON COMMIT DELETE ROWS;
"""
# A plan that is kept was made for the tables as they were: one made for empty ones reads them whole when they are full.
# And nobody needs to be told of each table that it is there already.
_SETTINGS: Final = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL client_min_messages = warning;"


async def open_staging(connection: Connection) -> None:
    """Make the session's staging tables; they stay for its next batches. Statements are planned for what is there."""
    await connection.execute(_SETTINGS + _STAGING + CHANGES)


async def _copy(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[object, ...]]) -> None:
    await connection.copy_records_to_table(table, records=rows, columns=columns, schema_name="pg_temp")


async def stage_rows(connection: Connection, batch: Batch) -> None:
    """Copy a batch's rows into their staging table, without what they have in common."""
    columns, rows = StagedRow._fields, batch.rows.values()
    if batch.has_details:
        await _copy(connection, "stage_row", columns, rows)
    else:
        await _copy(connection, "stage_row", columns[:DETAILS], rows)


async def spread_rows(connection: Connection, batch: Batch) -> None:
    """Stage the rows with all that they are made of."""
    columns = """tenant_id, id, connector_id, environment, resource_type, resource_id, chart_key, title, pattern_id,
        executed_by, executed_at, execution_count, dashboard_id, dashboard_title, dashboard_url, sync_seq, job_seq,
        said_at"""
    await connection.execute(
        f"INSERT INTO stage_record ({columns}) SELECT {columns} FROM {ROWS}",  # noqa: S608
        *shared(batch),
    )


ROWS: Final = """(
    SELECT r.*, o.*, ($7::uuid[])[r.pattern] AS pattern_id FROM stage_row r
    JOIN unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[]) WITH ORDINALITY
        AS o (tenant_id, connector_id, environment, resource_type, sync_seq, said_at, place) ON o.place = r.origin
) AS staged"""
"""Staged rows with what they have in common, from the parameters `shared`."""


def shared(batch: Batch) -> list[list[object]]:
    """Parameters $1 to $7 of ROWS."""
    columns: list[list[object]] = [list(column) for column in zip(*batch.origins, strict=True)] or [[]] * 6
    return [*columns, list(batch.pattern_ids)]


async def stage_patterns(connection: Connection, patterns: Collection[Pattern]) -> None:
    """Copy patterns with all that belongs to them into their staging tables."""
    await _copy(connection, "stage_pattern", StagedPattern._fields, (pattern.row for pattern in patterns))
    await _copy(connection, "stage_table", StagedTable._fields, (row for pattern in patterns for row in pattern.tables))
    await _copy(
        connection, "stage_table_key", StagedTableKey._fields, (row for pattern in patterns for row in pattern.keys)
    )
    await _copy(
        connection, "stage_column", StagedColumn._fields, (row for pattern in patterns for row in pattern.columns)
    )


async def versions(connection: Connection, patterns: Iterable[PatternKey]) -> Versions:
    """The version of each of these patterns that is stored: another one where it was removed and came again."""
    keys = list(patterns)
    rows = await connection.fetch(
        """SELECT p.tenant_id, p.id, p.xmin FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
           JOIN sql_pattern p ON p.tenant_id = wanted.tenant_id AND p.id = wanted.id""",
        [tenant for tenant, _ in keys],
        [pattern for _, pattern in keys],
    )
    return {(row["tenant_id"], row["id"]): row["xmin"] for row in rows}


class StoredPatterns:
    """What this process knows to be committed, by the version of each pattern. Bounded; starts afresh when full.

    It is asked within the transaction that found the versions, so a pattern that went (its tenant was removed, the
    database came back from a backup) is not taken for stored.
    """

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._known: dict[PatternKey, tuple[int, frozenset[StagedColumn]]] = {}

    def lacking(self, patterns: Mapping[PatternKey, Pattern], found: Versions) -> dict[PatternKey, Pattern]:
        """Those of which a row, key or column may not be stored."""
        return {key: pattern for key, pattern in patterns.items() if not self._holds(key, pattern, found.get(key))}

    def _holds(self, key: PatternKey, pattern: Pattern, version: int | None) -> bool:
        known = self._known.get(key)
        # Mostly the very columns that were noted: comparing sets by their elements takes a hundred times as long.
        return (
            known is not None and known[0] == version and (pattern.columns is known[1] or pattern.columns <= known[1])
        )

    def note(self, patterns: Mapping[PatternKey, Pattern], found: Versions) -> None:
        """The transaction that stored these is committed."""
        if len(self._known) + len(patterns) > self._limit:
            self._known.clear()
        for key, pattern in patterns.items():
            version, known = found[key], self._known.get(key)
            if known is None or known[0] != version:
                self._known[key] = (version, pattern.columns)
            elif pattern.columns is not known[1]:
                self._known[key] = (version, pattern.columns | known[1])


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
