"""A service's own copy of the connectors: kept by `connector.changed`, waited for where a request is ahead of it.

A migration of each service that keeps one holds `DDL`. A deletion stays as a row, so that an older change that
arrives late cannot bring the connector back; it drops the sealed settings.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast
from uuid import UUID

from libs.common.connectors import SETTINGS_MODELS, AnySettings, settings_context
from libs.common.db import Connection, Database
from libs.common.errors import NotFound, Unavailable
from libs.common.events import ConnectorChanged, ConnectorRef
from libs.common.records import Record
from libs.common.sealed import KeyRing
from libs.common.settings import Environment

DDL: Final = """\
CREATE TABLE connector (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    name text,
    type text,
    environment text NOT NULL,
    counts_executions boolean NOT NULL,
    sealed_settings text,
    deleted boolean NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
SELECT tidemark.protect('connector');
"""

_WAIT_SECONDS = 5.0
_POLL_SECONDS = 0.05

_UPSERT = """
INSERT INTO connector AS old
    (tenant_id, id, version, name, type, environment, counts_executions, sealed_settings, deleted)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tenant_id, id) DO UPDATE SET
    version = EXCLUDED.version, name = coalesce(EXCLUDED.name, old.name), type = coalesce(EXCLUDED.type, old.type),
    environment = EXCLUDED.environment, counts_executions = EXCLUDED.counts_executions,
    sealed_settings = EXCLUDED.sealed_settings, deleted = EXCLUDED.deleted
WHERE old.version < EXCLUDED.version
RETURNING true"""
_FIND = """
SELECT tenant_id, id, version, name, type, environment, counts_executions, deleted, sealed_settings
FROM connector WHERE tenant_id = $1 AND id = $2"""


class ConnectorNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such connector.")


@dataclass(frozen=True, slots=True)
class Connector:
    """A connector as the service last heard of it."""

    tenant: UUID
    id: UUID
    version: int
    name: str
    type: str
    environment: Environment
    counts_executions: bool
    deleted: bool
    sealed_settings: str | None = field(repr=False)

    @property
    def reference(self) -> ConnectorRef:
        """As events carry it."""
        return ConnectorRef(id=self.id, type=self.type, name=self.name)

    def open_settings(self, keys: KeyRing) -> AnySettings:
        """The settings with their secrets. Raises CannotOpen, or ValueError where the type is not known here."""
        model = SETTINGS_MODELS.get(self.type)
        if model is None or self.sealed_settings is None:
            raise ValueError(f"connectors of type {self.type} have no settings here")
        return model.model_validate_json(
            keys.open(self.sealed_settings, bound_to=settings_context(self.tenant, self.id))
        )


async def store_change(connection: Connection, change: ConnectorChanged) -> bool:
    """Apply a change unless a newer one is known; whether it was applied."""
    applied = await connection.fetchval(
        _UPSERT,
        change.tenant,
        change.id,
        change.version,
        change.name,
        change.type,
        change.environment,
        change.counts_executions,
        change.sealed_settings,
        change.deleted,
    )
    return bool(applied)


async def find_connector(connection: Connection, tenant: UUID, connector_id: UUID) -> Connector | None:
    """The copy, deleted ones included."""
    row = await connection.fetchrow(_FIND, tenant, connector_id)
    if row is None:
        return None
    return Connector(
        tenant=row["tenant_id"],
        id=row["id"],
        version=row["version"],
        name=row["name"] or "",
        type=row["type"] or "",
        environment=cast(Environment, row["environment"]),
        counts_executions=row["counts_executions"],
        deleted=row["deleted"],
        sealed_settings=row["sealed_settings"],
    )


async def await_connector(database: Database, tenant: UUID, connector_id: UUID, version: int | None) -> Connector:
    """The copy once it has at least `version`, which the gateway saw. Raises ConnectorNotFound, or 503 after 5 s."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        async with database.tenant(tenant) as connection:
            found = await find_connector(connection, tenant, connector_id)
        if found and found.version >= (version or 1):
            if found.deleted:
                raise ConnectorNotFound
            return found
        if version is None:
            raise ConnectorNotFound
        if time.monotonic() > deadline:
            raise Unavailable("The connector is not known to this service yet; try again.")
        await asyncio.sleep(_POLL_SECONDS)


OnChanged = Callable[[Connection, ConnectorChanged], Awaitable[None]]


async def _keep(_connection: Connection, _change: ConnectorChanged) -> None:
    """Nothing beside the copy hangs on a connector."""


def on_connector_changed(
    database: Database, on_deleted: OnChanged = _keep, on_changed: OnChanged = _keep
) -> Callable[[Sequence[Record[ConnectorChanged]]], Awaitable[None]]:
    """Handler of `connector.changed`. In the transaction that applies a change, `on_changed` runs for each, a deletion
    included, and `on_deleted` for a deletion."""

    async def handle(records: Sequence[Record[ConnectorChanged]]) -> None:
        async with database.work() as connection:
            for record in records:
                if await store_change(connection, record.event):
                    await on_changed(connection, record.event)
                    if record.event.deleted:
                        await on_deleted(connection, record.event)

    return handle
