"""What a collecting service sends to the aggregator: records, and the record that closes a job."""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.broker import Publisher
from libs.common.collecting.job import CollectingJob, closing_record, record_key
from libs.common.connector_copy import find_connector
from libs.common.db import Database
from libs.common.events import BiQueryScraped
from libs.common.topics import BI_QUERY_SCRAPED

# A record and the trace that it belongs to.
Traced = tuple[BiQueryScraped, str | None]


@dataclass(frozen=True, slots=True)
class RecordSender:
    """Sends in the order of numbers."""

    database: Database
    publisher: Publisher

    async def send(self, job: CollectingJob, records: Sequence[Traced]) -> None:
        """The job's records; acknowledged by the broker when this returns. Raises PublishFailed."""
        key = record_key(job.tenant, job.connector_id)
        job_id = str(job.id)
        messages = [(key, record, _extensions(job_id, record, traceparent)) for record, traceparent in records]
        await self.publisher.send_many(BI_QUERY_SCRAPED, messages)

    async def send_closing(self, job: CollectingJob) -> None:
        """The closing record of a job that reads no more; none where the connector's copy is gone with its tenant."""
        async with self.database.work() as connection:
            connector = await find_connector(connection, job.tenant, job.connector_id)
        if connector is None:
            return
        record = closing_record(job, connector.reference, connector.environment)
        extensions = {"jobid": str(job.id), "syncseq": str(job.sync_seq)} | _trace(job.traceparent)
        key = record_key(job.tenant, job.connector_id)
        await self.publisher.send(BI_QUERY_SCRAPED, record, key=key, extensions=extensions)


def _trace(traceparent: str | None) -> dict[str, str]:
    return {"traceparent": traceparent} if traceparent else {}


def _extensions(job_id: str, record: BiQueryScraped, traceparent: str | None) -> dict[str, str]:
    """What places a record in its job although its body may be unreadable, and its trace."""
    numbers = {"jobid": job_id, "syncseq": str(record.sync_seq), "jobseq": str(record.job_seq)}
    if traceparent:
        numbers["traceparent"] = traceparent
    return numbers
