"""Bodies of answers."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field

from libs.common.collecting.job import Phase, State
from libs.common.collecting.schemas import JobError
from libs.common.schedule_bodies import ScheduleState
from services.log_miner.domain import MiningJob


class RowsUpserted(BaseModel):
    """What the aggregator stored of a job that is done."""

    rows_upserted: int


class MiningJobOut(BaseModel):
    """A mining job. `rows_upserted` and `rows_rejected` are null until the aggregator has stored the rows."""

    id: UUID
    connector_id: UUID
    state: State
    phase: Annotated[Phase, Field(description="waiting, reading the log, storing (at the aggregator), done")]
    percentage: Annotated[float, Field(description="How much of the log that there was at the start is read.")]
    lines_read: int
    rows_sent: int
    rows_upserted: int | None
    rows_rejected: int | None
    warnings: list[str]
    error: JobError | None
    requested_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, job: MiningJob) -> Self:
        """The job as clients see it."""
        fields = {name: getattr(job, name) for name in cls.model_fields if name != "error"}
        error = JobError(code=job.error_code, message=job.error or "") if job.error_code else None
        return cls.model_validate({**fields, "warnings": list(job.warnings), "error": error})


class MiningSchedule(ScheduleState[MiningJobOut]):
    """When a connector is read by itself."""


class MiningJobPage(BaseModel):
    """Newest first; `next_cursor` is null on the last page."""

    items: list[MiningJobOut]
    next_cursor: str | None


class AlreadyMiningOut(BaseModel):
    """409: the connector has an active job."""

    detail: str
    code: str
    trace_id: str | None = None
    job: MiningJobOut


class MiningFailedOut(BaseModel):
    """502: the warehouse could not be mined; `cause` is stable, `job` is the job's path."""

    detail: str
    code: str
    trace_id: str | None = None
    cause: str | None
    job: str
