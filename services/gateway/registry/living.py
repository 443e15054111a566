"""Who may still do something: tenants that are not deleted, their staff."""

import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from libs.common.auth import Principal
from libs.common.db import Connection, Database
from libs.common.errors import Forbidden
from libs.common.remembered import Remembered
from services.gateway.store import tenants as store

_BELIEVED: Final = 10.0


class DeletedTenants:
    """Which tenants are deleted. A tenant that lives is believed to do so for ten seconds."""

    def __init__(self, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._living = Remembered[UUID, bool](monotonic)

    async def __call__(self, tenant: UUID) -> bool:
        """Whether a tenant is deleted. One that never was is not: its requests find nothing."""
        if self._living.get(tenant):
            return False
        asked = self._monotonic()
        async with self._database.tenant(tenant) as connection:
            if await store.is_deleted(connection, tenant):
                return True
        self._living.put(tenant, True, asked + _BELIEVED - self._monotonic())
        return False

    def forget(self, tenant: UUID) -> None:
        """Believe nothing of a tenant that was deleted here."""
        self._living.forget(tenant)


async def require_living(connection: Connection, tenant: UUID) -> None:
    """403 where there is no such tenant; it cannot be deleted before the transaction ends."""
    if not await store.is_living(connection, tenant):
        raise Forbidden("The tenant that this token names does not exist.")


def require_staff(caller: Principal) -> UUID:
    """The caller's tenant; 403 for who is not its staff."""
    if not (caller.is_staff or caller.is_superuser):
        raise Forbidden("This needs the role `staff`.")
    return caller.require_tenant()
