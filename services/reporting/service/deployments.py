"""Use cases of requests about deployments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.db import Connection, Database
from libs.common.errors import Conflict, Unprocessable
from libs.common.event_rules import Refused
from libs.common.events import DeploymentRecorded
from services.reporting.arrivals import state_of
from services.reporting.domain import FINISHED, NEXT, Status, allowed
from services.reporting.rows import State
from services.reporting.service.recording import Recording
from services.reporting.store import deployments as store
from services.reporting.store import locks, parked, refs
from services.reporting.store.deployments import Deployment, Filter, StoredState
from services.reporting.store.parked import Parked
from services.reporting.store.states import Placed


@dataclass(frozen=True, slots=True)
class Recorded:
    """A deployment as it is now, and whether it is a new one."""

    deployment: Deployment
    is_new: bool


@dataclass(frozen=True, slots=True)
class WithStates:
    """A deployment and all that was told of it, the newest first."""

    deployment: Deployment
    states: Sequence[StoredState]


class Deployments:
    """What is told through the API goes the way of events, but is refused where an event would be parked."""

    def __init__(self, database: Database, clock: Clock, recording: Recording) -> None:
        self._database = database
        self._clock = clock
        self._recording = recording

    def now(self) -> datetime:
        return self._clock()

    async def record(self, caller: Principal, event: DeploymentRecorded, known_by: UUID) -> Recorded:
        """Store one state. Raises Refused; 422 where component or environment is unknown."""
        tenant, now = caller.require_tenant(), self._clock()
        state = state_of(event, known_by, now)
        async with self._database.change(caller, now) as connection:
            await locks.hold_tenant(connection, tenant)
            before = await store.find(connection, tenant, event.deployment_id)
            if await self._recording.apply(connection, [state], now):
                raise await _unknown_place(connection, state, event)
            return Recorded(await store.get(connection, tenant, event.deployment_id), before is None)

    async def get(self, tenant: UUID, deployment: UUID) -> WithStates:
        async with self._database.tenant(tenant) as connection:
            found = await store.get(connection, tenant, deployment)
            return WithStates(found, await store.states(connection, tenant, deployment))

    async def page(
        self, tenant: UUID, only: Filter, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[Deployment]:
        async with self._database.tenant(tenant) as connection:
            return await store.page(connection, tenant, only, after, limit)

    async def parked(self, tenant: UUID, after: tuple[datetime, UUID] | None, limit: int) -> list[Parked]:
        async with self._database.tenant(tenant) as connection:
            return await parked.page(connection, tenant, after, limit)

    async def change(
        self, caller: Principal, deployment: UUID, facts: Mapping[str, Any], sequence: int | None
    ) -> Deployment:
        """Add the next state. Raises Refused; 409 where it cannot follow, or `sequence` is not the current one."""
        tenant, now = caller.require_tenant(), self._clock()
        async with self._database.change(caller, now) as connection:
            await locks.hold_tenant(connection, tenant)
            current = await store.get(connection, tenant, deployment)
            _check_next(current, facts.get("status", current.status), sequence)
            if all(getattr(current, name) == value for name, value in facts.items()):
                return current
            state = state_of(_next_event(tenant, current, facts, now), uuid4(), now)
            placed = Placed(state, current.component_id, current.environment_id)
            (told,) = await self._recording.renamed(connection, [state])
            await self._recording.store(connection, [placed._replace(state=told)], now)
            return await store.get(connection, tenant, deployment)


def _check_next(current: Deployment, wanted: Status, sequence: int | None) -> None:
    if sequence not in (None, current.sequence):
        raise Conflict(
            f"sequence: it is {current.sequence} by now; read the deployment again.",
            sequence=current.sequence,
            current=current.status,
        )
    if not allowed(current.status, wanted):
        following = NEXT[current.status]
        raise Conflict(
            f"status: a deployment that is {current.status} can become {' or '.join(following) or 'nothing else'}.",
            current=current.status,
            allowed=following,
        )


def _next_event(tenant: UUID, current: Deployment, facts: Mapping[str, Any], now: datetime) -> DeploymentRecorded:
    """What is new, as an event behind all that was told so far. Raises Refused."""
    status: Status = facts.get("status", current.status)
    told = {**_times(current, status, now), **facts}
    started = told.get("started_at") or current.started_at
    finished = told.get("finished_at") or (current.finished_at if status not in ("PENDING", "IN_PROGRESS") else None)
    if started and finished and finished < started:
        raise Refused("finished_at" if "finished_at" in facts else "started_at", "the end is before the start")
    return DeploymentRecorded.model_validate(
        {
            "tenant": tenant,
            "deployment_id": current.id,
            "component_id": current.component_id,
            "environment_id": current.environment_id,
            "status": status,
            "recorded_at": max(now, current.recorded_at),
            "sequence": current.sequence + 1,
            "source": current.source,
            **told,
        }
    )


def _times(current: Deployment, status: Status, now: datetime) -> dict[str, datetime]:
    """What nobody tells of a change that is made through the API: it happens now."""
    if status == current.status:
        return {}
    if status == "IN_PROGRESS" and current.started_at is None:
        return {"started_at": now}
    return {"finished_at": now} if status in FINISHED else {}


async def _unknown_place(connection: Connection, state: State, event: DeploymentRecorded) -> Unprocessable:
    """Names what is unknown of a place, as the request named it."""
    errors = []
    kinds: tuple[tuple[refs.Kind, str, bool], ...] = (
        ("component", state.component_ref, event.component_id is not None),
        ("environment", state.environment_ref, event.environment_id is not None),
    )
    for kind, ref, by_id in kinds:
        if not await refs.find(connection, kind, {(state.tenant_id, ref)}):
            message = f"no {kind} is called so; make it with POST /api/v1/{kind}s"
            errors.append({"field": f"{kind}Id" if by_id else f"{kind}Ref", "message": message})
    detail = "; ".join(f"{each['field']}: {each['message']}" for each in errors)
    return Unprocessable(detail, errors=errors)
