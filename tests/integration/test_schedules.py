"""Schedules on a real database: kept, started once by many replicas, not piled up, rested after failures."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from libs.common.db import Database
from libs.common.events import ConnectorChanged, ScheduleRef
from libs.common.schedules import Planned, Schedules
from services.log_miner.app import build
from tests.support.mining import Client, following, fresh_warehouse, miner_settings, register, serving
from tests.support.platform import Platform
from tests.support.processes import eventually
from tests.support.servers import Servers

T0 = datetime(2026, 3, 18, 12, 10, tzinfo=UTC)
HOURLY = ScheduleRef(cron="0 * * * *", timezone="UTC")
HOUR = timedelta(hours=1)


@dataclass(eq=False)
class Replica:
    """A process's schedules, with a clock that the test moves, and what they started."""

    database: Database
    now: datetime = T0
    started: list[tuple[UUID, UUID]] = field(default_factory=list)
    answer: bool = True
    breaks: BaseException | None = None
    schedules: Schedules = field(init=False)

    def __post_init__(self) -> None:
        self.schedules = Schedules(self.database, lambda: self.now, frozenset({"postgres"}), CollectorRegistry())

    async def start(self, _tenant: UUID, connector: UUID, job: UUID) -> bool:
        await asyncio.sleep(0.002)
        self.started.append((connector, job))
        if self.breaks:
            raise self.breaks
        return self.answer

    async def tick(self, after: timedelta = timedelta(0)) -> int:
        self.now += after
        return await self.schedules.start_due(self.start)

    async def keep(
        self,
        tenant: UUID,
        connector: UUID,
        schedule: ScheduleRef | None = HOURLY,
        *,
        type: str | None = "postgres",
        deleted: bool = False,
    ) -> None:
        change = ConnectorChanged(tenant=tenant, id=connector, version=1, type=type, schedule=schedule, deleted=deleted)
        async with self.database.work() as connection:
            await self.schedules.keep(connection, change)

    async def over(self, tenant: UUID, connector: UUID, job: UUID, *, failed: bool) -> None:
        async with self.database.work() as connection:
            await self.schedules.job_over(connection, tenant, connector, job, failed=failed)

    async def planned(self, tenant: UUID, connector: UUID) -> Planned | None:
        async with self.database.tenant(tenant) as connection:
            return await self.schedules.find(connection, tenant, connector)

    async def state(self, tenant: UUID, connector: UUID) -> tuple[datetime, int]:
        planned = await self.planned(tenant, connector)
        assert planned
        return planned.next_run_at, planned.failures


@asynccontextmanager
async def replica_of(platform: Platform) -> AsyncIterator[Replica]:
    database = await Database.open(miner_settings(platform), "test")
    try:
        yield Replica(database)
    finally:
        await database.close()


@pytest.fixture
async def replica(platform: Platform) -> AsyncIterator[Replica]:
    connection = await asyncpg.connect(platform.worker_url("log_miner"))
    await connection.execute("DELETE FROM connector_schedule")
    await connection.close()
    async with replica_of(platform) as one:
        yield one


async def test_a_schedule_comes_and_goes_with_its_connector(replica: Replica) -> None:
    tenant, connector = uuid4(), uuid4()
    await replica.keep(tenant, connector)
    assert await replica.state(tenant, connector) == (T0 + timedelta(minutes=50), 0)
    assert await replica.planned(uuid4(), connector) is None

    replica.now += timedelta(minutes=55)
    await replica.keep(tenant, connector)  # something else of the connector was changed: the run stays due
    assert await replica.state(tenant, connector) == (T0 + timedelta(minutes=50), 0)
    await replica.keep(tenant, connector, ScheduleRef(cron="30 2 * * *", timezone="Europe/Berlin"))
    assert await replica.state(tenant, connector) == (datetime(2026, 3, 19, 1, 30, tzinfo=UTC), 0)
    for gone in ({"schedule": None}, {"type": "superset"}, {"type": None, "deleted": True, "schedule": None}):
        await replica.keep(tenant, connector)
        assert await replica.planned(tenant, connector) is not None
        await replica.keep(tenant, connector, **gone)
        assert await replica.planned(tenant, connector) is None
    await replica.keep(tenant, connector, ScheduleRef(cron="nonsense", timezone="UTC"))
    assert await replica.planned(tenant, connector) is None


