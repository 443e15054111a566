"""What components and environments are called."""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal
from uuid import UUID

import asyncpg

from libs.common.db import Connection

Kind = Literal["component", "environment"]
# Tenant and folded name.
Ref = tuple[UUID, str]


async def find(connection: Connection, kind: Kind, refs: Collection[Ref]) -> Mapping[Ref, UUID]:
    """Ids of what is called so."""
    if not refs:
        return {}
    rows = await connection.fetch(
        f"""SELECT r.tenant_id, r.ref, r.{kind}_id AS id FROM unnest($1::uuid[], $2::text[]) AS w (tenant_id, ref)
            JOIN {kind}_ref r ON r.tenant_id = w.tenant_id AND r.ref = w.ref""",  # noqa: S608
        *zip(*refs, strict=True),
    )
    return {(row["tenant_id"], row["ref"]): row["id"] for row in rows}


async def replace(connection: Connection, kind: Kind, tenant: UUID, owner: UUID, names: Iterable[str]) -> str | None:
    """Let it be called exactly so; the name that is another's already, in which case the transaction is over."""
    wanted = sorted(set(names))
    await connection.execute(
        f"DELETE FROM {kind}_ref WHERE tenant_id = $1 AND {kind}_id = $2 AND ref <> ALL($3::text[])",  # noqa: S608
        tenant,
        owner,
        wanted,
    )
    taken: asyncpg.Record | None = await connection.fetchrow(
        f"""SELECT ref FROM {kind}_ref WHERE tenant_id = $1 AND ref = ANY($3::text[]) AND {kind}_id <> $2
            ORDER BY ref LIMIT 1""",  # noqa: S608
        tenant,
        owner,
        wanted,
    )
    if taken is None:
        await connection.execute(
            f"""INSERT INTO {kind}_ref (tenant_id, ref, {kind}_id) SELECT $1, ref, $2 FROM unnest($3::text[]) AS ref
                ON CONFLICT DO NOTHING""",  # noqa: S608
            tenant,
            owner,
            wanted,
        )
    return taken["ref"] if taken else None
