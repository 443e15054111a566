"""Persons: erased by a tenant's staff."""

from dataclasses import dataclass

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.erasure import ErasedNames
from libs.common.events import UserErased
from libs.common.outbox import enqueue
from libs.common.topics import USER_ERASED
from services.gateway.idempotency import KeyedCalls
from services.gateway.registry.living import require_living, require_staff
from services.gateway.store import api_keys as store


@dataclass(frozen=True, slots=True)
class Users:
    """Use case of `/users`."""

    database: Database
    clock: Clock
    erased: ErasedNames
    calls: KeyedCalls

    async def erase(self, caller: Principal, name: str) -> None:
        """A pseudonym takes a name's place here, and in every service that hears of it. Fine to repeat.

        Nobody is told the pseudonym: whoever could ask for it could find out by guessing who a person was.
        """
        tenant, now = require_staff(caller), self.clock()
        async with self.database.tenant(tenant) as connection:
            await require_living(connection, tenant)
            pseudonym = await self.erased.enter(connection, tenant, name, now)
            await store.rename_creator(connection, tenant, name, pseudonym)
            await self.calls.drop_answers_naming(connection, tenant, name)
            event = UserErased(tenant=tenant, sealed_name=self.erased.sealed(tenant, name), pseudonym=pseudonym)
            await enqueue(connection, USER_ERASED, event, key=str(tenant), at=now)