async def test_missed_runs_are_one_run(replica: Replica) -> None:
    tenant, connector = uuid4(), uuid4()
    await replica.keep(tenant, connector)
    assert await replica.tick() == 0
    assert await replica.tick(timedelta(minutes=50)) == 1
    assert await replica.tick() == 0
    assert await replica.tick(timedelta(days=10, minutes=5)) == 1
    assert await replica.tick() == 0
    assert await replica.state(tenant, connector) == (replica.now.replace(minute=0) + HOUR, 0)
    assert len(set(replica.started)) == 2


async def test_a_connector_that_still_runs_is_passed_over(replica: Replica) -> None:
    tenant, connector = uuid4(), uuid4()
    await replica.keep(tenant, connector)
    await replica.tick(HOUR)
    running = await replica.planned(tenant, connector)
    replica.answer = False
    await replica.tick(HOUR)
    after = await replica.planned(tenant, connector)
    assert running
    assert after
    assert (after.job_id, after.due_at, after.failures) == (running.job_id, running.due_at, 0)
    assert after.next_run_at == running.next_run_at + HOUR


async def test_replicas_start_each_job_once(platform: Platform, replica: Replica) -> None:
    tenants = [uuid4() for _ in range(3)]
    connectors = {uuid4(): tenants[number % 3] for number in range(60)}
    for connector, tenant in connectors.items():
        await replica.keep(tenant, connector)
    async with replica_of(platform) as second, replica_of(platform) as third:
        replicas = [replica, second, third]
        for _ in range(5):
            await asyncio.gather(*(each.tick(HOUR) for each in replicas))
        started = Counter(pair for each in replicas for pair in each.started)
        shares = sorted(len(each.started) for each in replicas)
    print(f"SCHEDULES replicas=3 due=300 started={started.total()} twice={sum(n > 1 for n in started.values())}")
    assert Counter(connector for connector, _ in started) == Counter(dict.fromkeys(connectors, 5))
    assert set(started.values()) == {1}
    assert shares[0] > 0


async def test_a_job_started_by_a_replica_that_died_is_started_under_the_same_id(replica: Replica) -> None:
    tenant, connector = uuid4(), uuid4()
    await replica.keep(tenant, connector)
    replica.breaks = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await replica.tick(HOUR)
    replica.breaks = None
    assert await replica.tick() == 1
    assert (len(replica.started), len(set(replica.started))) == (2, 1)


async def test_what_cannot_be_started_rests_and_does_not_hold_up_others(replica: Replica) -> None:
    tenant, bad, good = uuid4(), uuid4(), uuid4()
    await replica.keep(tenant, bad, ScheduleRef(cron="*/5 * * * *", timezone="UTC"))
    await replica.keep(tenant, good)
    replica.breaks = ValueError("no")
    await replica.tick(timedelta(minutes=20))
    replica.breaks = None
    assert await replica.state(tenant, bad) == (replica.now + timedelta(minutes=5), 1)
    assert await replica.tick(timedelta(minutes=35)) == 2
    assert {connector for connector, _ in replica.started[1:]} == {bad, good}


