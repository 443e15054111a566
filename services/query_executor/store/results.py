"""Results that are kept for a while."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a result as JSON objects joined by commas."""

    first_row: int
    row_count: int
    rows: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """A kept result without its rows."""

    id: UUID
    query_id: UUID
    row_count: int
    truncated: bool
    available: int | None
    created_at: datetime
    expires_at: datetime


_COLUMNS = "id, query_id, row_count, truncated, available, created_at, expires_at"


async def insert_result(
    connection: Connection, tenant: UUID, result: Result, cache_key: bytes | None, parts: Sequence[Part]
) -> None:
    """Keep the first of two with one id; nothing where the query is gone."""
    made = await connection.fetchval(
        f"""INSERT INTO query_result (tenant_id, cache_key, {_COLUMNS})
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 FROM analytics_query WHERE tenant_id = $1 AND id = $4 FOR SHARE
            ON CONFLICT (tenant_id, id) DO NOTHING RETURNING true""",  # noqa: S608
        tenant, cache_key, result.id, result.query_id, result.row_count, result.truncated, result.available,
        result.created_at, result.expires_at,
    )  # fmt: skip
    if made:
        await connection.executemany(
            "INSERT INTO query_result_part (tenant_id, result_id, first_row, row_count, rows)"
            " VALUES ($1, $2, $3, $4, $5)",
            [(tenant, result.id, part.first_row, part.row_count, part.rows) for part in parts],
        )


async def find_result(connection: Connection, tenant: UUID, result_id: UUID) -> Result | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM query_result WHERE tenant_id = $1 AND id = $2",  # noqa: S608
        tenant,
        result_id,
    )
    return Result(**dict(row)) if row else None


async def find_cached(connection: Connection, tenant: UUID, cache_key: bytes, since: datetime) -> Result | None:
    """The newest result of a statement that is not older than a moment."""
    row = await connection.fetchrow(
        f"""SELECT {_COLUMNS} FROM query_result WHERE tenant_id = $1 AND cache_key = $2 AND created_at >= $3
            ORDER BY created_at DESC LIMIT 1""",  # noqa: S608
        tenant,
        cache_key,
        since,
    )
    return Result(**dict(row)) if row else None


async def parts_between(connection: Connection, tenant: UUID, result_id: UUID, first: int, end: int) -> list[Part]:
    """The parts that hold rows from `first` up to, not with, `end`."""
    rows = await connection.fetch(
        """SELECT first_row, row_count, rows FROM query_result_part
           WHERE tenant_id = $1 AND result_id = $2 AND first_row < $4 AND first_row + row_count > $3
           ORDER BY first_row""",
        tenant,
        result_id,
        first,
        end,
    )
    return [Part(**dict(row)) for row in rows]


async def prune_results(connection: Connection, now: datetime, limit: int) -> int:
    """Drop some that have expired; how many."""
    return len(
        await connection.fetch(
            """DELETE FROM query_result WHERE ctid = ANY(ARRAY(
                   SELECT ctid FROM query_result WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))
               RETURNING true""",
            now,
            limit,
        )
    )
