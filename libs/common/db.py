"""Postgres access: two pools a service (request path and workers), transactions bound to a tenant."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
from asyncpg.transaction import Transaction, TransactionState
from opentelemetry import trace

from libs.common.auth import Principal
from libs.common.settings import ServiceSettings
from libs.common.telemetry import current_traceparent, trace_statements

if TYPE_CHECKING:  # generic in the stubs only
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

Reset = Callable[[Connection], Awaitable[None]]
_tracer = trace.get_tracer("tidemark.db")


def _literal(value: str) -> str:
    """A text as a statement without parameters may hold it, whatever it says: nothing but hexadecimal digits."""
    return f"convert_from(decode('{value.encode().hex()}', 'hex'), 'UTF8')"


def _opening(settings: Mapping[str, str]) -> str:
    """Begins a transaction and binds settings to it, in one turn to the server."""
    bound = ", ".join(f"set_config('{name}', {_literal(value)}, true)" for name, value in settings.items())
    return f"BEGIN; SELECT {bound}"


class _Bound(Transaction):
    """A transaction that is bound to settings from its first statement on, and forgets them at its end."""

    __slots__ = ("_opening", "_owner")

    def __init__(self, lent: Any, settings: Mapping[str, str]) -> None:
        # What the pool lends is a proxy; nested transactions look for the outer one at the connection itself.
        self._owner = lent._con
        super().__init__(self._owner, None, False, False)
        self._opening = _opening(settings)

    async def start(self) -> None:
        """As asyncpg's own start of an outermost transaction."""
        if self._owner.is_in_transaction():
            raise asyncpg.InterfaceError("a bound transaction is an outermost one")
        self._owner._top_xact = self
        try:
            await self._owner.execute(self._opening)
        except BaseException:
            self._state = TransactionState.FAILED
            raise
        self._state = TransactionState.STARTED


def _actor(caller: Principal, at: datetime) -> dict[str, str]:
    """What the audit triggers read."""
    return {
        "app.actor_id": caller.subject,
        "app.actor_type": caller.actor_type,
        "app.actor_username": caller.username or "",
        "app.environment": caller.environment,
        "app.now": at.isoformat(),
        "app.traceparent": current_traceparent() or "",
    }


async def _as_it_is(connection: Connection) -> None:
    """A connection of the request path goes back without a round trip: nothing outlives its transactions."""


async def _open_pool(dsn: str, size: int, name: str, reset: Reset | None = None) -> Pool:
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        command_timeout=60,
        init=trace_statements,
        reset=reset,
        server_settings={"application_name": name, "jit": "off"},
    )


@dataclass(frozen=True, slots=True)
class Database:
    """`api` obeys row-level security of one tenant; `worker` serves all tenants and joins on tenant_id itself."""

    api: Pool
    worker: Pool

    @classmethod
    async def open(cls, settings: ServiceSettings, service: str) -> "Database":
        """Connect both pools; raises what asyncpg raises when the server cannot be reached."""
        size = settings.database_pool_size
        api = await _open_pool(settings.api_database_url.get_secret_value(), size, f"tidemark-{service}-api", _as_it_is)
        worker = await _open_pool(settings.worker_database_url.get_secret_value(), size, f"tidemark-{service}-worker")
        return cls(api, worker)

    async def close(self) -> None:
        """Wait for borrowed connections, then close."""
        await self.api.close()
        await self.worker.close()

    @asynccontextmanager
    async def tenant(self, tenant: UUID) -> AsyncIterator[Connection]:
        """One transaction of one tenant: rows of others neither show nor can be written."""
        with _tracer.start_as_current_span("db transaction"):
            async with self.api.acquire() as connection, _Bound(connection, {"app.tenant": str(tenant)}):
                yield connection

    @asynccontextmanager
    async def change(self, caller: Principal, at: datetime, *, tenant: UUID | None = None) -> AsyncIterator[Connection]:
        """A transaction that may change audited tables: as the caller's doing, at business time `at`, in the caller's
        tenant, or in the one that a superuser names. Raises Forbidden where there is none."""
        settings = {"app.tenant": str(tenant or caller.require_tenant()), **_actor(caller, at)}
        with _tracer.start_as_current_span("db transaction"):
            async with self.api.acquire() as connection, _Bound(connection, settings):
                yield connection

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Connection]:
        """One transaction of a consumer or a job."""
        with _tracer.start_as_current_span("db transaction"):
            async with self.worker.acquire() as connection, connection.transaction():
                yield connection

    async def ready(self) -> str | None:
        """None, or why a pool cannot answer."""
        try:
            await self.api.fetchval("SELECT 1", timeout=2)
            await self.worker.fetchval("SELECT 1", timeout=2)
        except Exception as error:
            return f"the database does not answer ({type(error).__name__})"
        return None


def rows(records: list[asyncpg.Record]) -> list[dict[str, Any]]:
    """Records as plain dictionaries."""
    return [dict(record) for record in records]
