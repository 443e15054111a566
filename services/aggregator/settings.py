"""Settings of the aggregator."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    """What the aggregator reads beyond every service's settings."""

    recency_scale: Annotated[
        float, Field(ge=0, le=100, description="Recency factor of a product queried this very moment.")
    ] = 10.0
    recency_half_life_days: Annotated[
        float, Field(gt=0, description="Days without a query after which the recency factor has halved.")
    ] = 7.0
    ledger_deadline: Annotated[
        timedelta,
        Field(description="A job whose records are not all here this long after its closing record ends as partial."),
    ] = timedelta(minutes=15)
    refresh_pause: Annotated[
        timedelta, Field(description="Least time between two refreshes of one space by new records.")
    ] = timedelta(seconds=1)
    stale_after: Annotated[
        timedelta, Field(description="Age at which statistics are computed anew although nothing was ingested.")
    ] = timedelta(hours=1)
