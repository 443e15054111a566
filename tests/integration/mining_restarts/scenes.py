"""Jobs whose sending is interfered with, and what must have come of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID, uuid4

import pytest

from libs.common.collecting.job import CollectingJob
from libs.common.collecting.sending import Traced
from libs.common.events import BiQueryStored
from libs.common.jobs import JobRef, RetryLater
from services.log_miner.app import LogMiner
from services.log_miner.domain import MiningJob
from services.log_miner.mining import Mining
from services.log_miner.sending import Sender
from services.log_miner.warehouses import postgres_files
from tests.support.csvlog import logged
from tests.support.mining import (
    Ledger,
    Warehouse,
    caller,
    register,
)
from tests.support.platform import Platform
from tests.support.processes import eventually

STATEMENTS = 120
SECRET = "top-secret-4711"


@dataclass(frozen=True, slots=True)
class Scene:
    """A connector of a tenant of its own, whose log was read to its end before, and a job that nobody works on."""

    miner: LogMiner
    tenant: UUID
    connector: UUID
    job: UUID

    @property
    def ref(self) -> JobRef:
        return JobRef(self.tenant, self.job)

    async def state(self) -> MiningJob:
        return await self.miner.miner.jobs.find(caller(self.tenant, self.connector), self.job)

    def with_sender(self, hook: "Hook") -> Mining:
        """Runs of the job whose sending passes through `hook`."""
        sender = HookedSender(self.miner.database, self.miner.mining.sender.publisher, hook)
        return replace(self.miner.mining, sender=sender)

    async def another_job(self) -> "Scene":
        """A new job; the one before must be over."""
        job = await self.miner.miner.mine_connector(caller(self.tenant, self.connector), self.connector, uuid4())
        return replace(self, job=job.id)


Send = Callable[[Sequence[Traced]], Awaitable[None]]
Hook = Callable[[Sequence[Traced], Send], Awaitable[None]]


@dataclass(frozen=True)
class HookedSender(Sender):
    """The real sender with something that happens around each batch."""

    hook: Hook

    async def send(self, job: CollectingJob, records: Sequence[Traced]) -> None:
        real = Sender(self.database, self.publisher)
        await self.hook(records, lambda part: real.send(job, part))


class Crash(BaseException):
    """The process is gone: nothing after this is done, and no `except Exception` sees it."""


async def work(warehouse: Warehouse, user: str, count: int = STATEMENTS) -> None:
    connection = await warehouse.connect(user)
    for number in range(count):
        await connection.execute(f"SELECT {number}, '{SECRET}'")
    await connection.close()
    await logged(warehouse.url)


async def scene(platform: Platform, miner: LogMiner, warehouse: Warehouse) -> Scene:
    """What the log holds already is mined, so that the next job reads only what a test adds."""
    tenant = uuid4()
    connector = await register(platform, tenant, warehouse.settings())
    place = await Scene(miner, tenant, connector, uuid4()).another_job()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_files, "_CHUNK_BYTES", 1024 * 1024)
        await miner.mining.run(place.ref)
    async with miner.database.work() as connection:
        await miner.miner.close_job(connection, stored(place, await place.state(), "completed", 0))
    return place


def stored(place: Scene, job: MiningJob, state: Literal["completed", "partial"], rejected: int) -> BiQueryStored:
    """The outcome that an aggregator would send."""
    return BiQueryStored(
        tenant=place.tenant,
        connector_id=place.connector,
        job_id=job.id,
        sync_seq=job.sync_seq,
        state=state,
        received=job.records,
        upserted=job.records - rejected,
        rejected=rejected,
        retired=0,
    )


async def assert_complete(place: Scene, ledger: Ledger, expected: int = STATEMENTS) -> tuple[int, int]:
    """Every number came, each for one execution; how often records came in all, and numbers with two meanings."""
    await eventually(lambda: closed_by_tick(place, ledger))
    numbers = ledger.numbers(place.job)
    meanings = {(r.job_seq, r.id, r.model_dump_json()) for r in ledger.records if r.job_id == place.job}
    assert sorted(numbers) == list(range(1, expected + 1))
    assert len({record.resource_id for record in ledger.of(place.job).values()}) == expected
    return numbers.total(), len(meanings) - len(numbers)


async def closed(place: Scene, ledger: Ledger) -> bool:
    return any(closing.job_id == place.job for closing in ledger.closings)


async def closed_by_tick(place: Scene, ledger: Ledger) -> bool:
    await place.miner.miner.jobs.send_closings()
    return await closed(place, ledger)


async def run_until_over(place: Scene, mining: Mining) -> int:
    """As the queue would: again after each crash and each wish for a retry; how many runs it took."""
    for run in range(1, 200):
        try:
            await mining.run(place.ref)
        except (Crash, RetryLater):
            continue
        state = await place.state()
        if state.phase != "reading":
            return run
    raise AssertionError("the job does not end")


def crashing(where: str) -> Hook:
    """Each batch is hit once."""
    hit: set[int] = set()

    async def hook(records: Sequence[Traced], send: Send) -> None:
        first = records[0][0].job_seq or 0
        if first in hit:
            await send(records)
            return
        hit.add(first)
        if where == "half way":
            await send(records[: len(records) // 2])
        if where == "after":
            await send(records)
        raise Crash

    return hook
