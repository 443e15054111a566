"""Advisory locks of a transaction. Always taken in this order: tenants, connectors, spaces, windows; each sorted."""

from collections.abc import Iterable
from datetime import timedelta
from hashlib import blake2b
from uuid import UUID

import asyncpg

from libs.common.db import Connection
from libs.common.errors import Unavailable
from services.aggregator.rows import ConnectorKey


def _key(kind: str, *ids: UUID) -> int:
    digest = blake2b(kind.encode(), digest_size=8)
    for each in ids:
        digest.update(each.bytes)
    return int.from_bytes(digest.digest(), signed=True)


def _keys(kind: str, ids: Iterable[tuple[UUID, ...]]) -> list[int]:
    return sorted({_key(kind, *each) for each in ids})


async def share_tenants(connection: Connection, tenants: Iterable[UUID]) -> None:
    """Keep the claims of these tenants' products as they are until the transaction ends."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock_shared(k) FROM unnest($1::bigint[]) AS k",
        _keys("aggregator:tenant", ((tenant,) for tenant in tenants)),
    )


async def change_claims(connection: Connection, tenant: UUID) -> None:
    """Wait for all ingests and refreshes of a tenant, and let none start."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _key("aggregator:tenant", tenant))


async def hold_connectors(connection: Connection, connectors: Iterable[ConnectorKey]) -> None:
    """One writer of a connector's rows and ledgers at a time, be it ingest, a deadline or a deletion."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS k", _keys("aggregator:connector", connectors)
    )


async def hold_space(connection: Connection, tenant: UUID, space: UUID) -> None:
    """Wait to be the only one who writes a space's statistics."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _key("aggregator:space", tenant, space))


async def try_hold_space(connection: Connection, tenant: UUID, space: UUID) -> bool:
    """Be the only one who writes a space's statistics, or false at once."""
    key = _key("aggregator:space", tenant, space)
    return bool(await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", key))


async def share_windows(connection: Connection, tenants: Iterable[UUID]) -> None:
    """Keep the windows of these tenants' counters as they are until the transaction ends."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock_shared(k) FROM unnest($1::bigint[]) AS k",
        _keys("aggregator:window", ((tenant,) for tenant in tenants)),
    )


class Busy(Unavailable):
    """Somebody counts for longer than one wants to wait."""


async def hold_window(connection: Connection, tenant: UUID, patience: timedelta) -> None:
    """Wait until nobody counts for a tenant, and let nobody begin. Raises Busy; the transaction is over then."""
    await connection.execute("SELECT set_config('lock_timeout', $1, true)", str(patience // timedelta(milliseconds=1)))
    try:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _key("aggregator:window", tenant))
    except asyncpg.LockNotAvailableError as error:
        raise Busy("Usage is being counted; try again.") from error
    await connection.execute("SELECT set_config('lock_timeout', '0', true)")