async def test_failing_connectors_rest_until_one_succeeds(replica: Replica) -> None:
    tenant, connector = uuid4(), uuid4()
    await replica.keep(tenant, connector, ScheduleRef(cron="*/10 * * * *", timezone="UTC"))
    rests = []
    for _ in range(12):
        due, _ = await replica.state(tenant, connector)
        await replica.tick(due - replica.now)
        planned = await replica.planned(tenant, connector)
        assert planned
        assert planned.job_id
        await replica.over(tenant, connector, uuid4(), failed=True)  # somebody's own attempt counts for nothing
        await replica.over(tenant, connector, planned.job_id, failed=True)
        rests.append(((await replica.state(tenant, connector))[0] - due) // timedelta(minutes=10))
    print(f"BACKOFF rests={','.join(map(str, rests))} unit=10min")
    assert rests == [1, 1, 2, 4, 8, 16, 32, 64, 128, 138, 138, 138]
    assert (await replica.state(tenant, connector))[1] == 12

    await replica.over(tenant, connector, uuid4(), failed=False)  # by hand, say
    assert await replica.state(tenant, connector) == (replica.now + timedelta(minutes=10), 0)
    await replica.over(uuid4(), connector, uuid4(), failed=False)

    await replica.tick(timedelta(minutes=10))
    planned = await replica.planned(tenant, connector)
    assert planned
    assert planned.job_id
    replica.now += timedelta(minutes=1)
    await replica.over(tenant, connector, planned.job_id, failed=True)
    await replica.keep(tenant, connector, ScheduleRef(cron="*/10 * * * *", timezone="UTC"))
    assert (await replica.state(tenant, connector))[1] == 0, "whoever changes a connector wants to see it run"


async def test_the_end_of_a_job_does_not_wait_for_a_replica_that_starts_the_next(replica: Replica) -> None:
    tenant, connector = uuid4(), uuid4()
    await replica.keep(tenant, connector)

    async def start(tenant: UUID, connector: UUID, job: UUID) -> bool:
        await asyncio.wait_for(replica.over(tenant, connector, job, failed=True), 120)
        return True

    replica.now += HOUR
    assert await replica.schedules.start_due(start) == 1
    assert (await replica.state(tenant, connector))[1] == 0


async def test_a_log_is_mined_on_schedule(platform: Platform, servers: Servers, replica: Replica) -> None:
    tenant = uuid4()
    async with fresh_warehouse(servers.warehouse) as warehouse:
        good = await register(platform, tenant, warehouse.settings())
        bad = await register(platform, tenant, warehouse.settings(password="wrong"))
        plain = await register(platform, tenant, warehouse.settings())
        for connector in (good, bad):
            await replica.keep(tenant, connector)
        later = T0 + timedelta(hours=5)
        async with (
            following(platform),
            serving(build(miner_settings(platform), lambda: later)) as one,
            serving(build(miner_settings(platform), lambda: later)),
        ):
            client = Client(platform, one, tenant)

            async def state(connector: UUID) -> dict[str, object]:
                answer = await client("GET", f"/connectors/{connector}/schedule", connector=connector)
                assert answer.status == 200
                body: dict[str, object] = answer.body
                return body

            async def over() -> bool:
                jobs = [(await state(connector))["last_job"] for connector in (good, bad)]
                return all(isinstance(job, dict) and job["finished_at"] for job in jobs)

            await eventually(over)
            mined, failed, unscheduled = await state(good), await state(bad), await state(plain)
            jobs = (await client("GET", f"/connectors/{good}/mining-jobs", connector=good)).body["items"]
            stranger = Client(platform, one, uuid4())
            assert (await stranger("GET", f"/connectors/{good}/schedule")).status == 404
    assert mined["schedule"] == {"cron": "0 * * * *", "timezone": "UTC"}
    assert (mined["failures"], mined["next_run_at"]) == (0, "2026-03-18T18:00:00Z")
    assert [(job["state"], job["requested_by"]) for job in jobs] == [("completed", "schedule")]
    assert mined["last_job"] == jobs[0]
    assert (failed["failures"], failed["last_job"]["error"]["code"]) == (1, "wrong_password")  # type: ignore[index]
    nothing = {"schedule": None, "next_run_at": None, "failures": 0, "last_job": None}
    assert unscheduled == {"connector_id": str(plain), **nothing}
