"""Signatures that were refused, told as audit events: the first of each minute and source one by one, then a count."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.events import AuditRecorded
from libs.common.failures import describe
from libs.common.ids import uuid7
from libs.common.outbox import enqueue
from libs.common.settings import Environment
from libs.common.topics import AUDIT_RECORDED
from services.gateway.ingress.signatures import Kind, Reason

WINDOW_SECONDS: Final = 60.0
TOLD_AT_ONCE: Final = 5
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Address:
    """Whose source it was that somebody failed to reach."""

    tenant: UUID
    id: UUID
    name: str
    kind: Kind
    environment: Environment


@dataclass(slots=True)
class _Window:
    """A minute of one source: how many were told one by one, and how many wait to be told as a count."""

    address: Address
    ends: float
    told: int = 0
    waiting: Counter[Reason] = field(default_factory=Counter)


class Rejections:
    """Bounded by the number of sources, however many requests come: five events a minute and one for each reason."""

    def __init__(self, database: Database, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._windows: dict[UUID, _Window] = {}

    async def note(self, address: Address, reason: Reason) -> None:
        """Tell it, or count it. Never raises: whoever is refused hears that, and nothing of our troubles."""
        window = self._windows.get(address.id)
        if window is None:
            window = self._windows[address.id] = _Window(address, self._monotonic() + WINDOW_SECONDS)
        if window.told >= TOLD_AT_ONCE:
            window.waiting[reason] += 1
            return
        window.told += 1
        try:
            await self._tell(address, {reason: 1})
        except Exception as error:
            window.waiting[reason] += 1
            _log.warning("a refused webhook cannot be told now", error=describe(error))

    async def flush(self, *, all_windows: bool = False) -> None:
        """Tell the counts of minutes that are over, and forget them; raises what the database raises."""
        now = self._monotonic()
        for source, window in list(self._windows.items()):
            if all_windows or window.ends <= now:
                waiting, window.waiting = window.waiting, Counter()
                try:
                    await self._tell(window.address, waiting)
                except BaseException:
                    window.waiting.update(waiting)
                    raise
                if not window.waiting:
                    self._windows.pop(source, None)

    async def _tell(self, address: Address, counts: dict[Reason, int]) -> None:
        if not counts:
            return
        now = self._clock()
        async with self._database.work() as connection:
            for reason, count in counts.items():
                resource = {"name": address.name, "kind": address.kind, "reason": reason, "count": count}
                event = AuditRecorded(
                    tenant=address.tenant,
                    event_id=uuid7(now),
                    occurred_at=now,
                    environment=address.environment,
                    action="REJECT",
                    event_type="WEBHOOK_SOURCE_REJECT",
                    resource_type="webhook_source",
                    resource_id=str(address.id),
                    current_resource=resource,
                )
                await enqueue(connection, AUDIT_RECORDED, event, key=str(address.id), at=now)
        _log.warning("webhook refused", source=str(address.id), tenant=str(address.tenant), reasons=dict(counts))
