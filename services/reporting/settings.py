"""Settings of reporting."""

from datetime import timedelta
from pathlib import Path
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
    dora_gauge_days: Annotated[int, Field(ge=1, le=3650, description="Days that the DORA gauges look back.")] = 30
    dora_gauge_places: Annotated[
        int,
        Field(
            ge=1, le=100_000, description="Most pairs of component and environment with gauges, all tenants together."
        ),
    ] = 2000
    dora_gauge_pause: Annotated[timedelta, Field(description="Pause between two refreshes of the DORA gauges.")] = (
        timedelta(minutes=1)
    )
    scorecards_file: Annotated[
        Path, Field(description="Levels and rules of scorecards, as TOML; docs/dora.md tells the rules.")
    ] = Path(__file__).with_name("scorecards.toml")
