"""Where a collecting service goes on reading: a cursor per connector and part, and from when on anything counts.

The tables are `<prefix>_cursor (tenant_id, connector_id, part, position jsonb)` and
`<prefix>_origin (tenant_id, connector_id, read_since)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.common.db import Connection

# Opaque to everybody but the module that made it; one per part of what is read by increments.
Position = Mapping[str, Any]
Cursor = Mapping[str, Position]


@dataclass(frozen=True, slots=True)
class Places:
    """Statements on one service's places; `prefix` is code, never input."""

    prefix: str

    async def origin(self, connection: Connection, tenant: UUID, connector_id: UUID, first: datetime) -> datetime:
        """From when on the connector's executions count: `first` when it is asked for the first time, then fixed.

        Nothing is kept of a deleted connector; a deletion waits for the transaction.
        """
        await connection.execute(
            f"""INSERT INTO {self.prefix}_origin (tenant_id, connector_id, read_since)
            SELECT tenant_id, id, $3::timestamptz FROM connector
            WHERE tenant_id = $1 AND id = $2 AND NOT deleted FOR SHARE
            ON CONFLICT DO NOTHING""",  # noqa: S608 (a name of our own)
            tenant,
            connector_id,
            first,
        )
        fixed: datetime | None = await connection.fetchval(
            f"SELECT read_since FROM {self.prefix}_origin WHERE tenant_id = $1 AND connector_id = $2",  # noqa: S608
            tenant,
            connector_id,
        )
        return fixed or first

    async def cursor(self, connection: Connection, tenant: UUID, connector_id: UUID) -> Cursor:
        """Where reading goes on, by part."""
        found = await connection.fetch(
            f"SELECT part, position::text FROM {self.prefix}_cursor WHERE tenant_id = $1 AND connector_id = $2",  # noqa: S608
            tenant,
            connector_id,
        )
        return {row["part"]: orjson.loads(row["position"]) for row in found}

    async def move(
        self, connection: Connection, tenant: UUID, connector_id: UUID, moved: Mapping[str, Position | None]
    ) -> None:
        """Keep the parts that moved, forget those that are gone; nothing is kept where the connector was deleted.

        A deletion waits for the job's row, which the caller has changed before.
        """
        for part, position in moved.items():
            if position is None:
                await self._forget_part(connection, tenant, connector_id, part)
                continue
            await connection.execute(
                f"""INSERT INTO {self.prefix}_cursor (tenant_id, connector_id, part, position)
                SELECT $1, $2, $3, $4::jsonb
                WHERE EXISTS (SELECT FROM connector WHERE tenant_id = $1 AND id = $2 AND NOT deleted)
                ON CONFLICT (tenant_id, connector_id, part) DO UPDATE SET position = EXCLUDED.position""",  # noqa: S608
                tenant,
                connector_id,
                part,
                orjson.dumps(position).decode(),
            )

    async def _forget_part(self, connection: Connection, tenant: UUID, connector_id: UUID, part: str) -> None:
        await connection.execute(
            f"DELETE FROM {self.prefix}_cursor WHERE tenant_id = $1 AND connector_id = $2 AND part = $3",  # noqa: S608
            tenant,
            connector_id,
            part,
        )

    async def forget(self, connection: Connection, tenant: UUID, connector_id: UUID) -> None:
        """Drop where reading stood."""
        for table in (f"{self.prefix}_cursor", f"{self.prefix}_origin"):
            await connection.execute(
                f"DELETE FROM {table} WHERE tenant_id = $1 AND connector_id = $2",  # noqa: S608
                tenant,
                connector_id,
            )
