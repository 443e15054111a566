"""Rows of records: by id, the better known one stays. What counts no longer, and what counts now, is staged."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from libs.common.db import Connection
from services.aggregator.rows import Batch, LedgerKey
from services.aggregator.store.ingest import CHANGES, ROWS, shared

_NOTE: Final = "INSERT INTO stage_change (tenant_id, pattern_id, sign, at, executed_by, amount, chart_key)"
# What a statement on executions or on references returns, so that `changes_of` can stage it.
SIDES: Final = {
    "query_log": """old.tenant_id AS tenant_before, old.pattern_id AS pattern_before, old.executed_at AS at_before,
        old.executed_by AS by_before, old.execution_count AS amount_before, NULL::uuid AS chart_before,
        new.tenant_id, new.pattern_id, new.executed_at AS at, new.executed_by, new.execution_count AS amount,
        NULL::uuid AS chart_key, true AS counted_before, true AS counts""",
    "bi_reference": """old.tenant_id AS tenant_before, old.pattern_id AS pattern_before, old.seen_at AS at_before,
        NULL::text AS by_before, 0::bigint AS amount_before, old.chart_key AS chart_before,
        new.tenant_id, new.pattern_id, new.seen_at AS at, NULL::text AS executed_by, 0::bigint AS amount,
        new.chart_key, old.retired_at IS NULL AS counted_before, new.retired_at IS NULL AS counts""",
}


def changes_of(stored: str) -> str:
    """A statement that stages what a common table expression with SIDES returns, each side only where it counts."""
    return f"""{_NOTE}
    SELECT side.* FROM {stored} CROSS JOIN LATERAL (VALUES
        (tenant_before, pattern_before, -1, at_before, by_before, amount_before, chart_before),
        ({stored}.tenant_id, {stored}.pattern_id, 1, {stored}.at, {stored}.executed_by, {stored}.amount,
         {stored}.chart_key)
    ) AS side (tenant_id, pattern_id, sign, at, executed_by, amount, chart_key)
    WHERE side.tenant_id IS NOT NULL AND CASE WHEN side.sign < 0 THEN counted_before ELSE counts END
      AND (pattern_before, at_before, by_before, amount_before, chart_before, counted_before)
          IS DISTINCT FROM ({stored}.pattern_id, {stored}.at, {stored}.executed_by, {stored}.amount,
                            {stored}.chart_key, counts)"""  # noqa: S608


_CHANGED: Final = changes_of("stored")


async def open_changes(connection: Connection) -> None:
    """Make the session's table of changes; it stays for its next transactions."""
    await connection.execute(CHANGES)


class Known(NamedTuple):
    """What is stored already of the staged resources: any as the other kind of record, any execution as it is."""

    moved: bool
    executed: bool


async def known(connection: Connection) -> Known:
    """Look each staged resource up by its key: a join would read all that is stored, however much that is.

    The parameter is there because the server keeps the plan of a statement without one, also that for empty tables.
    """
    row = await connection.fetchrow(
        """SELECT EXISTS (
               SELECT FROM stage_record AS s WHERE $1 AND CASE WHEN s.executed_at IS NULL
               THEN EXISTS (SELECT FROM query_log WHERE tenant_id = s.tenant_id AND id = s.id OFFSET 0)
               ELSE EXISTS (SELECT FROM bi_reference WHERE tenant_id = s.tenant_id AND id = s.id OFFSET 0) END
           ) AS moved, EXISTS (
               SELECT FROM stage_record AS s WHERE s.executed_at IS NOT NULL
                 AND EXISTS (SELECT FROM query_log WHERE tenant_id = s.tenant_id AND id = s.id OFFSET 0)
           ) AS executed""",
        True,
    )
    assert row is not None
    return Known(*row)


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
            f"""WITH stored AS (
                    DELETE FROM {table} AS known USING stage_record AS s
                    WHERE known.tenant_id = s.tenant_id AND known.id = s.id AND (s.executed_at IS NOT NULL) = $1
                    RETURNING {SIDES[table]}
                ) {_CHANGED}""",  # noqa: S608
            is_execution,
        )


class AlreadyStored(Exception):
    """Something of a batch that was taken for fresh is stored; the transaction is over."""


_EXECUTION: Final = """tenant_id, id, connector_id, environment, resource_type, resource_id, title, pattern_id,
    executed_by, executed_at, execution_count, dashboard_id, dashboard_title, dashboard_url, sync_seq, job_seq,
    said_at"""
# Looked up one by one: there are few connectors, and references without end.
_NONE_MOVED: Final = """NOT EXISTS (
    SELECT FROM (SELECT DISTINCT t, c FROM unnest($1::uuid[], $2::uuid[]) AS each (t, c)) AS mine CROSS JOIN LATERAL (
        SELECT FROM bi_reference AS b WHERE b.tenant_id = mine.t AND b.connector_id = mine.c LIMIT 1) AS b)"""


