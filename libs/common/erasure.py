"""Persons who must be forgotten: which names of a tenant are erased, and what stands for each.

A migration of each service that stores names holds `DDL`. A name itself is kept, sealed, only until all rows that
hold it are rewritten. What stays is a digest under the sealing keys: it recognises the name in records that arrive
later (late logs, replays), and tells nothing to whoever has no key. A key that sealed nothing else any more must
stay in the ring as long as erasures made under it are to hold.

Whoever writes names asks `pseudonyms` in the same transaction; noting an erasure waits for those transactions.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.consume import Consumers
from libs.common.db import Connection, Database
from libs.common.events import UserErased
from libs.common.failures import describe
from libs.common.records import InvalidRecord, Record
from libs.common.sealed import CannotOpen, KeyRing
from libs.common.tenants import Tenants
from libs.common.topics import USER_ERASED

DDL: Final = """\
CREATE TABLE erased_name (
    tenant_id uuid NOT NULL,
    digest bytea NOT NULL,
    pseudonym text NOT NULL,
    sealed_name text,
    erased_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, digest),
    CONSTRAINT erased_name_pseudonym_taken UNIQUE (tenant_id, pseudonym)
);
CREATE INDEX erased_name_to_rewrite ON erased_name (erased_at) WHERE sealed_name IS NOT NULL;
SELECT tidemark.protect('erased_name');
"""
PREFIX: Final = "erased:"
_log = structlog.get_logger()
# The longer ones are for two names of a tenant whose shorter ones are the same.
_LENGTHS: Final = (8, 16, 64)

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ':erasure:' || $1::uuid::text, 0))"
_SHARE: Final = """
SELECT pg_advisory_xact_lock_shared(k) FROM (
    SELECT DISTINCT hashtextextended(current_schema() || ':erasure:' || t::text, 0) AS k
    FROM unnest($1::uuid[]) AS t ORDER BY k) AS keys"""
_TENANTS: Final = "SELECT DISTINCT tenant_id FROM erased_name WHERE tenant_id = ANY($1::uuid[])"
_FIND: Final = """
SELECT e.tenant_id, e.digest, e.pseudonym FROM unnest($1::uuid[], $2::bytea[]) AS w (tenant_id, digest)
JOIN erased_name e ON e.tenant_id = w.tenant_id AND e.digest = w.digest"""
_INSERT: Final = """
INSERT INTO erased_name (tenant_id, digest, pseudonym, sealed_name, erased_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT ON CONSTRAINT erased_name_pseudonym_taken DO NOTHING RETURNING true"""
_AGAIN: Final = "UPDATE erased_name SET sealed_name = $3 WHERE tenant_id = $1 AND digest = $2"
_PENDING: Final = """
SELECT tenant_id, digest, pseudonym, sealed_name FROM erased_name WHERE sealed_name IS NOT NULL ORDER BY erased_at"""
_FINISHED: Final = "UPDATE erased_name SET sealed_name = NULL WHERE tenant_id = $1 AND digest = $2"


def context(tenant: UUID) -> str:
    """What a sealed name is bound to."""
    return f"erasure:{tenant}"


@dataclass(frozen=True, slots=True)
class Erasure:
    """A name that rows may still hold, and what is to stand there."""

    tenant: UUID
    digest: bytes
    name: str = field(repr=False)
    pseudonym: str


# Tenant and name.
Person = tuple[UUID, str]


def _opened(keys: KeyRing, tenant: UUID, sealed: str) -> str:
    return keys.open(sealed, bound_to=context(tenant)).decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class ErasedNames:
    """The erased names of the connection's schema."""

    keys: KeyRing

    def sealed(self, tenant: UUID, name: str) -> str:
        """A name as `user.erased` carries it."""
        return self.keys.seal(name.encode("utf-8", "surrogatepass"), bound_to=context(tenant))

    async def enter(self, connection: Connection, tenant: UUID, name: str, now: datetime) -> str:
        """Note that a name is erased, where its rows are rewritten at once; what stands for it, each time the same."""
        return await self._enter(connection, tenant, name, now)

    async def note(self, connection: Connection, event: UserErased, now: datetime) -> None:
        """Take over an erasure with the pseudonym that it names; its rows are pending. Raises CannotOpen."""
        name = _opened(self.keys, event.tenant, event.sealed_name)
        await self._enter(connection, event.tenant, name, now, sealed=event.sealed_name, wanted=event.pseudonym)

    async def _enter(
        self,
        connection: Connection,
        tenant: UUID,
        name: str,
        now: datetime,
        *,
        sealed: str | None = None,
        wanted: str | None = None,
    ) -> str:
        await connection.execute(_LOCK, tenant)
        digests = self.keys.digests(name, bound_to=context(tenant))
        known = await connection.fetchrow(_FIND, [tenant] * len(digests), digests)
        if known:
            await connection.execute(_AGAIN, tenant, known["digest"], sealed)
            return str(known["pseudonym"])
        made = [PREFIX + digests[0].hex()[:length] for length in _LENGTHS]
        for pseudonym in [wanted, *made] if wanted else made:
            if await connection.fetchval(_INSERT, tenant, digests[0], pseudonym, sealed, now):
                return pseudonym
        raise AssertionError("all of a digest is taken by another digest")

    async def among(self, connection: Connection, tenants: Iterable[UUID]) -> set[UUID]:
        """Those of these tenants that have erased names. New erasures wait for the transaction's end."""
        wanted = sorted(set(tenants))
        if not wanted:
            return set()
        await connection.execute(_SHARE, wanted)
        return {row["tenant_id"] for row in await connection.fetch(_TENANTS, wanted)}

    async def pseudonyms(self, connection: Connection, people: Iterable[Person]) -> dict[Person, str]:
        """What stands for those of these names that are erased. New erasures wait for the transaction's end."""
        wanted = set(people)
        touched = await self.among(connection, (tenant for tenant, _ in wanted))
        by_digest = {
            (tenant, digest): (tenant, name)
            for tenant, name in wanted
            if tenant in touched
            for digest in self.keys.digests(name, bound_to=context(tenant))
        }
        if not by_digest:
            return {}
        ids, digests = zip(*by_digest, strict=True)
        found: Sequence[asyncpg.Record] = await connection.fetch(_FIND, ids, digests)
        return {by_digest[row["tenant_id"], row["digest"]]: row["pseudonym"] for row in found}

    async def pending(self, connection: Connection) -> list[Erasure]:
        """Erasures of all tenants whose names rows may still hold."""
        found: list[Erasure] = []
        for row in await connection.fetch(_PENDING):
            try:
                name = _opened(self.keys, row["tenant_id"], row["sealed_name"])
            except CannotOpen as error:
                _log.error("an erased name cannot be opened", tenant=str(row["tenant_id"]), error=describe(error))
            else:
                found.append(Erasure(row["tenant_id"], row["digest"], name, row["pseudonym"]))
        return found

    async def finish(self, connection: Connection, erasure: Erasure) -> None:
        """No row holds the name any more: forget it."""
        await connection.execute(_FINISHED, erasure.tenant, erasure.digest)


class Erasing:
    """Notes erasures, and has their rows rewritten by a task that any replica may run and repeat."""

    def __init__(
        self, database: Database, clock: Clock, names: ErasedNames, rewrite: Callable[[Erasure], Awaitable[bool]]
    ) -> None:
        """`rewrite` puts the pseudonym into rows for a while; false where it wants to be called again."""
        self._database = database
        self._clock = clock
        self._names = names
        self._rewrite = rewrite

    def subscribe(self, consumers: Consumers, tenants: Tenants) -> None:
        """Read `user.erased`."""
        consumers.subscribe(USER_ERASED, UserErased, tenants.living(self._on_user_erased))

    async def _on_user_erased(self, records: Sequence[Record[UserErased]]) -> None:
        for position, record in enumerate(records):
            try:
                await self.follow(record.event)
            except CannotOpen:
                raise InvalidRecord(position, "sealed_name: cannot be opened with the keys of this service") from None

    async def follow(self, event: UserErased) -> None:
        """From now on the name is not written any more. Raises CannotOpen."""
        async with self._database.work() as connection:
            await self._names.note(connection, event, self._clock())

    async def rewrite_pending(self) -> int:
        """Go on with what is pending; number of erasures that are done now."""
        async with self._database.work() as connection:
            pending = await self._names.pending(connection)
        return sum([await self._finish(erasure) for erasure in pending])

    async def _finish(self, erasure: Erasure) -> bool:
        if not await self._rewrite(erasure):
            return False
        async with self._database.work() as connection:
            await self._names.finish(connection, erasure)
        _log.info("person erased", tenant=str(erasure.tenant))
        return True
