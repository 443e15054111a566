"""Settings of reporting."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from libs.common.settings import ServiceSettings
from services.reporting.bands import Edition


class Settings(ServiceSettings):
    """What reporting reads beyond every service's settings."""

    parked_kept: Annotated[
        timedelta,
        Field(
            description="A deployment waits this long for its component and environment to be made, then it is lost."
        ),
    ] = timedelta(days=90)
    dora_edition: Annotated[
        Edition, Field(description="Edition of DORA's report whose thresholds give performance bands.")
    ] = "2023"
