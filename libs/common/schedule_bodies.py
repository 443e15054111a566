"""Schedules as clients write and read them."""

from datetime import datetime
from typing import Annotated, Generic, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs.common.cron import LONGEST, BadSchedule, Cron
from libs.common.events import ScheduleRef
from libs.common.schedules import Planned

Job = TypeVar("Job")


class Schedule(BaseModel):
    """When a connector's collector starts by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: Annotated[
        str,
        StringConstraints(strip_whitespace=True),
        Field(
            max_length=LONGEST,
            examples=["30 2 * * *"],
            description="Minute, hour, day of month, month, day of week, as Debian's cron reads them.",
        ),
    ]
    timezone: Annotated[
        str, Field(max_length=100, examples=["Europe/Berlin"], description="IANA name of the zone of these times.")
    ] = "UTC"

    @model_validator(mode="after")
    def _runs(self) -> Self:
        try:
            Cron(self.cron, self.timezone).check()
        except BadSchedule as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def reference(self) -> ScheduleRef:
        """As events carry it."""
        return ScheduleRef(cron=self.cron, timezone=self.timezone)


class ScheduleState(BaseModel, Generic[Job]):
    """A connector's schedule, null where it has none, and its newest job, whoever started it."""

    connector_id: UUID
    schedule: ScheduleRef | None
    next_run_at: Annotated[datetime | None, Field(description="Behind the pause where the last jobs have failed.")]
    failures: Annotated[int, Field(description="Scheduled jobs that failed in a row; each doubles the pause.")]
    last_job: Job | None

    @classmethod
    def of(cls, connector_id: UUID, planned: Planned | None, last_job: Job | None) -> Self:
        """The state as clients see it."""
        return cls(
            connector_id=connector_id,
            schedule=ScheduleRef(cron=planned.cron, timezone=planned.timezone) if planned else None,
            next_run_at=planned.next_run_at if planned else None,
            failures=planned.failures if planned else 0,
            last_job=last_job,
        )
