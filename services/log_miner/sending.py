"""What goes to the aggregator, and what was stored to be sent."""

from dataclasses import dataclass

from libs.common.collecting.sending import RecordSender, Traced
from libs.common.scraped_reading import read_bi_query
from services.log_miner import store
from services.log_miner.domain import MiningJob


@dataclass(frozen=True, slots=True)
class Sender(RecordSender):
    """Sends in the order of numbers; what it sends twice is the same."""

    async def left_over(self, job: MiningJob) -> list[Traced]:
        """Records that were stored and not noted as sent."""
        async with self.database.work() as connection:
            left = await store.unsent_records(connection, job.tenant, job.id)
        return [(read_bi_query(each.record), each.traceparent) for each in left]

    async def close(self, job: MiningJob) -> None:
        """The closing record of a job that reads no more, behind all records that it counts."""
        left = await self.left_over(job)
        if left:
            await self.send(job, left)
        async with self.database.work() as connection:
            await store.delete_unsent(connection, job.tenant, job.id)
        await self.send_closing(job)