async def insert_fresh(connection: Connection, batch: Batch, now: datetime) -> bool:
    """Insert staged rows that are all executions; false, and nothing done, where a connector has references too.

    Nobody looks whether any is stored: the key tells. Raises AlreadyStored.
    """
    try:
        done = await connection.execute(
            f"""INSERT INTO query_log ({_EXECUTION}, created_at)
                SELECT {_EXECUTION}, $8 FROM {ROWS} WHERE {_NONE_MOVED}""",  # noqa: S608
            *shared(batch),
            now,
        )
    except asyncpg.UniqueViolationError:
        raise AlreadyStored from None
    return int(done.rpartition(" ")[2]) == len(batch.rows)


async def insert_executions(connection: Connection, now: datetime) -> None:
    """Executions none of which is known: half of an upsert's cost. Nobody else writes this connector's meanwhile."""
    await connection.execute(
        f"""INSERT INTO query_log ({_EXECUTION}, created_at)
            SELECT {_EXECUTION}, $1 FROM stage_record WHERE executed_at IS NOT NULL""",  # noqa: S608
        now,
    )


async def note_inserted(connection: Connection, batch: Batch) -> None:
    """Stage as changes what was inserted, as far as it is of a product: most of a log may be of none.

    Products of the batch's patterns must be known by now.
    """
    await connection.execute(
        f"""{_NOTE} SELECT d.tenant_id, d.pattern_id, 1, r.executed_at, r.executed_by, r.execution_count, NULL
            FROM (SELECT tenant_id, pattern_id, place
                  FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS said (tenant_id, pattern_id, place)
                  WHERE EXISTS (SELECT FROM product_pattern p
                                WHERE p.tenant_id = said.tenant_id AND p.pattern_id = said.pattern_id OFFSET 0)
            ) AS d JOIN stage_row r ON r.pattern = d.place
            WHERE r.executed_at IS NOT NULL""",  # noqa: S608
        batch.pattern_tenants,
        batch.pattern_ids,
    )


async def upsert_executions(connection: Connection, now: datetime) -> None:
    """Executions by id; what is known better already stays."""
    await connection.execute(
        f"""WITH stored AS (
               INSERT INTO query_log AS known (
                   {_EXECUTION}, created_at)
               SELECT {_EXECUTION}, $1
               FROM stage_record WHERE executed_at IS NOT NULL ORDER BY tenant_id, id
               ON CONFLICT (tenant_id, id) DO UPDATE SET
                   environment = excluded.environment, title = excluded.title, pattern_id = excluded.pattern_id,
                   executed_by = excluded.executed_by, executed_at = excluded.executed_at,
                   execution_count = excluded.execution_count, dashboard_id = excluded.dashboard_id,
                   dashboard_title = excluded.dashboard_title, dashboard_url = excluded.dashboard_url,
                   sync_seq = excluded.sync_seq, job_seq = excluded.job_seq, said_at = excluded.said_at
               WHERE (known.sync_seq, known.job_seq, known.said_at)
                     <= (excluded.sync_seq, excluded.job_seq, excluded.said_at)
               RETURNING {SIDES["query_log"]}
           ) {_CHANGED}""",  # noqa: S608
        now,
    )


async def upsert_references(connection: Connection, now: datetime) -> None:
    """References by id, retired at once where a newer complete sync did not see them or the connector is deleted.

    A reference's moment is its first arrival until a complete sync confirms it (`confirm_references`). Without a
    sync, or back from retirement, it is this arrival.
    """
    await connection.execute(
        f"""WITH stored AS (
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
               RETURNING {SIDES["bi_reference"]}
           ) {_CHANGED}""",  # noqa: S608
        now,
    )


async def retire_unseen(connection: Connection, key: LedgerKey, now: datetime) -> int:
    """Retire the connector's references of older syncs; how many. What no sync sent is left alone."""
    return await _update_references(
        connection,
        "retired_at = $3",
        "sync_seq >= 0 AND sync_seq < $4",
        key.tenant_id,
        key.connector_id,
        now,
        key.sync_seq,
    )


async def confirm_references(connection: Connection, key: LedgerKey, now: datetime) -> int:
    """References that this complete sync saw count from now; how many."""
    return await _update_references(
        connection, "seen_at = $3", "sync_seq = $4", key.tenant_id, key.connector_id, now, key.sync_seq
    )


async def retire_connector(connection: Connection, tenant: UUID, connector: UUID, now: datetime) -> int:
    """Retire all references of a deleted connector; how many."""
    return await _update_references(connection, "retired_at = $3", "true", tenant, connector, now)


async def _update_references(connection: Connection, change: str, which: str, *values: object) -> int:
    """Change live references of the connector $2 of the tenant $1."""
    count = await connection.fetchval(
        f"""WITH stored AS (
                UPDATE bi_reference SET {change}
                WHERE tenant_id = $1 AND connector_id = $2 AND retired_at IS NULL AND {which}
                RETURNING {SIDES["bi_reference"]}
            ), noted AS ({_CHANGED})
            SELECT count(*) FROM stored""",  # noqa: S608
        *values,
    )
    assert isinstance(count, int)
    return count
