"""The tenants' own schemas: made when a tenant appears, brought up to date when what is offered changes, dropped with
their tenant. Every step may run again, and on any replica."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import structlog
from pydantic import SecretStr

from libs.common.db import Connection, Database
from libs.common.errors import NotFound
from libs.common.failures import describe
from libs.common.scram import scram_verifier
from libs.common.sealed import KeyRing
from services.query_executor.store import tenant_schemas as store

_BATCH: Final = 100
_REMEMBERED_SECONDS: Final = 10.0
_REMEMBERED: Final = 5000
_PASSWORD_BYTES: Final = 32
_AGAIN_SECONDS: Final = 60.0
_log = structlog.get_logger()


def _context(tenant: UUID) -> str:
    return f"tenant-schema:{tenant}"


class TenantSchemas:
    """Uses the worker's connections alone: a request that asks may hold one of the request path's already."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
        self._tables: dict[UUID, tuple[float, frozenset[str]]] = {}
        self._failed_until: dict[UUID, float] = {}

    async def tables(self, tenant: UUID) -> frozenset[str]:
        """What an internal query may read; a table that was made a moment ago may be missing for some seconds.

        Raises NotFound for a deleted tenant.
        """
        until, known = self._tables.get(tenant, (0.0, frozenset[str]()))
        if until > time.monotonic():
            return known
        async with self._database.work() as connection:
            current = await store.is_current(connection, tenant)
        if not current:
            await self.provision(tenant)
        async with self._database.work() as connection:
            known = await store.readable(connection, tenant)
        if len(self._tables) >= _REMEMBERED:
            self._tables.clear()
        self._tables[tenant] = (time.monotonic() + _REMEMBERED_SECONDS, known)
        return known

    async def password(self, tenant: UUID) -> SecretStr:
        """Of the tenant's login, which is made where it is missing."""
        async with self._database.work() as connection:
            sealed = await store.find_password(connection, tenant)
        return self._opened(tenant, sealed) if sealed else await self.provision(tenant)

    async def provision(self, tenant: UUID, *, again: bool = False) -> SecretStr:
        """Make sure of login, schema and views; `again` even where they seem right. The login's password.

        Raises NotFound for a deleted tenant.
        """
        fresh = self._keys.seal(secrets.token_urlsafe(_PASSWORD_BYTES).encode(), bound_to=_context(tenant))
        async with self._database.work() as connection:
            if await store.is_deleted(connection, tenant):
                raise NotFound("Tenant not found")
            schema = await store.hold(connection, tenant, fresh)
            password = self._opened(tenant, schema.sealed_password)
            if again or not schema.current:
                verifier = await asyncio.to_thread(scram_verifier, password.get_secret_value())
                await store.provision(connection, tenant, verifier)
                self._tables.pop(tenant, None)
                _log.info("tenant schema provisioned", tenant=str(tenant))
        return password

    def _opened(self, tenant: UUID, sealed: str) -> SecretStr:
        return SecretStr(self._keys.open(sealed, bound_to=_context(tenant)).decode())

    async def keep_up(self) -> int:
        """Provision whoever lacks something, drop what deleted tenants left; how many. One that fails is tried again
        a minute later and holds up no other."""
        done = await self._each(store.stale, self.provision)
        return done + await self._each(store.left_over, self._drop)

    async def _drop(self, tenant: UUID) -> None:
        async with self._database.work() as connection:
            await store.drop(connection, tenant)
        self._tables.pop(tenant, None)
        _log.info("tenant schema dropped", tenant=str(tenant))

    async def _each(
        self, due: Callable[[Connection, int], Awaitable[list[UUID]]], step: Callable[[UUID], Awaitable[object]]
    ) -> int:
        async with self._database.work() as connection:
            tenants = await due(connection, _BATCH)
        done = 0
        for tenant in tenants:
            if self._failed_until.get(tenant, 0.0) > time.monotonic():
                continue
            try:
                await step(tenant)
                self._failed_until.pop(tenant, None)
                done += 1
            except Exception as error:
                self._failed_until[tenant] = time.monotonic() + _AGAIN_SECONDS
                _log.warning("tenant schema failed; trying on", tenant=str(tenant), error=describe(error))
        return done
