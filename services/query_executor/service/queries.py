"""Use cases of saved queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Connection, Database
from libs.common.erasure import ErasedNames
from libs.common.errors import NotFound
from services.query_executor.domain import RESERVED_QUERY_SLUGS, ConnectionType, free_slug
from services.query_executor.errors import invalid
from services.query_executor.preparation import Checked, aside, check, check_call
from services.query_executor.service.sources import Sources
from services.query_executor.store import apps as apps_store
from services.query_executor.store import executions as executions_store
from services.query_executor.store import queries as store
from services.query_executor.store import secrets as secrets_store
from services.query_executor.store.executions import Execution
from services.query_executor.store.queries import Query, Version


@dataclass(frozen=True, slots=True)
class NewQuery:
    name: str
    description: str | None
    connection_type: ConnectionType
    secret_key: str | None
    query_text: str
    tags: tuple[str, ...]
    parameters: tuple[dict[str, Any], ...]


class Checkable(Protocol):
    """What of a query decides whether it may be saved."""

    @property
    def connection_type(self) -> ConnectionType: ...
    @property
    def secret_key(self) -> str | None: ...
    @property
    def query_text(self) -> str: ...
    @property
    def parameters(self) -> Sequence[Mapping[str, Any]]: ...


def check_connection(connection_type: ConnectionType, secret_key: str | None) -> None:
    """External queries have a secret, internal ones none."""
    if connection_type == "external" and secret_key is None:
        raise invalid("secret_key", "This field is required for external queries.")
    if connection_type == "internal" and secret_key is not None:
        raise invalid("secret_key", "Must be null for internal queries; send `secret_key: null` to switch.")


class Queries:
    """Templates that are saved once they are proved."""

    def __init__(self, database: Database, clock: Clock, sources: Sources, erased: ErasedNames) -> None:
        self._database = database
        self._erased = erased
        self._clock = clock
        self._sources = sources

    async def create(self, caller: Principal, app_slug: str, query_id: UUID, new: NewQuery) -> Query:
        """The new query, or the one that the same request made before."""
        tenant, now = caller.require_tenant(), self._clock()
        draft = Query(
            query_id, "", new.name, new.description, new.tags, 1, new.connection_type, new.secret_key, new.query_text,
            new.parameters, now, now,
        )  # fmt: skip
        async with self._database.change(caller, now) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            await self._check(connection, tenant, app.id, draft)
            while True:
                taken = await store.query_slugs(connection, tenant, app.id) | RESERVED_QUERY_SLUGS
                query = replace(draft, slug=free_slug(new.name, "query", taken))
                if await store.insert_query(connection, tenant, app.id, query):
                    await store.insert_version(connection, tenant, query, await self._name(connection, tenant, caller))
                    return query
                known = await store.find_query(connection, tenant, query_id)
                if known is not None:
                    return known

    async def _name(self, connection: Connection, tenant: UUID, caller: Principal) -> str:
        """Of who writes a version; a pseudonym where the person is erased."""
        person = (tenant, caller.username or caller.subject)
        return (await self._erased.pseudonyms(connection, [person])).get(person, person[1])

    async def _check(
        self, connection: Connection, tenant: UUID, app: UUID, query: Checkable, params: Mapping[str, Any] | None = None
    ) -> Checked:
        check_connection(query.connection_type, query.secret_key)
        key, secret, has_type = query.secret_key, None, False
        if key is not None:
            secret = await secrets_store.find_secret(connection, tenant, app, key)
            has_type = secret is not None and await apps_store.has_type(connection, tenant, secret.type_slug)
        source = self._sources.of(tenant, query.connection_type, secret, has_type=has_type)
        policy = await self._sources.policy(source)

        def work() -> Checked:
            checked = check(query.query_text, source.engine, policy, query.parameters)
            if params is not None:
                check_call(checked, query.parameters, params, policy)
            return checked

        return await aside(query.query_text, work)

    async def validate(
        self, tenant: UUID, app_slug: str, query: Checkable, params: Mapping[str, Any] | None
    ) -> Checked:
        """What saving would check, and with `params` what a call would; nothing is saved, nothing reaches a server."""
        async with self._database.tenant(tenant) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            return await self._check(connection, tenant, app.id, query, params)

    async def versions(self, tenant: UUID, app_slug: str, slug: str) -> list[Version]:
        """What a query said since when, the newest first."""
        async with self._database.tenant(tenant) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            query = _found(await store.query_by_slug(connection, tenant, app.id, slug))
            return await store.list_versions(connection, tenant, query.id)

    async def get(self, tenant: UUID, app_slug: str, slug: str) -> Query:
        async with self._database.tenant(tenant) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            return _found(await store.query_by_slug(connection, tenant, app.id, slug))

    async def all(self, tenant: UUID, app_slug: str, tag: str | None) -> list[Query]:
        async with self._database.tenant(tenant) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            return await store.list_queries(connection, tenant, app.id, tag)

    async def change(self, caller: Principal, app_slug: str, slug: str, changes: Mapping[str, Any]) -> Query:
        """What is named changes; the slug stays. What a server would see otherwise is a new version."""
        tenant, now = caller.require_tenant(), self._clock()
        async with self._database.change(caller, now) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            old = _found(await store.query_by_slug(connection, tenant, app.id, slug, lock=True))
            new: Query = replace(old, **changes, updated_at=now)
            if not new.runs_as(old):
                await self._check(connection, tenant, app.id, new)
                new = replace(new, version=old.version + 1)
                await store.insert_version(connection, tenant, new, await self._name(connection, tenant, caller))
            await store.update_query(connection, tenant, new)
            return new

    async def delete(self, caller: Principal, app_slug: str, slug: str) -> None:
        """Its executions stay on record."""
        tenant = caller.require_tenant()
        async with self._database.change(caller, self._clock()) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            if not await store.delete_query(connection, tenant, app.id, slug):
                raise _not_found()

    async def executions(
        self, tenant: UUID, app_slug: str, slug: str, before: tuple[datetime, UUID] | None, limit: int
    ) -> tuple[list[Execution], int]:
        """What was run of a query, the newest first, and how often it was run in all."""
        async with self._database.tenant(tenant) as connection:
            app = await apps_store.app_by_slug(connection, tenant, app_slug)
            query = _found(await store.query_by_slug(connection, tenant, app.id, slug))
            found = await executions_store.list_executions(connection, tenant, query.id, before, limit)
            return found, await executions_store.count_executions(connection, tenant, query.id)


def _not_found() -> NotFound:
    return NotFound("Query not found")


def _found(query: Query | None) -> Query:
    if query is None:
        raise _not_found()
    return query
