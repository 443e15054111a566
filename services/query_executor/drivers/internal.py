"""The tenant's own schema in this installation's Postgres, by a login of the tenant's own that reads nothing else."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from libs.common.errors import Unavailable
from services.query_executor.drivers import Limits
from services.query_executor.drivers.postgres import Login, PostgresDriver, PostgresRows
from services.query_executor.drivers.source import Make, Pooling, Source
from services.query_executor.statement import Bound

_OF_ONE_TENANT: Final = Pooling(connections=2, idle_seconds=5.0)
_WAIT_SECONDS: Final = 15.0
_CLOSING_SECONDS: Final = 10.0


class Logins(Protocol):
    """Where tenants' passwords come from."""

    async def password(self, tenant: UUID) -> SecretStr:
        """Of a login that exists."""

    async def provision(self, tenant: UUID, *, again: bool = False) -> SecretStr:
        """Make login and schema anew."""


def role_name(tenant: UUID) -> str:
    """The tenant's login, and its schema."""
    return f"tenant_{tenant.hex}"


def tenant_login(tenant: UUID, logins: Logins, url: SecretStr) -> Login:
    """Logs in where `url` points, as the tenant; a login that the server does not know as we do is made again."""

    async def attempt(password: SecretStr, options: dict[str, Any]) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            url.get_secret_value(), user=role_name(tenant), password=password.get_secret_value(), **options
        )

    async def login(**options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        try:
            return await attempt(await logins.password(tenant), options)
        except asyncpg.InvalidAuthorizationSpecificationError:
            return await attempt(await logins.provision(tenant, again=True), options)

    return login


class _Open:
    __slots__ = ("driver", "users")

    def __init__(self, driver: PostgresDriver) -> None:
        self.driver = driver
        self.users = 0


class Tenants:
    """The connections of all tenants together: at most so many tenants have any at one time."""

    def __init__(self, logins: Logins, url: SecretStr, connections: int) -> None:
        self._logins = logins
        self._url = url
        self._most = max(1, connections // _OF_ONE_TENANT.connections)
        self._open: OrderedDict[UUID, _Open] = OrderedDict()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def lease(self, tenant: UUID) -> AsyncIterator[PostgresDriver]:
        """The tenant's driver. Where all places are taken, the longest unused is cleared. Raises Unavailable."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS) as limit:
                held = await self._taken(tenant)
        except TimeoutError:
            if limit.expired():
                raise Unavailable("All connections for internal queries are busy; try again.", retry_after=2) from None
            raise
        try:
            yield held.driver
        finally:
            held.users -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _taken(self, tenant: UUID) -> _Open:
        async with self._changed:
            await self._changed.wait_for(lambda: tenant in self._open or self._has_room())
            if tenant not in self._open:
                if len(self._open) >= self._most:
                    unused = next(known for known, each in self._open.items() if not each.users)
                    await self._close(unused)
                login = tenant_login(tenant, self._logins, self._url)
                self._open[tenant] = _Open(PostgresDriver(login, _OF_ONE_TENANT))
            self._open.move_to_end(tenant)
            held = self._open[tenant]
            held.users += 1
            return held

    def _has_room(self) -> bool:
        return len(self._open) < self._most or any(not each.users for each in self._open.values())

    async def _close(self, tenant: UUID) -> None:
        held = self._open.pop(tenant, None)
        if held is not None:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await held.driver.close()

    async def forget(self, tenant: UUID) -> None:
        """Close what a tenant has open, once its statements have ended."""
        async with self._changed:
            await self._close(tenant)
            self._changed.notify_all()


class InternalDriver:
    """Statements of one tenant on its own schema."""

    def __init__(self, tenant: UUID, tenants: Tenants) -> None:
        self._tenant = tenant
        self._tenants = tenants

    @asynccontextmanager
    async def run(self, bound: Bound, limits: Limits) -> AsyncIterator[PostgresRows]:
        """Run one statement read-only."""
        async with self._tenants.lease(self._tenant) as driver, driver.run(bound, limits) as rows:
            yield rows

    async def close(self) -> None:
        """Close the tenant's connections."""
        await self._tenants.forget(self._tenant)


def maker(logins: Logins, url: SecretStr, connections: int) -> Make:
    """Makes drivers of this engine, which share `connections` among them; `url` names server and database."""
    tenants = Tenants(logins, url, connections)

    def make(source: Source) -> InternalDriver:
        return InternalDriver(source.tenant, tenants)

    return make
