"""Use cases of requests about audit events."""

from datetime import datetime
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.errors import Forbidden
from libs.common.events import AuditRecorded
from services.reporting.arrivals import audit_event_of
from services.reporting.rows import AuditEvent
from services.reporting.service.recording import Recording
from services.reporting.store import audit as store
from services.reporting.store.audit import Filter

_MAY_APPEND = frozenset({"staff", "superuser", "publisher"})


class AuditEvents:
    """What was done, and what others tell of it. Nobody changes what is told."""

    def __init__(self, database: Database, clock: Clock, recording: Recording) -> None:
        self._database = database
        self._clock = clock
        self._recording = recording

    def now(self) -> datetime:
        return self._clock()

    async def append(self, caller: Principal, event: AuditRecorded) -> AuditEvent:
        """The event as it is stored, or the one of its id that was stored before. Raises Refused, Forbidden."""
        if not caller.roles & _MAY_APPEND:
            raise Forbidden("Telling audit events needs the role `publisher` or `staff`.")
        tenant, now = caller.require_tenant(), self._clock()
        told = audit_event_of(event, now)
        async with self._database.tenant(tenant) as connection:
            await self._recording.note(connection, [told], now)
            return await store.find(connection, tenant, told.id) or told

    async def page(
        self, tenant: UUID, only: Filter, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[AuditEvent]:
        async with self._database.tenant(tenant) as connection:
            return await store.page(connection, tenant, only, after, limit)
