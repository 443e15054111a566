"""What stays of an execution: its row, and its event in the same transaction."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.erasure import context as erasure_context
from libs.common.events import BiQueryScraped
from libs.common.outbox import outbox_row
from libs.common.sealed import KeyRing
from libs.common.topics import BI_QUERY_SCRAPED
from services.query_executor.domain import execution_key
from services.query_executor.drivers.source import Source
from services.query_executor.service.lookups import Lookup
from services.query_executor.statement import Bound
from services.query_executor.store import executions as store
from services.query_executor.store.executions import Event, Execution, Runnable, State
from services.query_executor.usage import usage_record

# An event's time is that of its recording, give or take this.
_FRESH: Final = timedelta(seconds=1)


@dataclass(slots=True)
class Run:
    """One execution while it runs."""

    id: UUID
    tenant: UUID
    caller: Principal
    app_slug: str
    lookup: Lookup
    started_at: datetime
    draft: Event | None = None
    _began: float = field(default_factory=time.perf_counter)

    @property
    def key(self) -> str:
        return execution_key(self.id)

    @property
    def runnable(self) -> Runnable:
        return self.lookup.runnable

    @property
    def milliseconds(self) -> float:
        return round((time.perf_counter() - self._began) * 1000, 3)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went."""

    state: State
    rows: int = 0
    truncated: bool = False
    error_code: str | None = None


class Recording:
    """Writes executions down. Names of erased persons are not written."""

    def __init__(self, database: Database, clock: Clock, keys: KeyRing) -> None:
        self._database = database
        self._clock = clock
        self._keys = keys

    def begin(self, execution: UUID, tenant: UUID, caller: Principal, app_slug: str, lookup: Lookup) -> Run:
        return Run(execution, tenant, caller, app_slug, lookup, self._clock())

    def draft(self, run: Run, source: Source, bound: Bound) -> None:
        """Write the event as soon as whoever executes waits for something: it is in nobody's way then."""
        asyncio.get_running_loop().call_soon(self._draft, run, source, bound)

    def _draft(self, run: Run, source: Source, bound: Bound) -> None:
        with suppress(Exception):  # what fails will fail again, and be said, where it is to be recorded
            run.draft = self._told(run, (source, bound), _name(run))

    async def completed(self, run: Run, outcome: Outcome, source: Source, bound: Bound) -> None:
        """The row, and the usage of the tables that were read."""
        await self._write(run, outcome, (source, bound))

    async def failed(self, run: Run, error_code: str, rows: int) -> None:
        """`rows` were sent before."""
        await self._write(run, Outcome("failed", rows, error_code=error_code), None)

    async def cancelled(self, run: Run, rows: int) -> None:
        """To its end, although the request is being cancelled."""
        await asyncio.shield(self._write(run, Outcome("cancelled", rows, error_code="Cancelled"), None))

    async def _write(self, run: Run, outcome: Outcome, read: tuple[Source, Bound] | None) -> None:
        milliseconds, name = run.milliseconds, _name(run)
        digests = self._keys.digests(name, bound_to=erasure_context(run.tenant))
        written = self._written(run, outcome, read, name, milliseconds)
        pseudonym = await store.record_execution(self._database.api, run.tenant, digests, *written)
        if pseudonym is not None:
            written = self._written(run, outcome, read, pseudonym, milliseconds)
            await store.record_execution(self._database.api, run.tenant, (), *written)

    def _written(
        self, run: Run, outcome: Outcome, read: tuple[Source, Bound] | None, shown: str, milliseconds: float
    ) -> tuple[Execution, Event | None]:
        """The row, and the event where something was read."""
        row = _execution(run, outcome, shown, milliseconds)
        if read is None:
            return row, None
        draft = run.draft
        if draft is not None and shown == _name(run) and self._clock() - draft[-1] < _FRESH:
            return row, draft
        return row, self._told(run, read, shown)

    def _told(self, run: Run, read: tuple[Source, Bound], shown: str) -> Event:
        event = _event(run, read, shown)
        key = f"{run.tenant}:{event.connector.id}"
        return outbox_row(BI_QUERY_SCRAPED, event, key=key, at=self._clock())


def _name(run: Run) -> str:
    return run.caller.username or run.caller.subject


def _event(run: Run, read: tuple[Source, Bound], executed_by: str) -> BiQueryScraped:
    source, bound = read
    secret = run.runnable.secret
    return usage_record(
        source,
        bound,
        run.key,
        run.runnable.query.name,
        f"{run.app_slug}/{secret.key}" if secret else None,
        environment=run.caller.environment,
        executed_by=executed_by,
        executed_at=run.started_at,
    )


def _execution(run: Run, outcome: Outcome, executed_by: str, milliseconds: float) -> Execution:
    query, secret = run.runnable.query, run.runnable.secret
    return Execution(
        id=run.id,
        environment=run.caller.environment,
        app_id=run.runnable.app_id,
        query_id=query.id,
        query_version=query.version,
        secret_id=secret.id if secret else None,
        secret_version=secret.version if secret else None,
        executed_by=executed_by,
        actor_type=run.caller.actor_type,
        state=outcome.state,
        error_code=outcome.error_code,
        row_count=outcome.rows,
        truncated=outcome.truncated,
        milliseconds=milliseconds,
        started_at=run.started_at,
    )
