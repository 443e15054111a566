"""Ledgers of collecting jobs: which records arrived, when the job is over, what it retires."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Range, Record

from libs.common.db import Connection
from services.aggregator.domain import ranges
from services.aggregator.rows import Closing, LedgerKey, Numbers

_WIDTH = "(SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest({}) AS r)"
_FIGURES = f"""state, complete, retired, {_WIDTH.format("stored")} AS stored, {_WIDTH.format("rejected")} AS rejected"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A closed ledger in figures; `stored` and `rejected` are disjoint."""

    key: LedgerKey
    state: str
    complete: bool
    stored: int
    rejected: int
    retired: int


def _outcome(key: LedgerKey, row: Record | None) -> Outcome | None:
    if row is None:
        return None
    return Outcome(key, row["state"], bool(row["complete"]), row["stored"], row["rejected"], row["retired"])


def _multirange(numbers: Iterable[int]) -> list[Range[int]]:
    return [Range(lower, upper) for lower, upper in ranges(numbers)]


async def add_numbers(connection: Connection, numbers: Mapping[LedgerKey, Numbers]) -> None:
    """Unite what arrived into the ledgers. Idempotent; a closed ledger takes nothing; stored wins over rejected."""
    await connection.executemany(
        """INSERT INTO sync_ledger AS known
               (tenant_id, connector_id, job_id, sync_seq, stored, rejected, state, retired)
           VALUES ($1, $2, $3, $4, $5::int8multirange, $6::int8multirange - $5::int8multirange, 'open', 0)
           ON CONFLICT (tenant_id, connector_id, job_id, sync_seq) DO UPDATE SET
               stored = known.stored + excluded.stored,
               rejected = (known.rejected + excluded.rejected) - (known.stored + excluded.stored)
           WHERE known.state = 'open'""",
        [(*key, _multirange(numbers[key].stored), _multirange(numbers[key].rejected)) for key in sorted(numbers)],
    )


async def note_closing(connection: Connection, closing: Closing, now: datetime) -> None:
    """A closing record arrived. The deadline runs from the first; the greatest count holds (a job that went on)."""
    await connection.execute(
        """INSERT INTO sync_ledger AS known (tenant_id, connector_id, job_id, sync_seq, stored, rejected,
               count, complete, closing_at, state, retired)
           VALUES ($1, $2, $3, $4, '{}', '{}', $5, $6, $7, 'open', 0)
           ON CONFLICT (tenant_id, connector_id, job_id, sync_seq) DO UPDATE SET
               complete = CASE WHEN known.count > excluded.count THEN known.complete ELSE excluded.complete END,
               count = greatest(known.count, excluded.count),
               closing_at = coalesce(known.closing_at, excluded.closing_at)
           WHERE known.state = 'open'""",
        *closing.key,
        closing.count,
        closing.complete,
        now,
    )


async def close_complete(connection: Connection, key: LedgerKey, now: datetime) -> Outcome | None:
    """Close a ledger that holds every number up to its count; None where it does not, or was closed before."""
    row = await connection.fetchrow(
        f"""UPDATE sync_ledger SET state = 'completed', closed_at = $5
            WHERE tenant_id = $1 AND connector_id = $2 AND job_id = $3 AND sync_seq = $4 AND state = 'open'
              AND (count = 0 OR stored + rejected @> int8range(1, nullif(count, 0), '[]'))
            RETURNING {_FIGURES}""",  # noqa: S608
        *key,
        now,
    )
    return _outcome(key, row)


async def close_overdue(
    connection: Connection, key: LedgerKey, now: datetime, closing_until: datetime
) -> Outcome | None:
    """Close a ledger as partial whose closing record came no later than `closing_until`; else None."""
    row = await connection.fetchrow(
        f"""UPDATE sync_ledger SET state = 'partial', closed_at = $5
            WHERE tenant_id = $1 AND connector_id = $2 AND job_id = $3 AND sync_seq = $4 AND state = 'open'
              AND closing_at <= $6
            RETURNING {_FIGURES}""",  # noqa: S608
        *key,
        now,
        closing_until,
    )
    return _outcome(key, row)


async def overdue(connection: Connection, closing_until: datetime) -> list[LedgerKey]:
    """Open ledgers of all tenants whose closing record came no later than this."""
    rows = await connection.fetch(
        """SELECT tenant_id, connector_id, job_id, sync_seq FROM sync_ledger
           WHERE state = 'open' AND closing_at <= $1 ORDER BY closing_at LIMIT 1000""",
        closing_until,
    )
    return [LedgerKey(*row) for row in rows]


async def closed(connection: Connection, key: LedgerKey) -> Outcome | None:
    """The outcome of a ledger that is closed already."""
    row = await connection.fetchrow(
        f"""SELECT {_FIGURES} FROM sync_ledger
            WHERE tenant_id = $1 AND connector_id = $2 AND job_id = $3 AND sync_seq = $4 AND state <> 'open'""",  # noqa: S608
        *key,
    )
    return _outcome(key, row)


async def note_retired(connection: Connection, key: LedgerKey, retired: int) -> None:
    await connection.execute(
        """UPDATE sync_ledger SET retired = $5
           WHERE tenant_id = $1 AND connector_id = $2 AND job_id = $3 AND sync_seq = $4""",
        *key,
        retired,
    )


async def has_older_references(connection: Connection, key: LedgerKey) -> bool:
    """Whether references of older syncs of the connector still count."""
    return bool(
        await connection.fetchval(
            """SELECT EXISTS (SELECT FROM bi_reference WHERE tenant_id = $1 AND connector_id = $2
                   AND sync_seq >= 0 AND sync_seq < $3 AND retired_at IS NULL)""",
            key.tenant_id,
            key.connector_id,
            key.sync_seq,
        )
    )


async def holds_references(connection: Connection, key: LedgerKey) -> bool:
    """Whether references count that this sync was the last to see."""
    return bool(
        await connection.fetchval(
            """SELECT EXISTS (SELECT FROM bi_reference WHERE tenant_id = $1 AND connector_id = $2
                   AND sync_seq = $3 AND retired_at IS NULL)""",
            key.tenant_id,
            key.connector_id,
            key.sync_seq,
        )
    )


async def raise_complete_sync(connection: Connection, key: LedgerKey) -> None:
    """Remember the newest complete sync of a connector."""
    await connection.execute(
        """INSERT INTO reference_sync AS known (tenant_id, connector_id, complete_seq) VALUES ($1, $2, $3)
           ON CONFLICT (tenant_id, connector_id) DO UPDATE
               SET complete_seq = greatest(known.complete_seq, excluded.complete_seq)""",
        key.tenant_id,
        key.connector_id,
        key.sync_seq,
    )
