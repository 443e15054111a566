"""Schedules of connectors: kept from `connector.changed`, read by a tick of each replica, which starts what is due.

A migration of each service that starts jobs by the clock holds `DDL`. A schedule says when; what became of it lives
in a table of its own, which the audit does not look at. A replica that starts a job holds the row until the job is
there, others pass it over; a job's id follows from its connector and the moment for which it is due, so that one
which was started by a replica that died is not started again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Counter

from libs.common.clock import Clock
from libs.common.cron import BadSchedule, Cron
from libs.common.db import Connection, Database
from libs.common.events import ConnectorChanged
from libs.common.failures import describe

DDL: Final = """\
CREATE TABLE connector_schedule (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    cron text NOT NULL,
    timezone text NOT NULL,
    PRIMARY KEY (tenant_id, connector_id)
);
SELECT tidemark.protect('connector_schedule');

CREATE TABLE schedule_run (
    tenant_id uuid NOT NULL,
    connector_id uuid NOT NULL,
    next_run_at timestamptz NOT NULL,
    due_at timestamptz,
    job_id uuid,
    failures integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, connector_id),
    FOREIGN KEY (tenant_id, connector_id) REFERENCES connector_schedule (tenant_id, connector_id) ON DELETE CASCADE
);
CREATE INDEX schedule_run_due ON schedule_run (next_run_at);
SELECT tidemark.protect('schedule_run');
"""
TICK: Final = timedelta(minutes=1)
_FIRST_PAUSE: Final = timedelta(minutes=5)
# Less than a day, so that a daily schedule keeps its day, also where clocks go forward.
_LONGEST_PAUSE: Final = timedelta(hours=23)

_KEEP: Final = """
INSERT INTO connector_schedule AS old (tenant_id, connector_id, cron, timezone) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, connector_id) DO UPDATE SET cron = EXCLUDED.cron, timezone = EXCLUDED.timezone
WHERE (old.cron, old.timezone) <> (EXCLUDED.cron, EXCLUDED.timezone)
RETURNING true"""
_PLAN: Final = """
INSERT INTO schedule_run (tenant_id, connector_id, next_run_at) VALUES ($1, $2, $3)
ON CONFLICT (tenant_id, connector_id) DO UPDATE SET next_run_at = EXCLUDED.next_run_at, failures = 0
WHERE $4 OR schedule_run.failures > 0"""
_DROP: Final = "DELETE FROM connector_schedule WHERE tenant_id = $1 AND connector_id = $2"
_ROW: Final = """
SELECT r.tenant_id, r.connector_id, s.cron, s.timezone, r.next_run_at, r.due_at, r.job_id, r.failures
FROM schedule_run r JOIN connector_schedule s ON (s.tenant_id, s.connector_id) = (r.tenant_id, r.connector_id)"""
_DUE: Final = f"{_ROW} WHERE r.next_run_at <= $1 ORDER BY r.next_run_at LIMIT 1 FOR UPDATE OF r SKIP LOCKED"
_FIND: Final = f"{_ROW} WHERE r.tenant_id = $1 AND r.connector_id = $2"
_LOCK: Final = f"{_FIND} FOR UPDATE OF r SKIP LOCKED"
_NOTE: Final = """
UPDATE schedule_run SET next_run_at = $3, due_at = $4, job_id = $5, failures = $6
WHERE tenant_id = $1 AND connector_id = $2"""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Planned:
    """A connector's schedule and how it stands. `job_id` and `due_at` are of the last job that it started."""

    tenant_id: UUID
    connector_id: UUID
    cron: str
    timezone: str
    next_run_at: datetime
    due_at: datetime | None
    job_id: UUID | None
    failures: int

    def after(self, moment: datetime) -> datetime:
        """The first run after a moment."""
        return Cron(self.cron, self.timezone).next_after(moment)


def pause(failures: int) -> timedelta:
    """How long a connector rests after so many failures in a row: 5 minutes, twice as long each time, to a day."""
    return min(_FIRST_PAUSE * (1 << min(failures - 1, 16)), _LONGEST_PAUSE)


def after_failure(planned: Planned, failures: int, due: datetime, now: datetime) -> datetime:
    """The next run of a connector that has failed: its next one that lies behind the pause."""
    return planned.after(max(now, due + pause(failures) - timedelta(microseconds=1)))


def job_id_of(planned: Planned) -> UUID:
    """The id of the job that is due."""
    return uuid5(planned.connector_id, f"schedule {planned.next_run_at.isoformat()}")


# Starts a job of a tenant's connector under an id, once; False where another job of the connector is not over yet.
StartJob = Callable[[UUID, UUID, UUID], Awaitable[bool]]


