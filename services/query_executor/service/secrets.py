"""Use cases of secrets. A value goes in and never comes out again but to the server that it opens."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Connection as DbConnection
from libs.common.db import Database
from libs.common.egress import EgressPolicy, EgressRefused, HostNotFound
from libs.common.errors import Conflict, NotFound
from services.query_executor.drivers.pools import Drivers
from services.query_executor.errors import QueryValidationError, SecretTypeNotFound
from services.query_executor.secret_types import (
    Connection,
    PlainValue,
    SecretSettings,
    is_connection,
    parse_value,
)
from services.query_executor.store import apps as apps_store
from services.query_executor.store import secrets as store
from services.query_executor.store.secrets import Secret
from services.query_executor.vault import Vault

_LOOKUP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class NewSecret:
    key: str
    type_slug: str
    value: object
    description: str | None
    settings: SecretSettings


class Secrets:
    """Secrets of apps."""

    def __init__(self, database: Database, clock: Clock, vault: Vault, egress: EgressPolicy, drivers: Drivers) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault
        self._egress = egress
        self._drivers = drivers

    async def create(self, caller: Principal, app_slug: str, secret_id: UUID, new: NewSecret) -> Secret:
        """The new secret, or the one that the same request made before. 409 where the key is taken."""
        tenant = caller.require_tenant()
        async with self._database.tenant(tenant) as connection:
            await apps_store.app_by_slug(connection, tenant, app_slug)
            if not await apps_store.has_type(connection, tenant, new.type_slug):
                raise SecretTypeNotFound("type_slug")
        value = await self._checked(new.type_slug, new.value)
        now = self._clock()
        secret = Secret(
            id=secret_id,
            key=new.key,
            type_slug=new.type_slug,
            description=new.description,
            settings=new.settings.model_dump(mode="json", exclude_defaults=True),
            sealed_value=self._vault.sealed(tenant, secret_id, 1, value),
            version=1,
            created_at=now,
            updated_at=now,
        )
        async with self._database.change(caller, now) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            await store.insert_secret(connection, tenant, app.id, secret)
            return await self._found(connection, tenant, app.id, new.key)

    async def _checked(self, type_slug: str, value: object) -> Connection | PlainValue:
        """Fields, and whether the host may be dialled; it is looked at again when it is dialled."""
        checked = parse_value(type_slug, value)
        if isinstance(checked, Connection):
            try:
                await self._egress.address_of(*checked.target, timeout=_LOOKUP_SECONDS)
            except EgressRefused as refused:
                raise QueryValidationError(refused.detail, errors={"value.host": [refused.detail]}) from None
            except HostNotFound:  # may get its name later
                pass
        return checked

    async def _found(
        self, connection: DbConnection, tenant: UUID, app: UUID, key: str, *, lock: bool = False
    ) -> Secret:
        secret = await store.find_secret(connection, tenant, app, key, lock=lock)
        if secret is None:
            raise NotFound("Secret not found")
        return secret

    async def get(self, tenant: UUID, app_slug: str, key: str) -> Secret:
        async with self._database.tenant(tenant) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            return await self._found(connection, tenant, app.id, key)

    async def all(self, tenant: UUID, app_slug: str) -> list[Secret]:
        async with self._database.tenant(tenant) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            return await store.list_secrets(connection, tenant, app.id)

    async def change(self, caller: Principal, app_slug: str, key: str, changes: dict[str, Any]) -> Secret:
        """What is named changes; a new value is a new version. Fields of a connection that are omitted are kept.

        409 where two give it a new value at once.
        """
        tenant, now = caller.require_tenant(), self._clock()
        old = await self.get(tenant, app_slug, key)
        value = await self._checked(old.type_slug, self._merged(tenant, old, changes)) if "value" in changes else None
        async with self._database.change(caller, now) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            held = await self._found(connection, tenant, app.id, key, lock=True)
            if value is not None and (held.id, held.version) != (old.id, old.version):
                raise Conflict("The secret was changed at the same time; try again.")
            new = self._changed(tenant, held, value, changes, now)
            await store.update_secret(connection, tenant, new)
        return new

    def _merged(self, tenant: UUID, old: Secret, changes: dict[str, Any]) -> object:
        value, known = changes["value"], self._vault.raw(tenant, old)
        if not (is_connection(old.type_slug) and isinstance(value, dict) and isinstance(known, dict)):
            return value
        return {name: each for name, each in {**known, **value}.items() if each is not None}

    def _changed(
        self, tenant: UUID, old: Secret, value: Connection | PlainValue | None, changes: dict[str, Any], now: datetime
    ) -> Secret:
        new = replace(
            old,
            description=changes.get("description", old.description),
            settings=changes.get("settings", old.settings),
            updated_at=now,
        )
        if value is None and new.settings == old.settings:
            return new
        # Drivers live for a version: other settings need other connections too.
        version = old.version + 1
        sealed = value if value is not None else self._vault.opened(tenant, old)
        return replace(new, version=version, sealed_value=self._vault.sealed(tenant, old.id, version, sealed))

    async def delete(self, caller: Principal, app_slug: str, key: str) -> None:
        """Queries that run through it answer `Secret not found` from then on."""
        tenant = caller.require_tenant()
        async with self._database.change(caller, self._clock()) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            secret = await self._found(connection, tenant, app.id, key)
            await store.delete_secret(connection, tenant, secret.id)
        self._drivers.forget(secret.id)
