"""Settings of scraper."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    """What scraper reads beyond every service's settings."""

    egress_allow: Annotated[
        tuple[str, ...],
        Field(description="JSON list of networks and host names that connectors may name although not public."),
    ] = ()
    job_lease: Annotated[
        timedelta, Field(description="A worker that is silent for this long loses its job to another one.")
    ] = timedelta(seconds=15)
    job_concurrency: Annotated[int, Field(ge=2, le=20, description="Jobs that one process works on at a time.")] = 4
    closing_repeat: Annotated[
        timedelta, Field(description="Pause between two closing records of a job whose outcome has not come.")
    ] = timedelta(minutes=1)
