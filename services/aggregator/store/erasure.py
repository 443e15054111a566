"""Putting a pseudonym into the rows of a person, some at a time in the order of ids."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from libs.common.db import Connection
from libs.common.erasure import Erasure
from services.aggregator.store.records import SIDES, changes_of

NAMED: Final = ("query_log", "bi_reference")


@dataclass(frozen=True, slots=True)
class Page:
    """Rows looked at: the last one's id (None behind the end), and how many held the name."""

    last: UUID | None
    changed: int


async def rewrite_page(connection: Connection, table: str, erasure: Erasure, after: UUID | None, limit: int) -> Page:
    """Rewrite the next rows of a tenant behind an id. There is no index on names, hence all rows are looked at once."""
    row = await connection.fetchrow(
        f"""WITH page AS MATERIALIZED (
                SELECT id, executed_by FROM {table}
                WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
            ), changed AS (
                UPDATE {table} AS known SET executed_by = $5 FROM page
                WHERE known.tenant_id = $1 AND known.id = page.id AND page.executed_by = $4
                RETURNING known.id, {SIDES[table]}
            ), noted AS ({changes_of("changed")})
            SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*) FROM changed) AS changed""",  # noqa: S608
        erasure.tenant,
        after,
        limit,
        erasure.name,
        erasure.pseudonym,
    )
    assert row is not None
    return Page(row["last"], row["changed"])
