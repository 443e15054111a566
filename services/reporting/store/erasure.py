"""Putting a pseudonym into the rows of a person, some at a time in the order of keys."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from libs.common.db import Connection
from libs.common.erasure import Erasure


@dataclass(frozen=True, slots=True)
class Table:
    """A table that holds names: its key, columns that are a name, columns of JSON in which one may stand."""

    name: str
    key: str
    names: tuple[str, ...]
    documents: tuple[str, ...]


# States before what is made of them.
TABLES: Final = (
    Table("parked_deployment", "event_id", (), ("state",)),
    Table("deployment_state", "event_id", ("deployed_by",), ("metadata",)),
    Table("deployment", "id", ("deployed_by",), ("metadata",)),
    Table("audit_event", "id", ("actor_id", "actor_username"), ("previous_resource", "current_resource")),
    Table("component", "id", ("owner",), ("metadata",)),
)


def _statement(table: Table) -> str:
    """In a document a name is a whole text: it stands there between quotes, as JSON writes it."""
    held = [f"{column} = $4" for column in table.names]
    held += [f"strpos({column}::text, to_jsonb($4::text)::text) > 0" for column in table.documents]
    changes = [f"{column} = CASE WHEN known.{column} = $4 THEN $5 ELSE known.{column} END" for column in table.names]
    changes += [
        f"{column} = replace(known.{column}::text, to_jsonb($4::text)::text, to_jsonb($5::text)::text)::jsonb"
        for column in table.documents
    ]
    return f"""
        WITH page AS MATERIALIZED (
            SELECT {table.key} AS id, {" OR ".join(held)} AS held FROM {table.name}
            WHERE tenant_id = $1 AND ($2::uuid IS NULL OR {table.key} > $2) ORDER BY {table.key} LIMIT $3
        ), changed AS (
            UPDATE {table.name} AS known SET {", ".join(changes)} FROM page
            WHERE known.tenant_id = $1 AND known.{table.key} = page.id AND page.held
            RETURNING known.{table.key}
        )
        SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) FROM (SELECT count(*) FROM changed) AS done"""  # noqa: S608


_STATEMENTS: Final = {table: _statement(table) for table in TABLES}


async def rewrite_page(
    connection: Connection, table: Table, erasure: Erasure, after: UUID | None, limit: int
) -> UUID | None:
    """Rewrite the next rows of a tenant behind a key; the last key looked at, None behind the end."""
    last: UUID | None = await connection.fetchval(
        _STATEMENTS[table], erasure.tenant, after, limit, erasure.name, erasure.pseudonym
    )
    return last
