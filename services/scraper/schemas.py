"""Bodies of answers."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field

from libs.common.collecting.job import Phase, State
from libs.common.collecting.schemas import JobError
from libs.common.schedule_bodies import ScheduleState
from services.scraper.domain import SyncJob


class SyncJobOut(BaseModel):
    """A sync of a BI tool. What the aggregator counts is null until it has said so."""

    id: UUID
    connector_id: UUID
    status: State
    phase: Annotated[Phase, Field(description="waiting, reading the tool, storing (at the aggregator), done")]
    activity: Annotated[str | None, Field(description="What is being read, in words.")]
    percentage: Annotated[float, Field(description="How much of the tool is read.")]
    started_at: datetime | None
    finished_at: datetime | None
    resources_scraped: Annotated[int, Field(description="Charts, dashboard charts, queries and runs read.")]
    rows_published: int
    rows_upserted: int | None
    rows_rejected: int | None
    references_retired: Annotated[
        int | None, Field(description="Charts and saved queries known before that the tool no longer has.")
    ]
    warnings: Annotated[list[str], Field(description="The first 50 different ones.")]
    warning_count: int
    error: JobError | None
    requested_by: str | None
    created_at: datetime

    @classmethod
    def of(cls, job: SyncJob) -> Self:
        """The job as clients see it."""
        error = JobError(code=job.error_code, message=job.error or "") if job.error_code else None
        activity = job.activity if job.phase == "reading" else None
        own = {"status": job.state, "activity": activity, "warnings": list(job.warnings), "error": error}
        fields = {name: getattr(job, name) for name in cls.model_fields if name not in own}
        if job.phase == "done":  # one that sent nothing gets no outcome
            fields |= {name: fields[name] or 0 for name in ("rows_upserted", "rows_rejected", "references_retired")}
        return cls.model_validate(fields | own)


class SyncSchedule(ScheduleState[SyncJobOut]):
    """When a connector is read by itself."""


class SyncJobPage(BaseModel):
    """Newest first; `next_cursor` is null on the last page."""

    items: list[SyncJobOut]
    next_cursor: str | None


class AlreadySyncingOut(BaseModel):
    """409: the connector has an active sync."""

    detail: str
    code: str
    trace_id: str | None = None
    job: SyncJobOut
