"""What goes to the aggregator, and what was stored to be sent."""

from dataclasses import dataclass

from libs.common.collecting.sending import RecordSender, Traced
from libs.common.db import Connection
from libs.common.scraped_reading import read_bi_query
from services.log_miner.domain import MiningJob
from services.log_miner.packing import unpack
from services.log_miner.store import previous, unsent


@dataclass(frozen=True, slots=True)
class Sender(RecordSender):
    """Sends in the order of numbers; what it sends twice is the same."""

    async def left_over(self, job: MiningJob) -> list[Traced]:
        """Records that were stored and not noted as sent."""
        async with self.database.work() as connection:
            before = await previous.records(connection, job.tenant, job.id)
            left = await unsent.batches(connection, job.tenant, job.id)
        records: list[Traced] = [(read_bi_query(each.record), each.traceparent) for each in before]
        records += [(record, batch.traceparent) for batch in left for record in unpack(batch.body)]
        return records

    async def forget(self, connection: Connection, job: MiningJob) -> None:
        """All that was stored is sent."""
        await previous.delete(connection, job.tenant, job.id)
        await unsent.delete(connection, job.tenant, job.id)

    async def close(self, job: MiningJob) -> None:
        """The closing record of a job that reads no more, behind all records that it counts."""
        left = await self.left_over(job)
        if left:
            await self.send(job, left)
        async with self.database.work() as connection:
            await self.forget(connection, job)
        await self.send_closing(job)
