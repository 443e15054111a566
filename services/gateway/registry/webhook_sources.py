"""Webhook sources: made, changed, rotated and deleted by a tenant's staff. Secrets are sealed, and shown once."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.errors import Conflict, NotFound, Unprocessable
from libs.common.sealed import CannotOpen, KeyRing, encode
from services.gateway.domain import ANSWER_KEPT, Position
from services.gateway.ingress.mapping import SourceMapping
from services.gateway.ingress.signatures import SIGNING_PREFIX, Kind
from services.gateway.registry.living import require_living, require_staff
from services.gateway.registry.webhook_models import (
    ChangeWebhookSource,
    CreateWebhookSource,
    RotateWebhookSecret,
    check_signed_only,
)
from services.gateway.store import webhook_sources as store
from services.gateway.store.webhook_sources import WebhookSource

Changed = Callable[[UUID], None]


def secret_context(tenant: UUID, source: UUID) -> str:
    """What a source's sealed secrets are bound to."""
    return f"webhook_source:{tenant}:{source}"


def written_secret(kind: Kind, bits: bytes) -> str:
    """256 bits as the sender wants them: GitLab's signing tokens are written as Standard Webhooks says."""
    return SIGNING_PREFIX + base64.b64encode(bits).decode() if kind == "gitlab" else encode(bits)


