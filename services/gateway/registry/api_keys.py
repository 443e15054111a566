"""API keys: made, listed and revoked by a tenant's staff."""

import secrets
from dataclasses import dataclass, replace
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Database
from libs.common.erasure import ErasedNames
from libs.common.errors import Conflict, NotFound
from services.gateway.domain import ANSWER_KEPT, Position, grantable, hash_of, written_key
from services.gateway.registry.ids import new_id
from services.gateway.registry.living import require_living, require_staff
from services.gateway.registry.models import CreateApiKey
from services.gateway.store import api_keys as store
from services.gateway.store.api_keys import ApiKey


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Use cases of `/api-keys`."""

    database: Database
    clock: Clock
    erased: ErasedNames

    async def create(self, caller: Principal, body: CreateApiKey, key: str | None) -> tuple[ApiKey, str]:
        """A new key and how it is written; only a hash of its secret is stored."""
        tenant = require_staff(caller)
        secret = secrets.token_urlsafe(32)
        now = self.clock()
        api_key = ApiKey(
            tenant_id=tenant,
            id=new_id(caller, "POST /api-keys", key),
            name=body.name,
            environment=body.environment or caller.environment,
            roles=sorted(grantable(body.roles, caller.roles)),
            secret_hash=hash_of(secret),
            created_by=caller.subject,
            created_at=now,
            last_used_at=None,
            revoked_at=None,
        )
        async with self.database.change(caller, now) as connection:
            await require_living(connection, tenant)
            erased = await self.erased.pseudonyms(connection, [(tenant, caller.subject)])
            api_key = replace(api_key, created_by=erased.get((tenant, caller.subject), caller.subject))
            if not await store.upsert_api_key(connection, api_key, now - ANSWER_KEPT):
                raise Conflict("This Idempotency-Key has made an API key before; its secret cannot be read again.")
        return api_key, written_key(api_key.id, secret)

    async def page(self, caller: Principal, after: Position | None, limit: int) -> list[ApiKey]:
        """Revoked ones too."""
        tenant = require_staff(caller)
        async with self.database.tenant(tenant) as connection:
            return await store.list_api_keys(connection, tenant, after, limit)

    async def revoke(self, caller: Principal, key_id: UUID) -> None:
        """Final, and fine to repeat. Every gateway refuses the key within seconds."""
        tenant, now = require_staff(caller), self.clock()
        async with self.database.change(caller, now) as connection:
            if not await store.revoke_api_key(connection, tenant, key_id, now):
                raise NotFound("There is no such API key.")
