"""Rows of records: by id, the better known one stays; what a batch changes of them is noted as touched."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection


async def drop_outdated(connection: Connection) -> None:
    """Unstage what the other table knows better: a resource may have turned from reference to execution or back."""
    for table, is_execution in (("query_log", False), ("bi_reference", True)):
        await connection.execute(
            f"""DELETE FROM stage_record AS s USING {table} AS known
                WHERE known.tenant_id = s.tenant_id AND known.id = s.id AND (s.executed_at IS NOT NULL) = $1
                  AND (known.sync_seq, known.job_seq, known.said_at) > (s.sync_seq, s.job_seq, s.said_at)""",  # noqa: S608
            is_execution,
        )


async def remove_moved(connection: Connection) -> None:
    """Take resources out of the table that they no longer belong to."""
    for table, is_execution in (("query_log", False), ("bi_reference", True)):
        await connection.execute(
            f"""WITH gone AS (
                    DELETE FROM {table} AS known USING stage_record AS s
                    WHERE known.tenant_id = s.tenant_id AND known.id = s.id AND (s.executed_at IS NOT NULL) = $1
                    RETURNING known.tenant_id, known.pattern_id
                )
                INSERT INTO stage_touched (tenant_id, pattern_id) SELECT tenant_id, pattern_id FROM gone""",  # noqa: S608
            is_execution,
        )


async def upsert_executions(connection: Connection, now: datetime) -> None:
    """Executions by id; what is known better already stays. Patterns before and after are touched."""
    await connection.execute(
        """WITH stored AS (
               INSERT INTO query_log AS known (
                   tenant_id, id, connector_id, environment, resource_type, resource_id, title, pattern_id,
                   executed_by, executed_at, execution_count, dashboard_id, dashboard_title, dashboard_url,
                   sync_seq, job_seq, said_at, created_at)
               SELECT tenant_id, id, connector_id, environment, resource_type, resource_id, title, pattern_id,
                   executed_by, executed_at, execution_count, dashboard_id, dashboard_title, dashboard_url,
                   sync_seq, job_seq, said_at, $1
               FROM stage_record WHERE executed_at IS NOT NULL ORDER BY tenant_id, id
               ON CONFLICT (tenant_id, id) DO UPDATE SET
                   environment = excluded.environment, title = excluded.title, pattern_id = excluded.pattern_id,
                   executed_by = excluded.executed_by, executed_at = excluded.executed_at,
                   execution_count = excluded.execution_count, dashboard_id = excluded.dashboard_id,
                   dashboard_title = excluded.dashboard_title, dashboard_url = excluded.dashboard_url,
                   sync_seq = excluded.sync_seq, job_seq = excluded.job_seq, said_at = excluded.said_at
               WHERE (known.sync_seq, known.job_seq, known.said_at)
                     <= (excluded.sync_seq, excluded.job_seq, excluded.said_at)
               RETURNING new.tenant_id, old.pattern_id AS before, new.pattern_id AS after
           )
           INSERT INTO stage_touched (tenant_id, pattern_id)
           SELECT tenant_id, before FROM stored WHERE before IS NOT NULL
           UNION SELECT tenant_id, after FROM stored""",
        now,
    )


async def upsert_references(connection: Connection, now: datetime) -> None:
    """References by id, retired at once where a newer complete sync did not see them or the connector is deleted.

    A reference's moment is its first arrival until a complete sync confirms it (`confirm_references`). Without a
    sync, or back from retirement, it is this arrival.
    """
    await connection.execute(
        """WITH stored AS (
               INSERT INTO bi_reference AS known (
                   tenant_id, id, connector_id, environment, resource_type, resource_id, chart_key, title, pattern_id,
                   executed_by, dashboard_id, dashboard_title, dashboard_url, sync_seq, job_seq, said_at,
                   seen_at, retired_at, created_at)
               SELECT s.tenant_id, s.id, s.connector_id, s.environment, s.resource_type, s.resource_id, s.chart_key,
                   s.title, s.pattern_id, s.executed_by, s.dashboard_id, s.dashboard_title, s.dashboard_url,
                   s.sync_seq, s.job_seq, s.said_at, $1::timestamptz,
                   CASE WHEN c.deleted OR (s.sync_seq >= 0 AND s.sync_seq < r.complete_seq) THEN $1::timestamptz END, $1
               FROM stage_record s
               LEFT JOIN connector c ON c.tenant_id = s.tenant_id AND c.id = s.connector_id
               LEFT JOIN reference_sync r ON r.tenant_id = s.tenant_id AND r.connector_id = s.connector_id
               WHERE s.executed_at IS NULL ORDER BY s.tenant_id, s.id
               ON CONFLICT (tenant_id, id) DO UPDATE SET
                   environment = excluded.environment, chart_key = excluded.chart_key, title = excluded.title,
                   pattern_id = excluded.pattern_id, executed_by = excluded.executed_by,
                   dashboard_id = excluded.dashboard_id, dashboard_title = excluded.dashboard_title,
                   dashboard_url = excluded.dashboard_url, sync_seq = excluded.sync_seq, job_seq = excluded.job_seq,
                   said_at = excluded.said_at, retired_at = excluded.retired_at,
                   seen_at = CASE
                       WHEN known.retired_at IS NOT NULL
                         OR (excluded.sync_seq < 0 AND known.said_at < excluded.said_at)
                       THEN excluded.seen_at ELSE known.seen_at END
               WHERE (known.sync_seq, known.job_seq, known.said_at)
                     <= (excluded.sync_seq, excluded.job_seq, excluded.said_at)
               RETURNING new.tenant_id, old.pattern_id AS before, new.pattern_id AS after
           )
           INSERT INTO stage_touched (tenant_id, pattern_id)
           SELECT tenant_id, before FROM stored WHERE before IS NOT NULL
           UNION SELECT tenant_id, after FROM stored""",
        now,
    )


async def touch(connection: Connection, tenant: UUID, patterns: Sequence[UUID]) -> None:
    """Note patterns whose counts changed by other ways than this batch's rows."""
    await connection.execute(
        "INSERT INTO stage_touched (tenant_id, pattern_id) SELECT $1, p FROM unnest($2::uuid[]) AS p", tenant, patterns
    )