@dataclass(frozen=True, slots=True)
class WebhookSources:
    """Use cases of `/webhook-sources`. `changed` hears of each source that is not as it was."""

    database: Database
    clock: Clock
    ring: KeyRing
    changed: Changed

    async def create(self, caller: Principal, body: CreateWebhookSource, key: str | None) -> tuple[WebhookSource, str]:
        """A new source and its secret. 409 for a name that is taken."""
        tenant, now = require_staff(caller), self.clock()
        source_id = self._new_id(caller, key)
        secret = body.secret.get_secret_value() if body.secret else written_secret(body.kind, secrets.token_bytes(32))
        source = WebhookSource(
            tenant_id=tenant,
            id=source_id,
            name=body.name,
            kind=body.kind,
            environment=body.environment or caller.environment,
            enabled=body.enabled,
            signed_only=body.signed_only,
            mapping=body.mapping.model_dump_json(),
            sealed_secret=self._seal(tenant, source_id, secret),
            sealed_old_secret=None,
            old_secret_until=None,
            version=1,
            created_at=now,
            updated_at=now,
        )
        try:
            async with self.database.change(caller, now) as connection:
                await require_living(connection, tenant)
                if not await store.insert_webhook_source(connection, source, now - ANSWER_KEPT):
                    raise Conflict("This Idempotency-Key has made a source before; its secret cannot be read again.")
        except asyncpg.UniqueViolationError:
            raise _taken(body.name) from None
        self.changed(source_id)
        return source, secret

    async def get(self, caller: Principal, source_id: UUID) -> WebhookSource:
        """404 for another tenant's."""
        tenant = require_staff(caller)
        async with self.database.tenant(tenant) as connection:
            return await _found(store.find_webhook_source(connection, tenant, source_id))

    async def page(self, caller: Principal, after: Position | None, limit: int) -> list[WebhookSource]:
        """In the order of creation."""
        tenant = require_staff(caller)
        async with self.database.tenant(tenant) as connection:
            return await store.list_webhook_sources(connection, tenant, after, limit)

    async def change(self, caller: Principal, source_id: UUID, body: ChangeWebhookSource) -> WebhookSource:
        """Change what is named; the version rises where anything differs."""
        given = {name: getattr(body, name) for name in ("name", "environment", "enabled", "signed_only")}
        wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

        def changed(old: WebhookSource) -> WebhookSource:
            try:
                check_signed_only(old.kind, body.signed_only)
            except ValueError as error:
                raise Unprocessable(str(error)) from None
            # As values: the database writes the same mapping otherwise.
            if body.mapping is not None and body.mapping != SourceMapping.model_validate_json(old.mapping):
                wanted["mapping"] = body.mapping.model_dump_json()
            return replace(old, **wanted)

        try:
            return await self._changed(caller, source_id, changed)
        except asyncpg.UniqueViolationError:
            raise _taken(body.name or "") from None

    async def rotate(
        self, caller: Principal, source_id: UUID, body: RotateWebhookSecret, key: str | None
    ) -> tuple[WebhookSource, str]:
        """A new secret. The one before is valid too, as long as is said; an older one no longer.

        The same secret again changes nothing, as under the same Idempotency-Key.
        """
        made: list[str] = []
        bits = self._digest(caller, f"rotate {source_id}\n{key}") if key else secrets.token_bytes(32)

        def rotated(old: WebhookSource) -> WebhookSource:
            made.append(body.secret.get_secret_value() if body.secret else written_secret(old.kind, bits))
            if self._open(old) == made[0]:
                return old
            kept = body.old_secret_until is None or body.old_secret_until > self.clock()
            return replace(
                old,
                sealed_secret=self._seal(old.tenant_id, old.id, made[0]),
                sealed_old_secret=old.sealed_secret if kept else None,
                old_secret_until=body.old_secret_until if kept else None,
            )

        return await self._changed(caller, source_id, rotated), made[0]

    async def revoke_old(self, caller: Principal, source_id: UUID) -> None:
        """Only the newest secret is valid from now on. Fine to repeat."""
        await self._changed(caller, source_id, lambda old: replace(old, sealed_old_secret=None, old_secret_until=None))

    async def delete(self, caller: Principal, source_id: UUID) -> None:
        """Its address answers 404 within seconds; what it has told stays."""
        tenant = require_staff(caller)
        async with self.database.change(caller, self.clock()) as connection:
            if not await store.delete_webhook_source(connection, tenant, source_id):
                raise _unknown()
        self.changed(source_id)

    async def _changed(
        self, caller: Principal, source_id: UUID, change: Callable[[WebhookSource], WebhookSource]
    ) -> WebhookSource:
        tenant, now = require_staff(caller), self.clock()
        async with self.database.change(caller, now) as connection:
            old = await _found(store.lock_webhook_source(connection, tenant, source_id))
            new = change(old)
            if new == old:
                return old
            new = replace(new, version=old.version + 1, updated_at=now)
            await store.update_webhook_source(connection, new)
        self.changed(source_id)
        return new

    def old_secret_is_valid(self, source: WebhookSource) -> bool:
        """Whether the secret before the last rotation opens the source too."""
        until = source.old_secret_until
        return source.sealed_old_secret is not None and (until is None or until > self.clock())

    def _new_id(self, caller: Principal, key: str | None) -> UUID:
        """One that nobody guesses, who knows a tenant and an Idempotency-Key: it is an address on the internet."""
        return UUID(bytes=self._digest(caller, f"create\n{key}")[:16], version=4) if key else uuid4()

    def _digest(self, caller: Principal, text: str) -> bytes:
        """256 bits, the same each time; nobody without the sealing keys can tell them from random ones."""
        return self.ring.digests(f"webhook_source {text}", bound_to=str(caller.require_tenant()))[0]

    def _open(self, source: WebhookSource) -> str | None:
        """The newest secret; None where no key opens it any more, which a rotation puts right."""
        try:
            context = secret_context(source.tenant_id, source.id)
            return self.ring.open(source.sealed_secret, bound_to=context).decode()
        except CannotOpen:
            return None

    def _seal(self, tenant: UUID, source_id: UUID, secret: str) -> str:
        return self.ring.seal(secret.encode(), bound_to=secret_context(tenant, source_id))


async def _found(finding: Any) -> WebhookSource:
    source: WebhookSource | None = await finding
    if source is None:
        raise _unknown()
    return source


def _unknown() -> NotFound:
    return NotFound("There is no such webhook source.")


def _taken(name: str) -> Conflict:
    return Conflict(f"A webhook source named {name!r} exists.")
