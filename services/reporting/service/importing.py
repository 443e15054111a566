"""Use case of imports: a Backstage file becomes components, each document for itself."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Connection, Database
from libs.common.errors import Conflict, Unprocessable
from libs.common.event_rules import Refused, check_json
from services.reporting.backstage import Described, NotAccepted, NotReadable, OtherKind, described, documents, named
from services.reporting.domain import folded
from services.reporting.service.catalogue import Catalogue
from services.reporting.service.recording import Recording
from services.reporting.store import entries, locks, refs
from services.reporting.store.entries import COMPONENTS, Component

Outcome = Literal["created", "updated", "unchanged", "skipped", "refused"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one document."""

    document: int
    kind: str | None
    name: str | None
    outcome: Outcome
    component_id: UUID | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    documents: Sequence[Imported]
    created: int
    updated: int
    unchanged: int
    skipped: int
    refused: int


class Importing:
    """A component is found again by its namespace and name, whatever else its document says by now."""

    def __init__(self, database: Database, clock: Clock, catalogue: Catalogue[Component], recording: Recording) -> None:
        self._database = database
        self._clock = clock
        self._catalogue = catalogue
        self._recording = recording

    async def take(self, caller: Principal, file: bytes) -> Report:
        """Each document is a transaction. 422 where the file cannot be read."""
        try:
            found = await asyncio.to_thread(documents, file)
        except NotReadable as error:
            raise Unprocessable(f"body: {error}.", errors=[{"field": "body", "message": str(error)}]) from None
        told = [(place, each) for place, each in enumerate(found, 1) if each is not None]
        done = [await self._document(caller, place, each) for place, each in told]
        await self._recording.unpark(caller.require_tenant())
        counts = Counter(each.outcome for each in done)
        return Report(
            done, counts["created"], counts["updated"], counts["unchanged"], counts["skipped"], counts["refused"]
        )

    async def _document(self, caller: Principal, place: int, document: Any) -> Imported:
        kind, name = named(document)
        try:
            wanted = described(document)
            check_json("metadata.annotations", wanted.metadata)
            outcome, component, without = await self._store(caller, wanted)
        except OtherKind as error:
            return Imported(place, kind, name, "skipped", reason=str(error))
        except (NotAccepted, Refused) as error:
            return Imported(place, kind, name, "refused", reason=str(error))
        except Conflict as error:
            return Imported(place, kind, name, "refused", reason=error.detail)
        reason = f"other components are called {', '.join(without)} already" if without else None
        return Imported(place, kind, name, outcome, component, reason)

    async def _store(self, caller: Principal, wanted: Described) -> tuple[Outcome, UUID, list[str]]:
        tenant, now = caller.require_tenant(), self._clock()
        async with self._database.change(caller, now) as connection:
            await locks.hold_tenant(connection, tenant)
            known, free, taken = await self._names(connection, tenant, wanted)
            if known is not None:
                old = await entries.get(connection, COMPONENTS, tenant, known)
                changed = await self._catalogue.update(connection, tenant, old, _changes(old, wanted, free))
                return "updated" if changed.is_news else "unchanged", known, taken
            made = uuid4()
            component = Component(
                id=made, version=1, created_at=now, updated_at=now, name=wanted.name, refs=free, **_facts(wanted)
            )
            await self._catalogue.insert(connection, tenant, component)
            return "created", made, taken

    async def _names(
        self, connection: Connection, tenant: UUID, wanted: Described
    ) -> tuple[UUID | None, tuple[str, ...], list[str]]:
        """Whose document it is; its other names that are free, and those that are another's."""
        names = {(tenant, folded(each)) for each in (wanted.name, *wanted.refs)}
        owners = await refs.find(connection, "component", names)
        known = owners.get((tenant, wanted.identity)) or owners.get((tenant, folded(wanted.name)))
        free = [each for each in wanted.refs if owners.get((tenant, folded(each)), known) == known]
        return known, tuple(free), [each for each in wanted.refs if each not in free]


def _facts(wanted: Described) -> dict[str, Any]:
    return {
        "kind": wanted.kind,
        "lifecycle": wanted.lifecycle,
        "owner": wanted.owner or None,
        "description": wanted.description,
        "metadata": wanted.metadata,
    }


def _changes(old: Component, wanted: Described, free: Sequence[str]) -> Mapping[str, Any]:
    """What others wrote beside stays: further names, further metadata."""
    known = {folded(each) for each in old.refs}
    more = tuple(each for each in free if folded(each) not in known)
    return {
        **_facts(wanted),
        "name": wanted.name,
        "refs": (*old.refs, *more),
        "metadata": {**old.metadata, **wanted.metadata},
    }
