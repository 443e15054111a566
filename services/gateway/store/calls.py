"""Requests under an Idempotency-Key."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class CallId:
    """What a request under an Idempotency-Key is found by."""

    tenant_id: UUID
    route: str
    key: str


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A request under an Idempotency-Key; fingerprint and answer are sealed."""

    fingerprint: str
    run: UUID
    state: Literal["running", "answered"]
    lease_until: datetime
    created_at: datetime
    status: int | None
    answer: str | None = field(repr=False)


async def insert_call(
    connection: Connection, call: CallId, run: UUID, fingerprint: str, now: datetime, lease_until: datetime
) -> bool:
    """Whether the key is new; the call is then running as this run."""
    done = await connection.execute(
        "INSERT INTO idempotency_key (tenant_id, route, key, fingerprint, run, state, lease_until, created_at)"
        " VALUES ($1, $2, $3, $4, $7, 'running', $6, $5) ON CONFLICT DO NOTHING",
        *_of(call),
        fingerprint,
        now,
        lease_until,
        run,
    )
    return bool(done == "INSERT 0 1")


def _of(call: CallId) -> tuple[UUID, str, str]:
    return call.tenant_id, call.route, call.key


async def lock_call(connection: Connection, call: CallId) -> StoredCall | None:
    row = await connection.fetchrow(
        "SELECT fingerprint, run, state, lease_until, created_at, status, answer FROM idempotency_key"
        " WHERE tenant_id = $1 AND route = $2 AND key = $3 FOR UPDATE",
        *_of(call),
    )
    return StoredCall(**cast(dict[str, Any], dict(row))) if row else None


async def rerun_call(
    connection: Connection, call: CallId, run: UUID, fingerprint: str, now: datetime, lease_until: datetime
) -> None:
    """Take the call over; whoever ran it before is shut out by the run's new id."""
    await connection.execute(
        "UPDATE idempotency_key SET fingerprint = $4, run = $7, state = 'running', lease_until = $6,"
        " created_at = $5, status = NULL, answer = NULL"
        " WHERE tenant_id = $1 AND route = $2 AND key = $3",
        *_of(call),
        fingerprint,
        now,
        lease_until,
        run,
    )


async def renew_call(connection: Connection, call: CallId, run: UUID, lease_until: datetime) -> None:
    await connection.execute(
        "UPDATE idempotency_key SET lease_until = $5 WHERE tenant_id = $1 AND route = $2 AND key = $3 AND run = $4",
        *_of(call),
        run,
        lease_until,
    )


async def finish_call(connection: Connection, call: CallId, run: UUID, status: int, answer: str) -> None:
    await connection.execute(
        "UPDATE idempotency_key SET state = 'answered', status = $5, answer = $6"
        " WHERE tenant_id = $1 AND route = $2 AND key = $3 AND run = $4",
        *_of(call),
        run,
        status,
        answer,
    )


async def forget_call(connection: Connection, call: CallId, run: UUID) -> None:
    await connection.execute(
        "DELETE FROM idempotency_key WHERE tenant_id = $1 AND route = $2 AND key = $3 AND run = $4", *_of(call), run
    )


async def answers_behind(
    connection: Connection, tenant: UUID, after: tuple[str, str], limit: int
) -> list[tuple[CallId, int, str]]:
    """Stored answers of a tenant with their status, sealed, in the order of route and key."""
    found = await connection.fetch(
        "SELECT route, key, status, answer FROM idempotency_key"
        " WHERE tenant_id = $1 AND state = 'answered' AND (route, key) > ($2, $3) ORDER BY route, key LIMIT $4",
        tenant,
        *after,
        limit,
    )
    return [(CallId(tenant, row["route"], row["key"]), row["status"], row["answer"]) for row in found]


async def drop_call(connection: Connection, call: CallId) -> None:
    """Whoever ran it."""
    await connection.execute("DELETE FROM idempotency_key WHERE tenant_id = $1 AND route = $2 AND key = $3", *_of(call))


async def prune_calls(connection: Connection, created_before: datetime) -> None:
    """Of all tenants."""
    await connection.execute("DELETE FROM idempotency_key WHERE created_at < $1", created_before)
