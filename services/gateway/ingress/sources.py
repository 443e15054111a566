"""Webhook sources by their address: looked up, opened, and believed for a few seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from libs.common.db import Database
from libs.common.errors import NotFound, TooManyRequests, Unavailable
from libs.common.remembered import Remembered
from libs.common.sealed import CannotOpen, KeyRing
from services.gateway.ingress.mapping import SourceMapping
from services.gateway.ingress.rejections import Address
from services.gateway.registry.webhook_sources import secret_context
from services.gateway.store import webhook_sources as store
from services.gateway.store.webhook_sources import WebhookSource

# Bounds how late another gateway's change of a source takes effect here, and how often nonsense reaches the database.
BELIEVED: Final = 10.0
ABSENT_BELIEVED: Final = 5.0
# Whoever makes addresses up gets no further: those that are known pass by.
MOST_LOOKUPS: Final = 50
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A source with its secrets open. `uri` is what its events name as their source."""

    address: Address
    enabled: bool
    signed_only: bool
    mapping: SourceMapping
    secret: str = field(repr=False)
    old_secret: str | None = field(repr=False)
    old_secret_until: datetime | None

    @property
    def uri(self) -> str:
        """The source of its events."""
        return f"/webhooks/{self.address.kind}/{self.address.id}"

    def secrets(self, now: datetime) -> list[str]:
        """Those that are valid: one, or two during a rotation."""
        if self.old_secret is None or (self.old_secret_until is not None and self.old_secret_until <= now):
            return [self.secret]
        return [self.secret, self.old_secret]


class KnownSources:
    """All tenants' sources."""

    def __init__(self, database: Database, ring: KeyRing, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._ring = ring
        self._known = Remembered[UUID, KnownSource](monotonic)
        self._absent = Remembered[UUID, bool](monotonic)
        self._looking = 0

    async def find(self, source_id: UUID) -> KnownSource:
        """Raises NotFound, TooManyRequests, or Unavailable where a secret cannot be opened: then nobody is let in."""
        known = self._known.get(source_id)
        if known is not None:
            return known
        row = None if self._absent.get(source_id) else await self._look(source_id)
        if row is None:
            self._absent.put(source_id, True, ABSENT_BELIEVED)
            raise NotFound("There is no such webhook source.")
        known = self._opened(row)
        self._known.put(source_id, known, BELIEVED)
        return known

    async def _look(self, source_id: UUID) -> WebhookSource | None:
        if self._looking >= MOST_LOOKUPS:
            raise TooManyRequests("Too many webhooks at addresses that are not known yet; send this again.")
        self._looking += 1
        try:
            return await store.webhook_source_of_address(self._database.worker, source_id)
        finally:
            self._looking -= 1

    def forget(self, source_id: UUID) -> None:
        """Believe nothing of a source that was changed here."""
        self._known.forget(source_id)
        self._absent.forget(source_id)

    def _opened(self, row: WebhookSource) -> KnownSource:
        try:
            secret = self._open(row, row.sealed_secret)
            old_secret = self._open(row, row.sealed_old_secret) if row.sealed_old_secret else None
        except CannotOpen as error:
            _log.error("a webhook source's secret cannot be opened", source=str(row.id), error=str(error))
            raise Unavailable("This source's secret cannot be read; nothing is accepted.", retry_after=60) from None
        return KnownSource(
            address=Address(row.tenant_id, row.id, row.name, row.kind, row.environment),
            enabled=row.enabled,
            signed_only=row.signed_only,
            mapping=SourceMapping.model_validate_json(row.mapping),
            secret=secret,
            old_secret=old_secret,
            old_secret_until=row.old_secret_until,
        )

    def _open(self, row: WebhookSource, sealed: str) -> str:
        return self._ring.open(sealed, bound_to=secret_context(row.tenant_id, row.id)).decode()