class Schedules:
    """The schedules of one service, in its own schema."""

    def __init__(self, database: Database, clock: Clock, types: frozenset[str], registry: CollectorRegistry) -> None:
        """`types`: of the connectors whose schedules are this service's."""
        self._database = database
        self._clock = clock
        self._types = types
        self._started = Counter(
            "tidemark_scheduled_jobs",
            "Jobs that schedules had to start, by what became of it.",
            ("outcome",),
            registry=registry,
        )

    async def keep(self, connection: Connection, change: ConnectorChanged) -> None:
        """Take over the schedule of a changed connector, in the transaction that notes the change."""
        schedule = change.schedule
        if change.deleted or schedule is None or change.type not in self._types:
            await connection.execute(_DROP, change.tenant, change.id)
            return
        try:
            next_run = Cron(schedule.cron, schedule.timezone).next_after(self._clock())
        except BadSchedule as error:
            await self._drop(connection, change.tenant, change.id, error)
            return
        changed = await connection.fetchval(_KEEP, change.tenant, change.id, schedule.cron, schedule.timezone)
        # Whatever was changed may be what a failing connector wanted: it need not wait any longer.
        await connection.execute(_PLAN, change.tenant, change.id, next_run, bool(changed))

    async def find(self, connection: Connection, tenant: UUID, connector_id: UUID) -> Planned | None:
        """How a connector's schedule stands; None where it has none."""
        row = await connection.fetchrow(_FIND, tenant, connector_id)
        return _planned(row) if row else None

    async def start_due(self, start: StartJob) -> int:
        """Start a job for each schedule that is due, once however long ago that was; number of schedules."""
        now, looked_at = self._clock(), 0
        while await self._start_one(start, now):
            looked_at += 1
        return looked_at

    async def _start_one(self, start: StartJob, now: datetime) -> bool:
        async with self._database.work() as connection:
            row = await connection.fetchrow(_DUE, now)
            if row is None:
                return False
            planned = _planned(row)
            try:
                await _note(connection, await self._outcome(start, planned, now))
            except BadSchedule as error:
                await self._drop(connection, planned.tenant_id, planned.connector_id, error)
        return True

    async def _drop(self, connection: Connection, tenant: UUID, connector_id: UUID, error: BadSchedule) -> None:
        """The gateway checked it: another version of the time zones, say. No reason to hold up all others."""
        _log.error("schedule cannot be kept", tenant=str(tenant), connector=str(connector_id), error=str(error))
        await connection.execute(_DROP, tenant, connector_id)

    async def _outcome(self, start: StartJob, planned: Planned, now: datetime) -> Planned:
        """How a due schedule stands after the attempt to start its job."""
        job_id, due = job_id_of(planned), planned.next_run_at
        try:
            started = await start(planned.tenant_id, planned.connector_id, job_id)
        except Exception as error:
            _log.warning("scheduled job not started", connector=str(planned.connector_id), error=describe(error))
            self._started.labels("failed").inc()
            failures = planned.failures + 1
            following = after_failure(planned, failures, due, now)
            return replace(planned, next_run_at=following, failures=failures)
        self._started.labels("started" if started else "skipped").inc()
        following = planned.after(now)
        if not started:
            return replace(planned, next_run_at=following)
        return replace(planned, next_run_at=following, due_at=due, job_id=job_id)

    async def job_over(
        self, connection: Connection, tenant: UUID, connector_id: UUID, job_id: UUID, *, failed: bool
    ) -> None:
        """A job of a connector is over, in the transaction that notes it. Only failures of scheduled ones count; any
        success ends the pauses.

        A row that another replica holds is passed over: it may be starting the next job, and wait for this very end.
        """
        row = await connection.fetchrow(_LOCK, tenant, connector_id)
        planned, now = _planned(row) if row else None, self._clock()
        if planned is None:
            return
        if failed and planned.job_id == job_id:
            failures = planned.failures + 1
            following = after_failure(planned, failures, planned.due_at or now, now)
            await _note(connection, replace(planned, next_run_at=following, failures=failures))
        elif not failed and planned.failures:
            await _note(connection, replace(planned, next_run_at=planned.after(now), failures=0))


def _planned(row: asyncpg.Record) -> Planned:
    return Planned(**dict(row))


async def _note(connection: Connection, planned: Planned) -> None:
    await connection.execute(
        _NOTE,
        planned.tenant_id,
        planned.connector_id,
        planned.next_run_at,
        planned.due_at,
        planned.job_id,
        planned.failures,
    )
