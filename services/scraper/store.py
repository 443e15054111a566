"""All SQL of scraper: its tables of jobs and places, and what is its own about them, one function per statement."""

from collections.abc import Sequence
from typing import Final

from libs.common.collecting.places import Places
from libs.common.collecting.table import FENCE, JobTable
from libs.common.db import Connection
from services.scraper.domain import SyncJob

JOBS: Final = JobTable("sync_job", SyncJob)
PLACES: Final = Places("sync")


async def begin_again(connection: Connection, job: SyncJob) -> SyncJob | None:
    """A further run reads from the beginning under the connector's next sync_seq, fenced; None where it lost the job.

    Records of the run before may still arrive: under their own number they count for nothing.
    """
    row = await connection.fetchrow(
        f"""
        UPDATE sync_job SET next_job_seq = 1, resources_scraped = 0, percentage = 0, warnings = '{{}}',
            warning_count = 0,
            sync_seq = (SELECT max(sync_seq) + 1 FROM sync_job WHERE tenant_id = $1 AND connector_id = $4)
        WHERE {FENCE} RETURNING {JOBS.columns}""",  # noqa: S608 (names of our own)
        job.tenant,
        job.id,
        job.run,
        job.connector_id,
    )
    return JOBS.job_of(row)


async def note_retired(connection: Connection, job: SyncJob, retired: int, warnings: Sequence[str], count: int) -> None:
    """What the aggregator did with the references that a job no longer saw."""
    await connection.execute(
        """UPDATE sync_job SET references_retired = $3, warnings = $4, warning_count = $5
        WHERE tenant_id = $1 AND id = $2""",
        job.tenant,
        job.id,
        retired,
        list(warnings),
        count,
    )
