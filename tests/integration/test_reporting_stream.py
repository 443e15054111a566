"""Any stream gives the same deployments, however it is shuffled, repeated, replayed and cut into batches."""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libs.common.events import DeploymentRecorded
from services.reporting.arrivals import state_of
from services.reporting.rows import State
from tests.integration.reporting_harness import NOON, Harness, deployed, replicas
from tests.support.platform import Platform

COMPONENTS, ENVIRONMENTS = ("shop", "web"), ("live", "test")
STATUSES = ("PENDING", "IN_PROGRESS", "SUCCEEDED", "FAILED", "ROLLED_BACK")
FINISHED = STATUSES[2:]


@dataclass(frozen=True)
class Told:
    """A state without its tenant."""

    deployment: int
    status: str
    minute: int
    sequence: int
    component: int
    environment: int
    started: int | None
    finished: int | None
    version: str | None
    rollback: bool
    rework: bool

    def event(self, tenant: UUID) -> DeploymentRecorded:
        def moment(minutes: int | None) -> Any:
            return None if minutes is None else NOON - timedelta(hours=2) + timedelta(minutes=minutes)

        return deployed(
            tenant,
            self.deployment,
            "ROLLED_BACK" if self.rollback else self.status,
            self.minute,
            sequence=self.sequence,
            component_ref=COMPONENTS[self.component],
            environment_ref=ENVIRONMENTS[self.environment],
            started_at=moment(self.started),
            finished_at=None if self.started is None or self.finished is None else moment(self.started + self.finished),
            version=self.version,
            rolls_back_current=self.rollback,
            is_rework=self.rework,
            metadata={"minute": self.minute} if self.rework else {},
        )


minutes = st.integers(0, 6)
told = st.builds(
    Told,
    deployment=st.integers(1, 4),
    status=st.sampled_from([*STATUSES, "SUCCEEDED", "SUCCEEDED"]),
    minute=minutes,
    sequence=st.integers(0, 1),
    component=st.sampled_from([0, 0, 0, 1]),
    environment=st.sampled_from([0, 0, 0, 1]),
    started=st.none() | minutes,
    finished=st.none() | minutes,
    version=st.sampled_from([None, "1", "2"]),
    rollback=st.sampled_from([False, False, True]),
    rework=st.booleans(),
)
streams = st.lists(told, min_size=1, max_size=14)


def batches(events: Sequence[State], chance: random.Random) -> Iterator[list[State]]:
    """Cut anywhere."""
    rest = list(events)
    while rest:
        size = chance.randint(1, len(rest))
        yield rest[:size]
        rest = rest[size:]


@pytest.fixture(scope="module")
async def reporting(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (one,):
        yield one


@asynccontextmanager
async def tenant_of(reporting: Harness, names: Sequence[tuple[str, str]]) -> AsyncIterator[UUID]:
    tenant = uuid4()
    for kind, name in names:
        await reporting.named(kind, tenant, name)
    yield tenant


ALL_NAMES = [*(("component", name) for name in COMPONENTS), *(("environment", name) for name in ENVIRONMENTS)]


async def outcome(reporting: Harness, tenant: UUID) -> tuple[list[dict[str, Any]], int, int]:
    """Deployments with names for places, how many states, how many rollbacks without a deployment."""
    names = {
        row["id"]: row["name"]
        for kind in ("component", "environment")
        for row in await reporting.admin.fetch(f"SELECT id, name FROM reporting.{kind} WHERE tenant_id = $1", tenant)
    }
    found = [
        {name: names.get(value, value) for name, value in each.items()} for each in await reporting.deployments(tenant)
    ]
    open_rollbacks = await reporting.admin.fetchval(
        "SELECT count(*) FROM reporting.deployment_state WHERE tenant_id = $1 AND deployment_id IS NULL", tenant
    )
    return found, await reporting.count("deployment_state", tenant), open_rollbacks


def states_of(stream: Sequence[Told], tenant: UUID) -> list[State]:
    """Events' ids, which decide between what is else the same, are those of no tenant."""
    return [state_of(each.event(tenant), UUID(int=place), NOON) for place, each in enumerate(stream)]


async def in_order(reporting: Harness, stream: Sequence[Told]) -> tuple[list[dict[str, Any]], int, int]:
    """Each by itself, in the order of time, once."""
    async with tenant_of(reporting, ALL_NAMES) as tenant:
        states = states_of(stream, tenant)
        for state in sorted(states, key=lambda each: (each.recorded_at, each.sequence)):
            await reporting.recording.take([state])
        return await outcome(reporting, tenant)


@settings(
    max_examples=100,
    deadline=None,
    # Streams are short as they are, and each attempt to shorten one takes the database some time.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(stream=streams, seed=st.integers(0, 2**32))
async def test_order_repetition_and_batches_are_no_matter(reporting: Harness, stream: list[Told], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (a reproducible shuffle)
    expected = await in_order(reporting, stream)
    # Names that come late park what they are needed for.
    late = chance.sample(ALL_NAMES, chance.randint(0, len(ALL_NAMES)))
    async with tenant_of(reporting, [each for each in ALL_NAMES if each not in late]) as tenant:
        states = states_of(stream, tenant)
        arriving = states + chance.choices(states, k=len(states))
        chance.shuffle(arriving)
        for batch in [*batches(arriving, chance), *batches(states, chance)]:
            if late and chance.random() < 0.4:
                await reporting.named(*_named(late.pop(), tenant))
                await reporting.recording.unpark(tenant)
            await reporting.recording.take(batch)
        for each in late:
            await reporting.named(*_named(each, tenant))
        await reporting.recording.unpark(tenant)
        assert await outcome(reporting, tenant) == expected
        assert await reporting.count("parked_deployment", tenant) == 0


def _named(name: tuple[str, str], tenant: UUID) -> tuple[str, UUID, str]:
    return name[0], tenant, name[1]
