"""The advisory lock of a transaction that writes deployments, or what their places are called."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final
from uuid import UUID

from libs.common.db import Connection

_HOLD: Final = """
SELECT pg_advisory_xact_lock(k), set_config('plan_cache_mode', 'force_custom_plan', true)
FROM unnest($1::bigint[]) AS k"""


def _key(tenant: UUID) -> int:
    digest = blake2b(b"reporting:tenant" + tenant.bytes, digest_size=8)
    return int.from_bytes(digest.digest(), signed=True)


async def hold_tenants(connection: Connection, tenants: Iterable[UUID]) -> None:
    """One writer of a tenant's deployments at a time: a fold must see all states, a parked event all names.

    Statements that follow are planned for the tables as they are: a plan that was kept since they were small would
    read them whole.
    """
    await connection.execute(_HOLD, sorted({_key(tenant) for tenant in tenants}))


async def hold_tenant(connection: Connection, tenant: UUID) -> None:
    """The same for one."""
    await hold_tenants(connection, [tenant])
