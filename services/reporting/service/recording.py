"""Use cases of the consumers: store states of deployments and audit events. Each call may run twice."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from libs.common.clock import Clock
from libs.common.db import Connection, Database
from libs.common.erasure import ErasedNames, Person
from services.reporting.domain import renamed, texts
from services.reporting.rows import AuditEvent, State
from services.reporting.store import audit, locks, parked, refs, states
from services.reporting.store.refs import Kind, Ref
from services.reporting.store.states import Key, Placed

_AT_ONCE: Final = 1_000
_SLICE_SECONDS: Final = 2.0


class Recording:
    """What happened. What a deployment is follows from all its states, so their order of arrival is no matter."""

    def __init__(self, database: Database, clock: Clock, erased: ErasedNames, parked_kept: timedelta) -> None:
        """`parked_kept`: how long a state waits for its component and environment."""
        self._database = database
        self._clock = clock
        self._erased = erased
        self._parked_kept = parked_kept

    async def take(self, arrived: Sequence[State]) -> None:
        """Store states; what has no place yet is parked."""
        now = self._clock()
        async with self._database.work() as connection:
            await locks.hold_tenants(connection, {each.tenant_id for each in arrived})
            homeless = await self.apply(connection, arrived, now)
            known = await states.known(connection, homeless)
            if waiting := [each for each in homeless if each.event_id not in known]:
                await parked.park(connection, waiting, now)

    async def apply(self, connection: Connection, arrived: Sequence[State], now: datetime) -> list[State]:
        """Store those whose places are known, and the others back. The caller holds the tenants."""
        told = await self.renamed(connection, arrived)
        placed, homeless = await self._placed(connection, told)
        if placed:
            await self.store(connection, placed, now)
        return homeless

    async def store(self, connection: Connection, placed: Sequence[Placed], now: datetime) -> None:
        """Store states of known places, and what follows from them. The caller holds the tenants."""
        touched = await states.insert(connection, placed, now)
        if not touched:
            return
        changed = {Key(each.tenant_id, each.deployment_id) for each in touched if each.deployment_id is not None}
        changed |= await states.resolve_rollbacks(connection, touched)
        await states.fold(connection, changed, now)

    async def _placed(self, connection: Connection, told: Sequence[State]) -> tuple[list[Placed], list[State]]:
        async def find(kind: Kind, wanted: set[Ref]) -> dict[Ref, UUID]:
            return dict(await refs.find(connection, kind, wanted))

        components = await find("component", {(each.tenant_id, each.component_ref) for each in told})
        environments = await find("environment", {(each.tenant_id, each.environment_ref) for each in told})
        placed, homeless = list[Placed](), list[State]()
        for each in told:
            component = components.get((each.tenant_id, each.component_ref))
            environment = environments.get((each.tenant_id, each.environment_ref))
            if component is None or environment is None:
                homeless.append(each)
            else:
                placed.append(Placed(each, component, environment))
        return placed, homeless

    async def forgetting(self, connection: Connection, tenant: UUID, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values in which a person who is erased stands under the pseudonym."""
        people = {(tenant, text) for text in texts(values)}
        return dict(renamed(values, _of(await self._erased.pseudonyms(connection, people), tenant)))

    async def renamed(self, connection: Connection, told: Sequence[State]) -> Sequence[State]:
        """States in which persons who are erased stand under their pseudonyms."""
        people: set[Person] = {(each.tenant_id, each.deployed_by) for each in told if each.deployed_by}
        people |= {(each.tenant_id, text) for each in told for text in texts(each.metadata)}
        names = await self._erased.pseudonyms(connection, people)
        if not names:
            return told
        return [_renamed_state(each, _of(names, each.tenant_id)) for each in told]

    async def take_audit(self, events: Sequence[AuditEvent]) -> None:
        """Store audit events."""
        async with self._database.work() as connection:
            await self.note(connection, events, self._clock())

    async def note(self, connection: Connection, events: Sequence[AuditEvent], now: datetime) -> None:
        """Store audit events, under pseudonyms where persons are erased."""
        people: set[Person] = set()
        for each in events:
            named = {each.actor_id, each.actor_username} | texts(each.previous_resource) | texts(each.current_resource)
            people |= {(each.tenant_id, name) for name in named if name}
        names = await self._erased.pseudonyms(connection, people)
        told = [_renamed_audit(each, _of(names, each.tenant_id)) for each in events] if names else events
        # In one order, so that two batches with the same events do not wait for each other.
        await audit.insert(connection, sorted(told, key=lambda each: (each.tenant_id, each.id)), now)

    async def unpark(self, tenant: UUID) -> int:
        """Store what waited for a place that is known by now, for some seconds; how many. Goes on at the next call."""
        done, until = 0, time.monotonic() + _SLICE_SECONDS
        while count := await self._unpark_some(tenant):
            done += count
            if time.monotonic() > until:
                break
        return done

    async def _unpark_some(self, tenant: UUID) -> int:
        async with self._database.work() as connection:
            await locks.hold_tenant(connection, tenant)
            due = await parked.due(connection, tenant, _AT_ONCE)
            await self.apply(connection, due, self._clock())
            await parked.unpark(connection, tenant, [each.event_id for each in due])
            return len(due)

    async def unpark_all(self) -> None:
        """The same for all tenants: for what a process that stopped left undone."""
        async with self._database.work() as connection:
            tenants = await parked.due_tenants(connection)
        for tenant in tenants:
            await self.unpark(tenant)

    async def forget_parked(self) -> None:
        """Give up what waited for too long."""
        async with self._database.work() as connection:
            await parked.forget(connection, self._clock() - self._parked_kept, _AT_ONCE)


def _of(names: dict[Person, str], tenant: UUID) -> dict[str, str]:
    return {name: pseudonym for (owner, name), pseudonym in names.items() if owner == tenant}


def _renamed_state(state: State, names: dict[str, str]) -> State:
    deployed_by = names.get(state.deployed_by, state.deployed_by) if state.deployed_by else None
    return replace(state, deployed_by=deployed_by, metadata=renamed(state.metadata, names))


def _renamed_audit(event: AuditEvent, names: dict[str, str]) -> AuditEvent:
    return replace(
        event,
        actor_id=renamed(event.actor_id, names),
        actor_username=renamed(event.actor_username, names),
        previous_resource=renamed(event.previous_resource, names),
        current_resource=renamed(event.current_resource, names),
    )
